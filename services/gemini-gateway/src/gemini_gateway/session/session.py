"""The session manager of one robot: it decides when to dial, renew, hold audio back, give up and resume. Pure.

::

    waiting ──may dial──► dialling ──opened──► live ──renewal, budget, parking──► closing ──closed──► waiting | spent | parked
       ▲                     │ │                 │
       └──── unreachable ────┘ └─ refused ─► refused ──mended──► waiting        live ── lost ──► waiting

Time is passed in. Methods return decisions; the rim (``voice.py``) carries them out and reports the results.
``docs/sessions.md`` has the table of phases. This module is longer than others: all parts of a session meet here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from gemini_gateway.events import (
    Alive,
    GoAway,
    LiveError,
    Reason,
    Resumable,
    ServerEvent,
    ToolCall,
    ToolCancelled,
    Unheard,
    Unknown,
    Working,
)
from gemini_gateway.session import timing
from gemini_gateway.session.answers import Answers
from gemini_gateway.session.attention import Attention
from gemini_gateway.session.backoff import Backoff
from gemini_gateway.session.calls import Calls
from gemini_gateway.session.connection import OpenConnection
from gemini_gateway.session.decisions import Answer, Count, Dial, Emit, HangUp, Item, Out, Prompt, Remember, Run, SessionPhase
from gemini_gateway.session.exchanges import Exchanges
from gemini_gateway.session.memory import HANDLE_CHARS, Memory
from gemini_gateway.session.meter import Meter
from gemini_gateway.session.outbox import Outbox
from gemini_gateway.session.resumption import Dialled, Resumption
from gemini_gateway.session.timing import BYTES_PER_S, MESSAGE_BYTES, SessionSettings
from reachy_gateway.provider.causes import Loss
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.voice import (
    Audio,
    CallOutcome,
    ConnectionState,
    Interrupted,
    ReplyGenerated,
    Said,
    SpeechNoticed,
    TurnComplete,
    Unanswered,
    VoiceEvent,
)


class Session:
    """One robot's session; see the module. After :meth:`left` it must not be used again."""

    def __init__(self, settings: SessionSettings, now: float, draw: Callable[[], float]) -> None:
        self.settings = settings
        self.phase = SessionPhase.WAITING
        self.dropped_ms = 0.0
        """Milliseconds of mic audio that were dropped because they had waited too long."""
        self._after_closing = SessionPhase.WAITING
        self._outbox = Outbox()
        self._meter = Meter()
        self._said = Exchanges()
        self._attention = Attention(now)
        self._answers = Answers(self._attention, self._meter, self._said, now)
        self._resumption = Resumption()
        self._calls = Calls(now)
        self._tools_doubt = ""
        """Why the server refused a setup with tools; empty again once a connection opens."""
        self._no_tools_until = float("-inf")
        self._backoff = Backoff(now, draw)
        self._connection = OpenConnection(now)
        self._offline_since: float | None = now
        """Since when the robot has had no connection; None: the next tick sets it."""
        self._told: ConnectionState | None = None
        self._allowed = True
        """Whether the budget lets the session go on."""
        self._allowed_words = ""

    def inherit(self, memory: Memory, now: float, *, doubted: bool) -> None:
        """Take over a session from another gateway. Call this before the first dial.

        Args:
            memory: What the other gateway remembered.
            now: The time.
            doubted: Whether the other gateway may still hold its connection to Gemini.
        """
        if memory.handle:
            self._resumption.inherit(memory.handle, now - memory.handle_age_s, doubted=doubted)
        if self.settings.transcripts:
            self._said.inherit(memory.said)
        if memory.parked and self.settings.park_after_s is not None and self._allowed:
            self.phase = SessionPhase.PARKED

    def memory(self, now: float) -> Memory:
        """What another gateway needs in order to continue the session."""
        handle, age_s = self._resumption.remembered(now)
        if handle and len(handle) > HANDLE_CHARS:
            handle, age_s = None, 0.0
        said = self._said.seed() if self.settings.transcripts else ()
        return Memory(handle=handle, handle_age_s=max(0.0, age_s), said=said, parked=self.phase is SessionPhase.PARKED)

    @property
    def waiting_ms(self) -> float:
        """Milliseconds of mic audio that wait to be sent."""
        return self._outbox.bytes * 1000 / BYTES_PER_S

    # --- the microphone -----------------------------------------------------------------------------------------------

    def hear(self, pcm: bytes, now: float, *, speaking: bool) -> list[Out]:
        """Take mic audio. ``speaking`` tells whether the speech gate hears speech in this audio."""
        if not pcm:
            return []
        if speaking or (self.settings.silence_is_billed and self.phase is SessionPhase.LIVE):
            self._meter.sent(len(pcm) / BYTES_PER_S, speech=speaking)
        self._attention.heard(len(pcm), now, speaking=speaking, manual=self.settings.manual_vad)
        self._outbox.append(pcm)
        out = self._keep_up(now)
        self._trim()
        return out + self._interrupt_unheard(now) + self._wake(now) if speaking else out

    def activity(self, event: Literal["start", "end"], now: float) -> list[Out]:
        """Manual VAD: the person's turn starts or ends. A start cuts the answer. A repeated start or end is ignored."""
        if not self.settings.manual_vad:
            words = 'the robot has a button, but its persona\'s VAD is automatic: for the button set vad.mode = "manual"'
            return [Count("activity_ignored", words)]
        if self._attention.pressed is (event == "start"):
            return []
        self._outbox.append(event)
        if event == "start":
            self._attention.press(now)
            return [Emit(SpeechNoticed()), *self._wake(now)]
        self._attention.release(now)
        return self._wake(now)

    def prompt(self, text: str, now: float) -> tuple[str, list[Out]]:
        """Ask the model to say a text. Returns "" or the reason why it cannot, and the decisions to carry out."""
        if not self._allowed:
            return self._allowed_words, []
        if self.phase is SessionPhase.REFUSED or self._backoff.trouble_since is not None:
            return self._backoff.standing.reason or "Gemini does not answer", []
        if len(self._outbox.prompts) >= timing.PROMPTS_MAX:
            return "too many texts already wait to be said: try again in a moment", []
        self._outbox.append(Prompt(timing.SAY.format(text), now))
        self._attention.prompted(now)
        return "", self._wake(now)

    def take(self) -> Item | None:
        """The next item to send on the open connection; None if nothing waits, or nothing may be sent now."""
        if self.phase is not SessionPhase.LIVE:
            return None
        connection = self._connection
        item = self._outbox.take(held=connection.held, least_bytes=self.settings.batch_ms * BYTES_PER_S // 1000)
        if item is None and not connection.held:
            connection.caught_up, connection.behind_since = True, None
        if isinstance(item, Answer):
            self._calls.sent(item, sent=True)
        return item

    def untaken(self, item: Item) -> None:
        """Take back an item that could not be sent because the connection is lost."""
        self._outbox.untaken(item)
        if isinstance(item, Answer):
            self._calls.sent(item, sent=False)

    def sending(self, since: float | None) -> None:
        """Note since when the socket has kept a send of the rim's waiting; None if no send waits."""
        self._connection.sending_since = since

    # --- the connection -----------------------------------------------------------------------------------------------

    def dial(self, now: float) -> list[Out]:
        """The circuit breaker permits a dial: begin one, if the session still wants it."""
        if not self.wants_to_dial(now):
            return []
        self.phase = SessionPhase.DIALLING
        handle = self._resumption.to_dial(now)
        seed = () if handle else self._said.seed()
        tools = bool(self.settings.tools) and now >= self._no_tools_until
        self._resumption.dialled = Dialled(handle, bool(seed), self.settings.manual_vad, tools=tools)
        return [Dial(handle, seed, tools)]

    def wants_to_dial(self, now: float) -> bool:
        """Whether the session waits for permission to dial."""
        return self.phase is SessionPhase.WAITING and self._allowed and now >= self._backoff.not_before

    def opened(self, now: float) -> list[Out]:
        """The dial succeeded; the server has answered the setup."""
        self._outbox.forget_prompts(now - timing.PROMPT_MAX_S)
        dialled, attention = self._resumption.dialled, self._attention
        self.phase = SessionPhase.LIVE
        self._connection = OpenConnection(now, wanted=dialled.stale)
        self._answers.connected(now)
        self._outbox.connect(manual=dialled.manual)
        self._resumption.opened()
        self._backoff.clear()
        attention.pressed = attention.pressed and dialled.manual
        out = self._tell(ConnectionState("live"))
        if attention.awaiting_since is not None:  # nobody will answer the speech that the old connection was sent
            held = self._outbox.prompts or self._holds_question(now)
            attention.awaiting_since = now if held else None
            if not held:
                words = "a question was lost with its connection to Gemini: nobody will answer it"
                out += [Count("question_lost", words), Emit(Unanswered())]
        if self._tools_doubt and not dialled.tools:
            words = f"the robot has no tools for {timing.NO_TOOLS_S / 60:.0f} min: {self._tools_doubt}"
            out.append(Count("tools_refused", words))
        self._tools_doubt = ""
        return out + self._tools(self._calls.connected(now, resumed=dialled.handle is not None))

    def failed(self, error: LiveError, now: float) -> list[Out]:
        """The dial failed."""
        dialled = self._resumption.dialled
        mended = dialled.unmended and error.kind in ("refused", "quota")
        if mended:
            error = LiveError("lost", error.words)  # this dial used the old key or persona: dial again with the new one
        if dialled.handle and error.kind in ("refused", "lost", "declined"):
            out = self._resumption.blame(error.words, at_once=error.kind == "refused")
            out += self._trouble(LiveError("lost", error.words), now)
            if error.kind != "refused" and not mended and not self._resumption.doubted:
                self._backoff.resuming(now)
            return out
        self._resumption.acquit()
        if error.kind == "declined" or (error.kind == "refused" and not error.sure):
            # The next dial declares no tools. If it fails as well, the tools were not the reason.
            self._tools_doubt = error.words if dialled.tools else ""
            self._no_tools_until = now + timing.NO_TOOLS_S if dialled.tools else now
            if dialled.tools:
                error = LiveError("lost", error.words)
        return self._trouble(error, now)

    def closed(self, error: LiveError | None, now: float) -> list[Out]:
        """The open connection has ended: we closed it, or it failed with this error."""
        lasted = now - self._connection.opened_at >= timing.SHORT_LIFE_S
        talked = lasted or self._answers.turn.in_turn or self._answers.turn.last_turn > self._connection.opened_at
        out = self._answers.disconnected(now) + self._calls.disconnected(now)
        self._offline_since = now
        if self.phase is SessionPhase.CLOSING:
            self.phase = self._after_closing
            return out + self._settle()
        if talked:
            self._resumption.talked()
            self._backoff.talked()
        error, at_once, more = self._doubted(error or LiveError("lost", "the connection ended"), talked=talked)
        out += more
        if lasted:
            self._resumption.lasted()
            self._backoff.lasted()
            return out + self._trouble(error, now)
        self._backoff.short_life()
        if error.kind == "lost":
            out += self._resumption.blame(error.words, at_once=at_once)
        else:
            self._resumption.acquit()
        out += self._trouble(error, now)
        if self.phase is SessionPhase.WAITING:
            self._backoff.wait_after_short_life(now)
        return out

    def _doubted(self, error: LiveError, *, talked: bool) -> tuple[LiveError, bool, list[Out]]:
        """Judge a refusal that ended an open connection. The server had answered the setup, so the key may be good.

        Returns the error to handle, whether to drop the handle at once, and decisions to carry out.
        """
        if error.kind != "refused":
            return error, False, []
        lost = LiveError("lost", error.words)
        dialled = self._resumption.dialled
        if talked:
            return lost, False, []
        if dialled.handle:
            return lost, True, []
        if dialled.seeded:
            words = f"the new session will not be told what was said before: {error.words}"
            out: list[Out] = [*self._said.settle(), Count("seed_dropped", words)]
            self._said.forget()
            return lost, False, out
        if not self._backoff.refused_at_once:
            self._backoff.refused_at_once = True
            return lost, False, []
        return error, False, []

    def server(self, event: ServerEvent, now: float) -> list[Out]:
        """Handle an event that the server sent on the open connection."""
        connection, turn = self._connection, self._answers.turn
        out: list[Out] = []
        match event:
            case GoAway(time_left_s):
                connection.deadline = min(connection.deadline, now + time_left_s)
                connection.wanted = True
                return [Count("go_away", f"Gemini closes this connection in {time_left_s:.0f} s"), *self.tick(now)]
            case Resumable(handle):
                self._resumption.handle_came(handle, now)
                if handle:
                    self._calls.proven()
                out.append(Remember())
            case ToolCall() | ToolCancelled():
                return self._tools_wanted(event, now)
            case Unknown(detail):
                out.append(Count("unknown_message", f"a message that the gateway does not understand: {detail}"))
            case Tokens():
                out += self._meter.used(event, now)
            case Alive():
                pass
            case Unheard():
                turn.progress_at = now
            case Reason(words, expected):
                turn.reason, turn.expected = words, expected
            case Working(on):
                turn.working = on
                turn.last_word = turn.last_word and not on
                turn.progress_at = now
            case _:
                connection.spoke = True
                return self._conversation(event, now)
        return out

    def tool_ended(self, key: int, response: Mapping[str, Any], outcome: CallOutcome, now: float) -> list[Out]:
        """A tool has ended, or was stopped."""
        since = self._calls.since(key)
        out = self._tools(self._calls.ended(key, response, outcome, now))
        settled = not (self._calls.open or self._calls.owes_words(now))
        if since is not None and settled and self._attention.last_speech <= since:
            self._attention.awaiting_since = None  # the tool is done, and the model will not speak of the result
        return out

    def _tools_wanted(self, event: ToolCall | ToolCancelled, now: float) -> list[Out]:
        if isinstance(event, ToolCancelled):
            self._outbox.withdraw(event.ids)
            return self._tools(self._calls.cancelled(event.ids, now))
        turn = self._answers.turn
        out = self._calls.requested(event.calls, self.settings.tools, now, asked_at=self._attention.last_speech)
        turn.in_turn = turn.in_turn or not any(
            isinstance(it, Run | Answer) for it in out
        )  # calls that are neither run nor answered begin a turn without a sound
        if any(isinstance(it, Run | Answer) for it in out):
            turn.progress_at, turn.called = now, True
            aside = all(isinstance(it, Run) and not self.settings.tools[it.name].waits for it in out)
            turn.awaits_call = turn.awaits_call or not aside
        return self._tools(out)

    # --- time and outside ---------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Out]:
        """Decide what is due at ``now``."""
        self._outbox.forget_prompts(now - timing.PROMPT_MAX_S if self._allowed else math.inf)
        match self.phase:
            case SessionPhase.LIVE:
                return [*self._meter.due(now), *self._said.due(now), *self._tick_live(now)]
            case SessionPhase.WAITING | SessionPhase.DIALLING:
                return self._tick_offline(now)
            case SessionPhase.REFUSED if now >= self._backoff.not_before:
                self.phase = SessionPhase.WAITING
        return []

    def settle_words(self) -> list[Out]:
        """Close the exchange that is going on, and return its pieces for the transcript file."""
        return [*self._said.settle()]

    def change(self, settings: SessionSettings) -> None:
        """Use these settings from now on."""
        self.settings = settings
        if not settings.transcripts:
            self._said.forget()

    def persona_changed(self) -> None:
        """The persona has changed: renew the connection at the next quiet moment."""
        self._connection.wanted = True
        self._resumption.dialled.stale = True
        self._no_tools_until = float("-inf")

    def mended(self, now: float) -> list[Out]:
        """A person has changed the key or the configuration: a refused session may dial again."""
        if self.phase is SessionPhase.REFUSED:
            self.phase = SessionPhase.WAITING
        self._resumption.dialled.unmended = True
        self._backoff.not_before = min(self._backoff.not_before, now)
        return []

    def budget(self, *, allowed: bool, words: str) -> list[Out]:
        """Tell the session whether the budget lets it go on. A turn in progress is finished first."""
        turn = self._answers.turn
        if self._allowed is not allowed:  # if no turn is in progress, the next one must not begin
            turn.last_word = not (allowed or turn.answers or self._attention.awaiting_since is not None)
        self._allowed, self._allowed_words = allowed, words
        if allowed and self.phase is SessionPhase.CLOSING and self._after_closing is SessionPhase.SPENT:
            self._after_closing = SessionPhase.WAITING
        elif allowed and self.phase is SessionPhase.SPENT:
            self.phase = SessionPhase.WAITING
            self._offline_since = None
            self._backoff.clear()
        elif not allowed and self.phase in (SessionPhase.WAITING, SessionPhase.PARKED, SessionPhase.REFUSED):
            self.phase = SessionPhase.SPENT
            return self._settle()
        return []

    def left(self) -> list[Out]:
        """The robot has left: return the last bills, words and stops of tools."""
        return [*self._meter.bill(), *self._said.settle(), *self._calls.left()]

    # --- the server's turns -------------------------------------------------------------------------------------------

    def _conversation(self, event: VoiceEvent, now: float) -> list[Out]:
        match event:
            case Audio() | ReplyGenerated():
                self._calls.spoke()
                return self._answer_goes_on(event, now)
            case Interrupted():
                self._calls.spoke()
                self._answers.interrupted(now)
            case TurnComplete():
                return self._turn_over(self._answers.over(now)) if self._answers.says_its_end(now) else []
            case Said(who, text):
                if not self.settings.transcripts:
                    return self._answers.words(who, "", now)
                return [Emit(event), *self._answers.words(who, text, now)]
        return [Emit(event)]

    def _answer_goes_on(self, event: Audio | ReplyGenerated, now: float) -> list[Out]:
        out: list[Out] = []
        if self._answers.begins_another(event):
            out = self._turn_over(self._answers.over(now, still_awaited=True))
            if not self._allowed and self.phase is SessionPhase.LIVE:
                return out + self._close(SessionPhase.SPENT)
        return out + self._answers.goes_on(event, now)

    def _turn_over(self, out: list[Out]) -> list[Out]:
        """Pass the end of a turn on to the other parts of the session."""
        self._answers.turn.last_word = not self._allowed
        self._resumption.talked()
        self._resumption.lasted()
        self._backoff.turn_over()
        if self.phase is SessionPhase.LIVE and (mute := self._answers.gives_up_mute()):
            self._resumption.forsake()
            return [*out, *mute, *self._close(SessionPhase.WAITING), Remember()]
        return [*out, Remember()]

    def _interrupt_unheard(self, now: float) -> list[Out]:
        """Cut an answer that the person speaks into, where the server cannot notice the speech."""
        live, held = self.phase is SessionPhase.LIVE, self._connection.held
        cuts = self._attention.may_cut and self.settings.interrupts and not self.settings.manual_vad
        if not (cuts and self._answers.sounds_unheard(now, live=live, held=held)):
            return []
        overdue = live and held and self._answers.turn.in_turn
        self._answers.hushed(now)
        return [Emit(SpeechNoticed()), *(self._close(SessionPhase.WAITING) if overdue else [])]  # nobody wants the rest

    # --- time -----------------------------------------------------------------------------------------------------------

    def _tick_offline(self, now: float) -> list[Out]:
        backoff = self._backoff
        if self._offline_since is None:
            self._offline_since = now
        gap_s = now - self._offline_since
        if backoff.trouble_since is None and gap_s >= timing.HELD_MAX_S:
            backoff.trouble_since = self._offline_since  # the robots that may dial have not reached Gemini
        self._trim()
        in_trouble = backoff.trouble_since is not None and now - backoff.trouble_since >= timing.TELL_S
        return self._tell(backoff.standing) if in_trouble or gap_s >= timing.GAP_TELL_S else []

    def _tick_live(self, now: float) -> list[Out]:
        connection, attention, settings = self._connection, self._attention, self.settings
        if connection.sending_since is not None and now - connection.sending_since > timing.SEND_STALL_S:
            return self._abandon("stalled", f"Gemini accepted no data for {timing.SEND_STALL_S:.0f} s")
        if out := self._tools_due(now) or self._give_up_waiting(now):
            return out
        if out := self._answers.overdue_end(now):
            return self._turn_over(out)
        last_word = self._answers.turn.last_word and not self._calls_go_on(now)
        over_budget = not self._allowed and (last_word or self._between_turns(now))
        if over_budget or self._parks(now):
            return self._close(SessionPhase.SPENT if over_budget else SessionPhase.PARKED)
        if now - connection.opened_at >= settings.max_age_s:
            connection.wanted = True
            connection.deadline = min(connection.deadline, connection.opened_at + settings.max_age_s + timing.AGE_WINDOW_S)
        if connection.wanted and self._renews(now):
            return self._close(SessionPhase.WAITING)
        if not attention.stream_ended and now - attention.last_mic >= timing.STREAM_END_S:
            self._end_stream(now)
        return []

    def _tools_due(self, now: float) -> list[Out]:
        """Give up calls that passed their own deadline or the renewal's: no handle comes while a call is open."""
        overdue = self._calls.open and now >= self._connection.deadline - timing.DEADLINE_MARGIN_S
        return self._tools(self._calls.renewed(now) if overdue else self._calls.due(now))

    def _end_stream(self, now: float) -> None:
        """The microphone has paused: send silence where the model needs it, then the end of the stream."""
        attention, settings = self._attention, self.settings
        attention.stream_ended = True
        attention.silence(now, manual=settings.manual_vad)
        if not settings.manual_vad:
            for _ in range(math.ceil(settings.trailing_silence_s * BYTES_PER_S / MESSAGE_BYTES)):
                self._outbox.append(bytes(MESSAGE_BYTES))
        self._outbox.append("stream_end")

    def _give_up_waiting(self, now: float) -> list[Out]:
        attention, answers = self._attention, self._answers.turn.answers
        if self._calls.waiting:  # the model waits for a tool
            self._answers.turn.progress_at = now
            return []
        if not (waited_s := attention.hangs_s(self._answers.turn, now)):
            return []
        attention.awaiting_since = None
        if not (attention.owed_s >= timing.OWED_MIN_S or answers):
            return []
        words = f"Gemini said nothing for {waited_s:.0f} s " + ("in mid-answer" if answers else "after speech")
        attention.unheeded += not answers
        blamed = not self._connection.spoke and attention.owed_s >= timing.BLAMED_MIN_S
        given_up: list[Out] = [] if answers else [Emit(Unanswered())]  # an answer ends with its connection
        return [*given_up, *(self._resumption.blame(words) if blamed else []), *self._abandon("silent", words)]

    def _renews(self, now: float) -> bool:
        """Whether to renew now; called while a renewal is wanted."""
        connection, attention, answers = self._connection, self._attention, self._answers.turn.answers
        known = not self._calls.unsent and self._resumption.knows_of(self._calls.answered_at)
        if connection.deadline == math.inf and now - self._calls.answered_at > timing.SILENCE_S:
            known = True  # there is no deadline, and the next handle may come much later
        if known and self._between_turns(now) and not attention.speaking:
            return True
        due = connection.deadline - timing.DEADLINE_MARGIN_S
        if not known:
            due = min(max(due, self._calls.answered_at + timing.HANDLE_WAIT_S), connection.deadline + timing.GRACE_S)
        if now < due:
            return False
        if not answers and attention.awaiting_since is None:
            return True  # only the person speaks; the next connection hears the rest
        # From here on the server may close at any time, so speech is kept for the next connection. Silence after a question
        # is still sent: the server does not answer before it has heard this silence.
        connection.held = answers or attention.speaking
        return now >= connection.deadline + timing.GRACE_S

    def _between_turns(self, now: float) -> bool:
        quiet = self._attention.between_turns(self._answers.turn, now, manual=self.settings.manual_vad)
        return quiet and not self._calls_go_on(now)

    def _calls_go_on(self, now: float) -> bool:
        """Whether a call is open, or the model is about to speak of a result."""
        return self._calls.open or self._calls.owes_words(now)

    def _tools(self, out: Sequence[Out | Answer]) -> list[Out]:
        """Queue answers to be sent before mic audio, and return the other decisions for the rim."""
        rest: list[Out] = []
        for item in out:
            if not isinstance(item, Answer):
                rest.append(item)
                continue
            self._outbox.append(item)
        return rest

    def _parks(self, now: float) -> bool:
        after_s = self.settings.park_after_s
        since = max(self._attention.last_speech, self._answers.last_at)
        return after_s is not None and self._between_turns(now) and now - since >= after_s

    # --- phases ---------------------------------------------------------------------------------------------------------

    def _wake(self, now: float) -> list[Out]:
        if self.phase is SessionPhase.PARKED:
            self.phase = SessionPhase.WAITING
            self._offline_since = now
        elif self.phase is SessionPhase.CLOSING and self._after_closing is SessionPhase.PARKED:
            self._after_closing = SessionPhase.WAITING  # the word may have ended before the connection is closed
        return []

    def _close(self, then: SessionPhase) -> list[Out]:
        self.phase = SessionPhase.CLOSING
        self._after_closing = then
        return [HangUp()]

    def _abandon(self, cause: Loss, words: str) -> list[Out]:
        return [Count(cause, words + ": connecting again"), *self._close(SessionPhase.WAITING)]

    def _trouble(self, error: LiveError, now: float) -> list[Out]:
        """A dial or a connection has failed: choose the next phase and the pause."""
        told = self._backoff.failed(error, now)
        refused = error.kind == "refused"
        self.phase = SessionPhase.REFUSED if refused else SessionPhase.WAITING
        self._trim()
        out: list[Out] = [Count(error.kind, error.words), *(self._tell(self._backoff.standing) if told else [])]
        return out if self._allowed or refused else out + self.budget(allowed=False, words=self._allowed_words)

    def _settle(self) -> list[Out]:
        """The session has entered a phase on purpose: drop old audio, and tell the robot if the budget is spent."""
        self._trim()
        told = self._tell(ConnectionState("refused", self._allowed_words)) if self.phase is SessionPhase.SPENT else []
        return [*told, Remember()]

    def _tell(self, standing: ConnectionState) -> list[Out]:
        if standing == self._told:
            return []
        self._told = standing
        return [Emit(standing)]

    # --- what waits to be sent ------------------------------------------------------------------------------------------

    def _holds_question(self, now: float) -> bool:
        """Whether the end of the person's last sentence still waits to be sent."""
        if self._resumption.dialled.manual:
            return "end" in self._outbox
        return self._outbox.bytes > (now - self._attention.last_speech) * BYTES_PER_S

    def _keep_up(self, now: float) -> list[Out]:
        """Drop old mic audio when the connection has been too slow for ``BEHIND_S``: it would not catch up."""
        connection = self._connection
        behind = self.phase is SessionPhase.LIVE and connection.caught_up and not connection.held
        if not (behind and self._outbox.bytes > timing.OUTAGE_MAX_S * BYTES_PER_S):
            return []
        if connection.behind_since is None:
            connection.behind_since = now
        if now - connection.behind_since < timing.BEHIND_S:
            return []
        self._drop_beyond(timing.OUTAGE_MAX_S - 1.0)
        words = f"Gemini has accepted too little of the microphone's audio for {timing.BEHIND_S:.0f} s"
        return [Count("uplink", f"{words}: is the gateway's uplink too slow?")]

    def _trim(self) -> None:
        """Drop the oldest mic audio beyond what this phase keeps."""
        phase = self.phase
        if phase is SessionPhase.PARKED or phase is SessionPhase.SPENT or phase is SessionPhase.REFUSED:
            self._drop_beyond(timing.PRE_ROLL_S)
        else:
            self._drop_beyond(timing.HELD_MAX_S if self._backoff.trouble_since is None else timing.OUTAGE_MAX_S)

    def _drop_beyond(self, keep_s: float) -> None:
        dropped = self._outbox.trim(keep_s)
        if self.phase is not SessionPhase.PARKED:  # nobody speaks while the session is parked
            self.dropped_ms += dropped * 1000 / BYTES_PER_S
