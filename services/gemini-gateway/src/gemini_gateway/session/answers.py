"""The server's turns: decides what is passed on, billed and kept, and when a turn is over. Pure."""

import numpy as np

from gemini_gateway.session import timing
from gemini_gateway.session.attention import Attention
from gemini_gateway.session.decisions import Count, Emit, Out
from gemini_gateway.session.exchanges import Exchanges, Who
from gemini_gateway.session.meter import Meter
from gemini_gateway.session.server_turn import ServerTurn
from reachy_gateway.talk.pacer import QUEUE_MAX_MS
from reachy_gateway.voice import Audio, ReplyGenerated, TurnComplete


class Answers:
    """The server's side of a conversation, over all its connections."""

    def __init__(self, attention: Attention, meter: Meter, said: Exchanges, now: float) -> None:
        self.turn = ServerTurn(now, now, now)
        self.last_at = now
        """When the last turn was over."""
        self._attention = attention
        self._meter = meter
        self._said = said
        self._orphaned = False
        """Whether a reply may still be playing although its connection is gone."""
        self._mute_turns, self._mute_turns_max = 0, timing.MUTE_TURNS
        """How many turns in a row had no sound, and how many of them begin a new session."""
        self._was_mute = False
        """Whether the newest turn had no sound."""

    def connected(self, now: float) -> None:
        """A connection is open."""
        self.turn = ServerTurn(now, now, now)

    def disconnected(self, now: float) -> list[Out]:
        """The connection is gone: end and bill the turn that it was sending."""
        turn = self.turn
        out: list[Out] = [Emit(TurnComplete())] if turn.in_turn else []
        if turn.in_turn and not (turn.generated or turn.interrupted):
            out.append(Count("answer_cut", "the connection to Gemini ended in mid-answer"))
        self._orphaned = self._orphaned or turn.in_turn or now < turn.sounds_until
        turn.in_turn = False
        self._said.over(now)
        return [*out, *self._meter.bill()]

    def begins_another(self, event: Audio | ReplyGenerated) -> bool:
        """Whether audio begins the next answer, because the current one was already generated whole."""
        return isinstance(event, Audio) and self.turn.in_turn and self.turn.generated

    def goes_on(self, event: Audio | ReplyGenerated, now: float) -> list[Out]:
        """Take a piece of an answer, or the end of its generation."""
        turn = self.turn
        out: list[Out] = [*self._meter.turn_goes_on()]
        left_over = turn.is_left_over(now)
        if isinstance(event, Audio):
            if (not turn.in_turn or turn.interrupted) and not left_over:
                self._attention.answer_at = now
            seconds = len(event.pcm) / 2 / event.rate_hz
            turn.sounds_until = min(max(turn.sounds_until, now) + seconds, now + QUEUE_MAX_MS / 1000)
            turn.sounded = turn.sounded or is_audible(event.pcm)
            self._meter.heard(seconds)
            self._said.answers(now)
        turn.in_turn = True
        if not left_over:
            if turn.sounded or isinstance(event, ReplyGenerated):
                self._sound(now)
            turn.interrupted = False
        turn.progress_at = now
        self._orphaned = False
        self._attention.unheeded = 0
        turn.working = turn.last_word = False
        turn.generated = isinstance(event, ReplyGenerated)
        return [*out, Emit(event)]

    def interrupted(self, now: float) -> None:
        """The server has cut its answer."""
        turn = self.turn
        self._orphaned = False
        turn.sounds_until = min(turn.sounds_until, now)
        turn.interrupted = True
        self._said.over(now)
        if turn.in_turn:  # without a turn, an interruption is no sign of an answer
            self._sound(now)
        turn.interrupted_at = now

    def says_its_end(self, now: float) -> bool:
        """The server says that its turn is over. Returns False if the session had already ended this turn."""
        turn = self.turn
        ended, turn.ended = turn.ended, False
        if ended and not turn.in_turn and not turn.reason:
            return False
        turn.progress_at = turn.sound_at = now
        return True

    def over(self, now: float, *, still_awaited: bool = False) -> list[Out]:
        """End the turn. ``still_awaited``: the person still waits for another answer."""
        turn, attention = self.turn, self._attention
        out: list[Out] = [Emit(TurnComplete()), *self._meter.turn_over(now)]
        self._was_mute = False
        if not turn.interrupted or turn.reason:
            out += self._heard_of()
        if not (still_awaited or turn.interrupted or turn.awaits_call or attention.asked_into(turn)):
            attention.awaiting_since = None
        turn.over(now)
        self.last_at = now
        attention.unheeded = 0
        self._said.over(now)
        return out

    def overdue_end(self, now: float) -> list[Out]:
        """End a turn whose answer was generated whole, or interrupted, if the server does not end it in time."""
        turn = self.turn
        ends = turn.in_turn and (turn.generated or turn.interrupted)
        if not ends or now - max(turn.progress_at, turn.sounds_until) < timing.TURN_END_S:
            return []
        out: list[Out] = [Count("no_turn_end", "Gemini did not say that its turn is over"), *self.over(now, still_awaited=True)]
        turn.ended = True
        return out

    def words(self, who: Who, text: str, now: float) -> list[Out]:
        """Take a piece of transcript. The text is empty if the persona keeps no transcripts."""
        if who == "robot":
            self.turn.progress_at = now
        else:
            self._attention.followed()
        return [*self._said.said(who, text, now, spoke_at=self._attention.spoke_at)] if text else []

    def sounds_unheard(self, now: float, *, live: bool, held: bool) -> bool:
        """Whether an answer is playing that the server cannot interrupt.

        The answer's connection is gone, or gets no speech because its renewal is overdue, or the server has ended the turn.
        """
        turn = self.turn
        return self._orphaned or (live and (held if turn.in_turn else now < turn.sounds_until))

    def hushed(self, now: float) -> None:
        """The gateway itself has cut the answer."""
        self._orphaned = False
        self.turn.sounds_until = min(self.turn.sounds_until, now)

    def gives_up_mute(self) -> list[Out]:
        """Give the session up if too many turns in a row had no sound. The next session may have twice as many."""
        if not self._was_mute or self._mute_turns < self._mute_turns_max:
            return []
        words = f"{self._mute_turns} turns in a row had no sound: a new session begins"
        self._mute_turns, self._mute_turns_max = 0, self._mute_turns_max * 2
        return [Count("mute", words)]

    def _sound(self, now: float) -> None:
        self.turn.progress_at = self.turn.sound_at = now
        self._attention.answered(self.turn)

    def _heard_of(self) -> list[Out]:
        """Count a turn that is over if it had no sound, or ended early."""
        turn = self.turn
        if turn.sounded:
            self._mute_turns, self._mute_turns_max = 0, timing.MUTE_TURNS
            told = turn.reason and not turn.expected
            return [Count("turn_reason", f"Gemini ended its turn early: {turn.reason}")] if told else []
        asked = turn.in_turn or self._attention.awaiting_since is not None
        if turn.called or turn.expected or not (asked or turn.reason):
            return []
        self._was_mute = True
        self._mute_turns += 1
        return [Count("mute_turn", f"Gemini ended its turn without a sound: {turn.reason or 'it gave no reason'}")]


def is_audible(pcm: bytes) -> bool:
    """Whether PCM16 holds a sound that a person can hear."""
    samples = np.frombuffer(pcm, "<i2", count=len(pcm) // 2)
    return bool(samples.size) and (int(samples.max()) > timing.FAINT or int(samples.min()) < -timing.FAINT)
