"""One client's connection: moves messages between a WebSocket and a :class:`Session`, and carries out the session's faults."""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from gemini_live_sim import actions
from gemini_live_sim.alarm import Alarm
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.journal import Journal, note
from gemini_live_sim.opening import Caller, Door
from gemini_live_sim.outputs import AudioOut, Note, Output, Send
from gemini_live_sim.session import Session
from gemini_live_sim.watch import Watch
from gemini_live_sim.wire import Audio, WireError, parse

MAX_REASON_BYTES = 123
"""Longest reason in a close message."""

OnEvent: TypeAlias = Callable[["SimSession", str, int, Any], None]
"""Called with (session, name, time.monotonic_ns(), detail): ``audio_in`` with the PCM, ``audio_out`` with an
:class:`AudioOut`, and the notes ``interrupted``, ``heard``, ``answering``, ``turn_complete``, ``left_open``, ``go_away``."""

_UNKNOWN = {"nobodyKnows": {"this": ["name", 1]}}

log = logging.getLogger("gemini_live_sim")


class SimConnection(ServerConnection):
    """A WebSocket that may answer pings late. It holds the connection's behaviour and caller."""

    behaviour: Behaviour
    caller: Caller

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._send_frame_now = self.protocol.send_frame
        self.protocol.send_frame = self._send_frame  # type: ignore[method-assign]
        self.pong_delay_s = 0.0

    def _send_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG and self.pong_delay_s > 0:
            self.loop.call_later(self.pong_delay_s, self._late_pong, frame)
        else:
            self._send_frame_now(frame)

    def _late_pong(self, frame: Frame) -> None:
        if self.state is State.OPEN:
            self._send_frame_now(frame)
            self.send_data()


