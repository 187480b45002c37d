"""One connection's logic, without socket, loop or clock: messages and times go in, outputs come out.

Call :meth:`Session.receive` with each message. Then collect the outputs of :meth:`Session.advance` until
:meth:`Session.next_due` is in the future.
"""

from dataclasses import dataclass
from typing import TypeAlias

from gemini_live_sim import actions, messages, wire
from gemini_live_sim.actions import Action, Step, Trigger
from gemini_live_sim.agenda import Agenda
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.conversation import Conversation
from gemini_live_sim.delivery import Plan
from gemini_live_sim.journal import Journal, note
from gemini_live_sim.limits import plan_end
from gemini_live_sim.opening import Caller, Door, find_session, read_opening
from gemini_live_sim.outputs import Note, Output, Send
from gemini_live_sim.resumption import Snapshot
from gemini_live_sim.script import Script
from gemini_live_sim.setup import SessionSetup
from gemini_live_sim.turns import Settled, Stage, Turns
from gemini_live_sim.usage import UsageMeter

_BABBLE = "babble"


@dataclass(frozen=True, slots=True)
class _Ready:
    """The planned reply to the setup."""

    setup: SessionSetup
    snapshot: Snapshot | None


@dataclass(frozen=True, slots=True)
class _Babble:
    """A planned message that is not an answer."""


Planned: TypeAlias = Plan | Settled | _Ready | _Babble | Step | actions.GoAway | actions.Close


