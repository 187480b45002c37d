"""The rim of a session: carries out the pure session's decisions, with the SDK's connection and the event loop."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from gemini_gateway.events import LiveError
from gemini_gateway.implied import session_settings
from gemini_gateway.personas import Persona
from gemini_gateway.running_tools import RunningTools
from gemini_gateway.sdk.client import Live
from gemini_gateway.sdk.connection import Connection
from gemini_gateway.session import timing
from gemini_gateway.session.decisions import Answer, Count, Dial, Emit, HangUp, Out, Prompt, Remember, Run, SessionPhase, Stop
from gemini_gateway.session.exchanges import Keep
from gemini_gateway.session.memory import Memory
from gemini_gateway.session.meter import Bill
from gemini_gateway.session.session import Session
from gemini_gateway.session.timing import SessionSettings
from gemini_gateway.voice_host import VoiceHost
from reachy_gateway.provider.reconnects import Reconnects
from reachy_gateway.tools.port import Tool
from reachy_gateway.voice import Audio, CallOutcome, RobotView, Said, SpeechNoticed, Unseen, VoiceEvent

if TYPE_CHECKING:
    from reachy_gateway.provider.causes import TroubleKind

TICK_S: Final = 0.05
"""The longest time between two ticks while no connection is open."""
LIVE_TICK_S: Final = 0.2
"""The time between two ticks while a connection is open. Nothing that a person hears waits for a tick."""


class GeminiVoice:
    """One robot's voice.

    Args:
        settings_of: Derives the session's settings from a persona and its tools.
        view: Answers the voice's questions about the robot.
    """

    def __init__(
        self,
        robot: str,
        live: Live,
        host: VoiceHost,
        settings_of: Callable[[Persona, Sequence[Tool[Any]]], SessionSettings] = session_settings,
        view: RobotView | None = None,
    ) -> None:
        self.robot = robot
        self._view = view or Unseen()
        self._live = live
        self._host = host
        self._settings = settings_of
        self._persona = host.persona(robot)
        self._model = self._persona.model
        self._breaker = host.breaker(self._model)
        self._interrupts = True
        self._name = ""
        """The session's name in the ledger, the same for all connections that resume the session."""
        self._now = time.monotonic
        self.session = Session(self._settings(self._persona, self._tools), self._now(), random.random)
        self.reconnects = Reconnects()
        self._emit: Callable[[VoiceEvent], None] = lambda _: None
        self._more = asyncio.Event()
        self._hang_up = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._idle: Connection | None = None
        """The open connection, while nothing waits to be sent; else None."""
        self._running_tools = RunningTools(robot, host, self._view, self._tool_ended)

    @property
    def _tools(self) -> tuple[Tool[Any], ...]:
        """The tools that the persona lets the model call."""
        persona = self._persona
        return self._host.toolbox.of(persona.tools, self._view.body if persona.body else None, persona.gestures)

    def hear(self, pcm: bytes, *, speaking: bool) -> None:
        """Take PCM16 mono at 16 kHz."""
        self._carry_out(self.session.hear(pcm, self._now(), speaking=speaking))
        self._send_what_is_due()

    def activity(self, event: Literal["start", "end"]) -> None:
        """Manual VAD: the person's turn starts or ends here."""
        self._carry_out(self.session.activity(event, self._now()))
        self._more.set()

    def say(self, text: str) -> str:
        """Ask the model to say this. Returns "" or the reason why it cannot."""
        why_not, out = self.session.prompt(text, self._now())
        self._carry_out(out)
        self._more.set()
        return why_not

    def refresh(self, *, mended: bool) -> None:
        """The configuration was read again. ``mended``: a setup that was refused may now be accepted."""
        persona = self._host.persona(self.robot)
        if persona != self._persona:
            kept = self.session.settle_words()
            if self._persona.transcripts_to_file:  # words said while the file was off must not get into it
                self._carry_out(kept)
            self._persona = persona
            self._tell_manner()
            self.settings_changed()
            self.session.persona_changed()
            self._view.keep(self._memory)  # the new persona may not allow transcripts in the memory
            mended = True
        if mended:
            self._carry_out(self.session.mended(self._now()))

    def settings_changed(self) -> None:
        """The session's settings may have changed: derive them again."""
        self.session.change(self._settings(self._persona, self._tools))

    def _tell_manner(self) -> None:
        """Tell the robot what its body does by itself, as the persona says: nothing, if the persona's body is off."""
        manner = self._persona.manner.model_dump()
        self._view.manner(manner if self._persona.body else dict.fromkeys(manner, False))

    async def run(self, emit: Callable[[VoiceEvent], None]) -> None:
        """Talk until cancelled."""
        self._emit = emit
        self._tell_manner()
        self._inherit()
        try:
            while True:
                now = self._now()
                verdict = self._host.verdict(self.robot)
                self._carry_out(self.session.budget(allowed=verdict.allowed, words=verdict.words))
                self._carry_out(self.session.tick(now))
                if self.session.wants_to_dial(now):
                    self._dial(now)
                if self._connecting and self._connecting.done():
                    self._connecting.result()  # an unexpected error ends this robot's conversation, which logs it
                self._send_what_is_due()
                # The pause is random: of robots that ask in step, the circuit breaker lets only one dial at each tick.
                live = self.session.phase is SessionPhase.LIVE
                await asyncio.sleep(LIVE_TICK_S if live else TICK_S * random.uniform(0.2, 1.0))  # noqa: S311
        finally:
            self._breaker.gave_up(self.robot)
            if self._connecting:
                self._connecting.cancel()
            self._carry_out(self.session.left())  # before the hang-up, whose end not every caller awaits
            if self._connecting:
                await asyncio.wait([self._connecting])
                # The gateway keeps this voice until the robot's next voice, and the task would keep the connection.
                self._connecting = None
            self._running_tools.close()
            view, self._view = self._view, Unseen()  # the view holds this voice, too
            self._emit = lambda _: None  # the function holds this voice, which holds the last mic audio
            last = self._memory()
            view.keep(lambda: last)

    def _inherit(self) -> None:
        """Take over the conversation from another gateway, if there is one."""
        inherited = self._view.inherited
        memory = Memory.read(inherited.text) if inherited else None
        if inherited is None or memory is None:
            return
        memory = memory.older(inherited.age_s, model=self._persona.model, account=self._host.account)
        self._name = memory.session if memory.handle else ""
        self.session.inherit(memory, self._now(), doubted=inherited.held == "silent")
        self._view.keep(self._memory)  # with the handle's age

    def _memory(self) -> str:
        """The memory with which another gateway can continue the conversation."""
        memory = self.session.memory(self._now())
        more = {"session": self._name, "model": self._model, "account": self._host.account}
        return memory.model_copy(update=more).text()

    def _dial(self, now: float) -> None:
        """Dial, if the model's circuit breaker permits."""
        self._breaker = self._host.breaker(self._persona.model)
        if self._breaker.may_dial(self.robot, now):
            self._carry_out(self.session.dial(now))

    def _carry_out(self, out: list[Out]) -> None:
        for item in out:
            match item:
                case Emit(SpeechNoticed()) if not self._interrupts:
                    pass  # the server reports speech even where speech must not interrupt
                case Emit(event):
                    self._emit(event)
                case Keep(who, text, at):
                    self._host.said(self.robot, Said(who, text), self._now() - at)
                case Dial():
                    self._hang_up.clear()
                    self._model = self._persona.model
                    self._interrupts = self._persona.vad.interrupts
                    self._name = self._name if item.handle else secrets.token_hex(4)
                    self._connecting = asyncio.get_running_loop().create_task(
                        self._connect(item), name=f"connection of {self.robot}"
                    )
                case HangUp():
                    self._hang_up.set()
                    self._more.set()
                case Run():
                    self._running_tools.run(item, self._tools)
                case Stop(key):
                    self._running_tools.stop(key)
                case Bill():
                    self._host.bill(self.robot, self._name, self._model, item)
                case Remember():
                    self._view.keep(self._memory)
                case Count(cause, words):
                    self.reconnects.counted(cause)
                    self._host.count(self.robot, cause, words)

    def _tool_ended(self, key: int, response: dict[str, Any], outcome: CallOutcome) -> None:
        self._carry_out(self.session.tool_ended(key, response, outcome, self._now()))
        self._more.set()

    async def _connect(self, dial: Dial) -> None:
        """One connection, from the dial to its end."""
        started, opened = self._now(), False
        taken = asyncio.Event()
        error: LiveError | None = None
        patience = asyncio.timeout(self._breaker.dial_s)
        try:
            async with (
                patience,
                self._live.connect(
                    self._persona,
                    dial.handle,
                    seeded=bool(dial.seed),
                    tools=self._tools if dial.tools else (),
                    taken=taken.set,
                ) as connection,
            ):
                if dial.seed:  # the setup announced it: without transcripts an empty history is sent
                    await connection.remind(dial.seed if self.session.settings.transcripts else ())
                patience.reschedule(None)
                opened = True
                self._breaker.opened(self._now() - started)
                self._host.reconnected(self.robot, self.reconnects.opened(self._now()))
                self._carry_out(self.session.opened(self._now()))
                await self._talk(connection)
        except TimeoutError:
            # If the server took the socket but did not answer the setup, it may not find the session: suspect the handle.
            kind: TroubleKind = "lost" if taken.is_set() and dial.handle else "unreachable"
            error = LiveError(kind, f"Gemini did not answer within {max(1.0, self._now() - started):.0f} s")
        except LiveError as raised:
            # The tracebacks' frames hold the tasks, and the tasks hold the error: 0.3 MB until Python collects garbage.
            error = raised.with_traceback(None)
            error.__cause__ = error.__context__ = None  # these have tracebacks, too
        finally:
            # The timeout holds this task, and a cancelled task's error holds this frame: the frame must drop the timeout.
            del patience
        self._ended(dial, error, opened=opened)

    def _ended(self, dial: Dial, error: LiveError | None, *, opened: bool) -> None:
        now = self._now()
        if opened:
            self._carry_out(self.session.closed(error, now))
            self.reconnects.closed(now, idle=self.session.phase in (SessionPhase.PARKED, SessionPhase.SPENT))
            return
        error = error or LiveError("lost", "the connection ended at once")
        # A failed handle is this robot's trouble. A loss without a handle is the server's, and concerns every robot.
        if error.kind == "unreachable" or (error.kind == "lost" and dial.handle is None):
            self._breaker.failed(self.robot, now)
        else:
            self._breaker.gave_up(self.robot)
        self._carry_out(self.session.failed(error, now))

    async def _talk(self, connection: Connection) -> None:
        """Send and receive until the connection is lost or must be closed.

        Raises:
            LiveError: If the connection is lost.
        """
        loop = asyncio.get_running_loop()
        sender, receiver = loop.create_task(self._send(connection)), loop.create_task(self._receive(connection))
        hang_up = loop.create_task(self._hang_up.wait())
        tasks = {sender, receiver, hang_up}
        connection.watch(self._silence)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if hang_up.done():
                await asyncio.wait({sender}, timeout=timing.LAST_SEND_S)
            elif sender.done():
                await asyncio.wait({receiver, hang_up}, timeout=timing.LAST_HEARD_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connection.watch(None)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in (receiver, sender):
            if not task.cancelled():
                task.result()

    def _silence(self) -> None:
        """An interruption has come, but waits behind earlier audio: silence the robot at once."""
        self._carry_out([Emit(SpeechNoticed())])

    def _send_what_is_due(self) -> None:
        if self._idle is None or not self._sent_at_once(self._idle):
            self._more.set()

    def _sent_at_once(self, connection: Connection) -> bool:
        """Send audio without a turn of the event loop, which is most of the cost. False if items remain to be sent."""
        while (item := self.session.take()) is not None:
            if not (isinstance(item, bytes) and connection.offer_audio(item)):
                self.session.untaken(item)
                return False
        return True

    async def _send(self, connection: Connection) -> None:
        while self.session.phase is SessionPhase.LIVE:
            item = self.session.take()
            if item is None:
                self._more.clear()
                self._idle = connection
                try:
                    await self._more.wait()
                finally:
                    self._idle = None
                continue
            self.session.sending(self._now())
            try:
                match item:
                    case bytes():
                        await connection.send_audio(item)
                    case Answer(responses):
                        await connection.answer(responses)
                    case Prompt():
                        await connection.prompt(item.text, marked=item.marked)
                    case "stream_end":
                        await connection.send_stream_end()
                    case "start" | "end":
                        await connection.send_activity(item)
            except (LiveError, asyncio.CancelledError):
                self.session.untaken(item)
                raise
            self.session.sending(None)

    async def _receive(self, connection: Connection) -> None:
        until = float("-inf")
        async for event in connection.receive():
            out = self.session.server(event, self._now())
            if connection.interrupted and isinstance(event, Audio):
                out = [item for item in out if item != Emit(event)]  # this audio is cut already and must not be heard
            self._carry_out(out)
            # Other robots run after each message of a burst. Audio that an interruption has cut is handled in a batch.
            if connection.interrupted and self._now() >= until:
                until = self._host.burst_slot.begin(self._now())
            if connection.waits and (not connection.interrupted or self._now() >= until):
                await asyncio.sleep(0)