class SimSession(Journal):
    """The record of a connection, and controls for it while it is open. Use it from the server's event loop."""

    def __init__(
        self, number: int, max_bytes: int, socket: SimConnection, door: Door, watch: Watch, on_event: OnEvent | None
    ) -> None:
        super().__init__(number, max_bytes)
        self._socket = socket
        self._door = door
        self._watch = watch
        self._on_event = on_event
        self._alarm = Alarm()
        self._reading = asyncio.Event()
        self._reading.set()
        self._sending = True
        self._loop = asyncio.get_running_loop()
        self.behaviour = socket.behaviour
        self._session = Session(socket.behaviour, self, door, self._loop.time(), socket.caller)

    # Controls

    def do(self, action: actions.Action) -> None:
        """Do this action next, after the outputs that are already queued."""
        self._session.do(action, self._loop.time())
        self._alarm.ring()

    def go_away(self, time_left_s: float = 50.0) -> None:
        """Send goAway."""
        self.do(actions.GoAway(time_left_s=time_left_s))

    def close(self, code: int = 1011, reason: str = actions.INTERNAL) -> None:
        """Close the connection with a close message."""
        self.do(actions.Close(code=code, reason=reason))

    def abort(self) -> None:
        """Drop the TCP connection now, even if it is stalled."""
        self._reading.set()
        self._socket.transport.abort()

    def stall(self, *, reading: bool = True, sending: bool = True, for_s: float | None = None) -> None:
        """Keep the socket open, but stop reading from it, sending on it, or both, from now on."""
        if reading:
            self._reading.clear()
            self._socket.transport.pause_reading()
        if sending:
            self._sending = False
        if for_s is not None:
            self._loop.call_later(for_s, self.resume_io)

    def resume_io(self) -> None:
        """End a stall. Outputs that became due during the stall are sent at once."""
        if not self._reading.is_set() and self.open:
            self._socket.transport.resume_reading()
        self._reading.set()
        self._sending = True
        self._alarm.ring()

    def send_raw(self, message: dict[str, Any] | str | bytes) -> None:
        """Send any message."""
        self.do(actions.SendRaw(message=message))

    def interrupt(self) -> None:
        """Cut the answer short."""
        self.do(actions.Interrupt())

    def say(self, what: bytes | int) -> None:
        """Answer without a question: PCM16 at 24 kHz, or a tone of this many ms. It waits for the end of an active answer."""
        self.do(actions.Say(pcm=what) if isinstance(what, bytes) else actions.Say(n_ms=what))

    def tool_call(self, name: str, **args: Any) -> None:
        """Call a tool."""
        self.do(actions.ToolCall(name=name, args=args))

    async def until(self, condition: Callable[["SimSession"], bool], timeout_s: float = 5.0) -> None:
        """Wait until a condition on this record holds.

        Raises:
            TimeoutError: If the condition does not hold in time.
        """
        await self._watch.until(lambda: condition(self), timeout_s)

    # Socket and tasks

    @property
    def is_connected(self) -> bool:
        """Whether the socket is open, as far as this side knows."""
        return self._socket.state is State.OPEN

    async def run(self) -> None:
        """Serve the connection until it ends. The end is always recorded."""
        self._socket.pong_delay_s = self.behaviour.pong_delay_ms / 1000
        tasks = [asyncio.create_task(self._quietly(loop())) for loop in (self._read, self._write)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._ended()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _quietly(self, loop: Awaitable[None]) -> None:
        try:
            await loop
        except ConnectionClosed:
            self._ended()

    async def _read(self) -> None:
        while True:
            await self._reading.wait()
            raw = await self._socket.recv()
            arrived_ns = time.monotonic_ns() if self._on_event else 0
            try:
                messages = parse(raw)
            except WireError as fault:
                self.close(fault.code, fault.reason)
                continue
            now = self._loop.time()
            for message in messages:
                self._session.receive(message, now)
                if self._on_event and isinstance(message, Audio):
                    self._on_event(self, "audio_in", arrived_ns, message.pcm)
            due = self._session.next_due()
            if due is not None:
                self._alarm.ring(due)
            self._watch.changed()

    async def _write(self) -> None:
        held: deque[Output] = deque()
        while True:
            held.extend(self._session.advance(self._loop.time()))
            if not self._sending:
                self._end_stall(held)
            while held and self._sending:
                output = held.popleft()
                await self._perform(output)
                self._watch.changed()
                if isinstance(output, Send) and output.audio:
                    await asyncio.sleep(0)  # let other sessions run while a whole answer is sent at once
            await self._alarm.wait(self._session.next_due())

    def _end_stall(self, held: Iterable[Output]) -> None:
        """Carry out an action that ends a stall, although earlier outputs still wait."""
        if any(isinstance(output, actions.Abort) for output in held):
            self.abort()
        elif any(isinstance(output, actions.ResumeIo) for output in held):
            self.resume_io()

    async def _perform(self, output: Output) -> None:
        match output:
            case Send(message, audio):
                await self._send(message, audio)
            case Note(name, text):
                log.info("session %d %s", self.number, text)
                if self._on_event:
                    self._on_event(self, name, time.monotonic_ns(), output)
            case actions.Close(code=code, reason=reason):
                log.info("session %d closing: %d %s", self.number, code, reason)
                await self._socket.close(code, _cut(reason))
            case actions.Abort():
                self.abort()
            case actions.Stall(reading=reading, sending=sending, for_s=for_s):
                self.stall(reading=reading, sending=sending, for_s=for_s)
            case actions.ResumeIo():
                self.resume_io()

    async def _send(self, message: dict[str, Any] | str | bytes, audio: AudioOut | None) -> None:
        if isinstance(message, dict):
            note(self.sent_kinds, next(iter(message), ""))
            if self.behaviour.unknown_fields:
                message = {name: _with_unknown(value) for name, value in message.items()} | _UNKNOWN
            text = json.dumps(message, separators=(",", ":"))
            message = text.encode() if self.behaviour.binary else text
        if audio is not None and self._on_event:
            self._on_event(self, "audio_out", time.monotonic_ns(), audio)
        await self._socket.send(message)

    def _ended(self) -> None:
        """Record the end of the connection, once."""
        if not self.open:
            return
        self.open = False
        self._door.handles.closed(self.number)
        self.close_code = self._socket.close_code if self._socket.close_code is not None else 1006
        self.close_reason = self._socket.close_reason or ""
        log.info("session %d closed: %d %s", self.number, self.close_code, self.close_reason)
        self._watch.changed()


def _with_unknown(value: Any) -> Any:
    return value | _UNKNOWN if isinstance(value, dict) else value


def _cut(reason: str) -> str:
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