class Session:
    """The logic behind one WebSocket. It writes its record to ``journal``."""

    def __init__(self, behaviour: Behaviour, journal: Journal, door: Door, now: float, caller: Caller | None = None) -> None:
        self._behaviour = behaviour
        self._journal = journal
        self._door = door
        self._caller = caller or Caller()
        self._agenda: Agenda[Planned] = Agenda()
        self._out: list[Output] = []
        """Due outputs; the connection collects them at once."""
        self._over = False
        self._script = Script(behaviour.script)
        self._stage = Stage(journal, UsageMeter(), self._emit, self._happened)
        self._opened = False
        """Whether the setup was accepted."""
        self._turns: Turns | None = None
        self._talk: Conversation | None = None
        """None until the setup is answered, like the turns."""
        self._door.handles.opened(self._journal.number, self._journal.session_id)
        self._wants_handles = False
        self._born = now
        """The session's start by this connection's clock: now minus the session's age over all its connections."""
        self._happened("open", now)

    def receive(self, message: wire.ClientMessage, now: float) -> None:
        """Handle a message of the client."""
        if self._over:
            return
        note(self._journal.kinds, type(message).__name__)
        try:
            if not self._opened:
                self._open(message, now)
            elif self._talk is not None:
                self._talk.take(message, now)
        except wire.WireError as fault:
            self.do(actions.Close(code=fault.code, reason=fault.reason), now)

    def do(self, action: Action, now: float) -> None:
        """Do an action of the script or the test. An action that needs an open session is ignored before the session opens."""
        match action:
            case actions.Close() | actions.Abort():
                self._emit(action)
                self._over = True
                self._agenda.clear()
            case actions.Stall() | actions.ResumeIo():
                self._emit(action)
            case actions.GoAway(time_left_s=left_s):
                self._emit(Note("go_away", f"goAway: {left_s:g} s left"))
                self._emit(Send(messages.go_away(left_s)))
            case actions.SendRaw(message=message):
                self._emit(Send(message))
            case actions.SendBig(n_bytes=n_bytes):
                self._emit(Send(messages.big(n_bytes)))
            case actions.SendError(code=code, message=text, status=status):
                self._emit(Send(messages.error(code, text, status)))
            case _:
                if self._talk is not None and not self._over:
                    _tell(self._talk, action, now)

    def advance(self, now: float) -> list[Output]:
        """Return the due outputs, in order. Nothing follows a close or an abort."""
        while (entry := self._agenda.pop(now)) is not None:
            due, planned = entry
            self._perform(planned, due)
        out, self._out[:] = self._out[:], []
        return out

    def next_due(self) -> float | None:
        """When to call :meth:`advance` next; None if only a message can change anything."""
        return self._born if self._out else self._agenda.next_due()

    def _emit(self, output: Output) -> None:
        if not self._over:
            self._out.append(output)

    def _happened(self, event: Trigger, now: float) -> None:
        if event == "speech_end" and self._behaviour.babble != "none":
            self._agenda.drop(_BABBLE)
            self._agenda.put(now + self._behaviour.babble_every_s, _Babble(), _BABBLE)
        for step in self._script.happened(event):
            if step.after_s or step.every_s:
                self._agenda.put(now + step.after_s, step)
            else:
                self.do(step.action, now)

    def _perform(self, planned: Planned, now: float) -> None:
        match planned:
            case Step(action=action, every_s=every_s):
                if every_s:
                    self._agenda.put(now + every_s, planned)
                self.do(action, now)
            case _Ready():
                self._ready(planned, now)
            case _Babble():
                self._agenda.put(now + self._behaviour.babble_every_s, planned, _BABBLE)
                self._babble(now)
            case actions.GoAway() | actions.Close():
                self.do(planned, now)
            case _:
                if self._turns is not None:
                    self._turns.perform(planned, now)

    def _open(self, message: wire.ClientMessage, now: float) -> None:
        """Check the setup and plan the reply. Messages that arrive before the reply are ignored."""
        setup, fields = read_opening(message, self._door, self._caller)
        snapshot = find_session(setup, self._door.handles, self._behaviour, now)
        self._opened = True
        self._journal.setup, self._journal.setup_json = setup, fields
        self._journal.resumed = snapshot is not None
        resumed = ", resumed" if snapshot else ""
        self._emit(Note("setup", f"open: model {setup.model}, voice {setup.voice or 'default'}{resumed}"))
        self._happened("setup", now)
        if self._behaviour.setup_reply:
            self._agenda.put(now + self._behaviour.setup_delay_ms / 1000, _Ready(setup, snapshot))

    def _ready(self, ready: _Ready, now: float) -> None:
        """Reply to the setup and open the session for talk."""
        setup, snapshot = ready.setup, ready.snapshot

        def hand_out(at: float) -> None:
            self._hand_out(turns.number, at)

        turns = Turns(self._behaviour, setup, self._stage, self._agenda, hand_out)
        if snapshot is None:
            self._journal.session_id = self._door.new_id()
            self._stage.meter.read(setup.instruction)
            self._born = now
        else:
            self._journal.session_id = snapshot.session_id
            self._journal.history.extend(snapshot.history)
            self._stage.meter.context.update(dict(snapshot.context))
            turns.number = snapshot.turn
            self._born = now - snapshot.age_s
        self._turns = turns
        calls = self._door.handles.calls_of(self._journal.session_id)
        self._talk = Conversation(setup, self._behaviour, self._door.spoken, turns, self._stage, calls, hand_out)
        self._door.handles.opened(self._journal.number, self._journal.session_id)
        self._wants_handles = setup.session_resumption is not None and self._behaviour.resumption_updates
        self._emit(Send(messages.setup_complete(self._journal.session_id)))
        self._hand_out(turns.number, now)
        for due, action in plan_end(self._behaviour, now, self._born, compressed=bool(setup.context_window_compression)):
            self._agenda.put(due, action)
        self._happened("ready", now)

    def _babble(self, now: float) -> None:
        """Send a message that is not an answer."""
        if self._turns is None or self._talk is None:
            return
        if self._behaviour.babble == "resumption":
            self._hand_out(self._turns.number, now)
        else:
            self._emit(Send(self._talk.babble(self._behaviour.babble)))

    def _hand_out(self, turn: int, now: float) -> None:
        """Send the client a handle for this moment, unless a tool call is open."""
        if not self._wants_handles or (self._talk and self._talk.tools.open):
            return
        journal = self._journal
        context = tuple(self._stage.meter.context.items())
        snapshot = Snapshot(journal.session_id, turn, tuple(journal.history), context, now - self._born)
        handle = self._door.handles.issue(snapshot, now, poisoned=self._behaviour.poison_handles)
        note(journal.handles, handle)
        self._emit(Send(messages.resumption_update(handle)))


def _tell(talk: Conversation, action: Action, now: float) -> None:
    match action:
        case actions.Interrupt():
            talk.interrupt(now)
        case actions.Say(n_ms=n_ms, pcm=pcm):
            talk.say(n_ms, pcm, now)
        case actions.Silent(on=on):
            talk.silent = on
        case actions.ToolCall(name=name, args=args):
            talk.tools.call([(name, args)], now)
        case actions.CallTools(calls=calls):
            ids = [f"own-{n}-{now:.6f}" if call.id is None else call.id for n, call in enumerate(calls)]
            talk.tools.call([(call.name, call.args) for call in calls], now, ids=ids)
        case actions.CancelTools():
            talk.tools.cancel(now)
