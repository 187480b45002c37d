"""The robot's end of the link: two sockets that dial one gateway, and words for the reasons why dialling fails."""

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import Final

import zmq

from reachy_link.address import Address, endpoint, is_ipv6
from reachy_link.keys import RobotIdentity, admitting
from reachy_link.sockets import MORE, NOW, Drain, Inbox, Monitor, SyncSocket, set_dialer
from reachy_link.wire import Parts, down_topic
from reachy_robot.trouble import CHECK, UNREACHABLE, Trouble


class RobotEnd:
    """Sends messages to one gateway and receives its messages. The gateway is dialled by its IP address.

    libzmq would look a name up in the one thread that moves the whole link, and it would end the process for a name that it
    cannot read. So a gateway of which only the name is known is not dialled until :meth:`redial` gets an address.

    libzmq dials again by itself while nobody listens, never after a refusal, and ten times a second at a wrong key. So after
    any failed handshake this end hangs up and dials again at its own pace.

    Args:
        on_parts: Called with the parts of each message from the gateway.
        on_trouble: Called after every failed attempt.
    """

    REDIAL_S: Final = (0.5, 1.0, 2.0)
    GOODBYE_MS: Final = 50

    def __init__(
        self,
        identity: RobotIdentity,
        address: Address,
        on_parts: Callable[[Sequence[bytes]], None],
        on_trouble: Callable[[Trouble], None],
    ) -> None:
        self.address = address
        self._identity = identity
        self._on_parts = on_parts
        self._on_trouble = on_trouble
        self._context = zmq.Context(io_threads=1)
        self._topic = down_topic(identity.robot)
        self._open()

    def _open(self) -> None:
        """Make the sockets, and dial."""
        self._up: SyncSocket = self._context.socket(zmq.PUB)
        self._down: SyncSocket = self._context.socket(zmq.SUB)
        for socket in (self._up, self._down):
            set_dialer(socket, self._identity.keys, self._identity.gateway_public)
        self._down.subscribe(self._topic)
        self._diallers = [_Dialler(self, self._up, self.address.up_port), _Dialler(self, self._down, self.address.down_port)]
        self._inbox = Inbox(self._down)
        self._drain = Drain(self._down, self._ready)

    def send(self, parts: Parts) -> None:
        """Send a message. Without a connection, or without room, the message is dropped: late audio is worth nothing."""
        for part in parts[:-1]:
            self._up.send(part, MORE | NOW)
        self._up.send(parts[-1], NOW)

    def resubscribe(self) -> None:
        """Subscribe again over the existing connection. A new connection subscribes by itself.

        Without a connection, subscriptions would wait in a queue, and once the queue is full the newest is lost.
        """
        if self._diallers[1].stands:
            self._down.unsubscribe(self._topic)
            self._down.subscribe(self._topic)

    def redial(self, address: Address | None = None) -> None:
        """Hang up and dial again, at another gateway if one is given.

        Another gateway is dialled with new sockets: messages and events of the old sockets belong to the previous gateway. The
        goodbye to that gateway has a moment to leave.
        """
        if address is None or address == self.address:
            for dialler in self._diallers:
                dialler.redial()
            return
        self.address = address
        self._hang_up()
        for socket in (self._up, self._down):
            socket.close(linger=self.GOODBYE_MS)
        self._open()

    def close(self) -> None:
        """Hang up; unsent messages are dropped."""
        self._hang_up()
        self._context.destroy(linger=0)

    def _hang_up(self) -> None:
        self._drain.close()
        for dialler in self._diallers:
            dialler.close()

    def _ready(self) -> bool:
        try:
            parts = self._inbox.next()
        except zmq.Again:
            return False
        if parts:
            self._on_parts([part.bytes for part in parts])
        return True

    def failed(self, trouble: Trouble) -> None:
        """Report a dialler's trouble."""
        self._on_trouble(trouble)

    def explain(self, event: int, value: int, where: str) -> Trouble | None:
        """The meaning of a monitor event for a person; None if it is no trouble."""
        robot, public = self._identity.robot, self._identity.keys.public.decode()
        match event:
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                admit = admitting(robot, public)
                return Trouble("key", f"the gateway at {where} refused this robot's key; on the gateway: {admit}")
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_DISCONNECTED:
                return Trouble("protocol", f"the program at {where} is no gateway of Reachy Link: {CHECK}")
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL if value == errno.EAGAIN:
                return Trouble("mute", f"the program at {where} does not answer as a gateway: does it hang? Else {CHECK}")
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                key = self._identity.gateway_public.decode()
                return Trouble(
                    "gateway-key",
                    f"{where} hung up during the handshake: it is still starting, or its public key is not {key} (compare "
                    "with the gateway's self.pub, and mend with: reachy-keys trust KEY), or it is no gateway of Reachy Link: "
                    f"{CHECK}",
                )
            case zmq.EVENT_CONNECT_RETRIED:
                ask = "is the gateway running, does its firewall let robots in, and is this its address?"
                return Trouble(UNREACHABLE, f"nobody listens at {where}: {ask}")
        return None


class _Dialler:
    """One socket's connection: its monitor, and its own pace of dialling after failed handshakes."""

    HANDSHAKE_FAILURES: Final = (
        zmq.EVENT_HANDSHAKE_FAILED_AUTH,
        zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    )

    EVENTS: Final = (
        zmq.EVENT_CONNECTED
        | zmq.EVENT_CONNECT_RETRIED
        | zmq.EVENT_DISCONNECTED
        | zmq.EVENT_HANDSHAKE_SUCCEEDED
        | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    )

    def __init__(self, end: RobotEnd, socket: SyncSocket, port: int) -> None:
        self._end = end
        self._socket = socket
        self._endpoint = endpoint(end.address.host, port)
        self._dialled = not end.address.named
        self._failures = 0
        self._timer: asyncio.TimerHandle | None = None
        self._monitor = Monitor(socket, self._event, self.EVENTS)
        self._connected = False
        self.stands = False
        """Whether there is a connection whose handshake has succeeded."""
        self._shaking = False
        """Whether there is a connection whose handshake is not over."""
        self._fell = False
        """Whether the connection has just ended: libzmq's first attempt to dial again is no failure yet."""
        socket.ipv6 = is_ipv6(end.address.host)
        self._dial()

    def redial(self) -> None:
        self._hang_up()
        self._failures = 0
        self._dial()

    def close(self) -> None:
        self._connected = False
        if self._timer:
            self._timer.cancel()
        self._monitor.close()

    def _dial(self) -> None:
        if not self._dialled:
            return
        self._socket.connect(self._endpoint)
        self._connected, self._shaking = True, False

    def _hang_up(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._connected:
            self._connected = self.stands = False
            self._socket.disconnect(self._endpoint)

    def _event(self, event: int, value: int, _endpoint: str) -> None:
        if not self._connected:
            return  # an event of a connection that was hung up
        self.stands = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        # If a peer speaks another protocol than ZMTP, libzmq hangs up without an event about the handshake and does not dial
        # again.
        broken = event == zmq.EVENT_DISCONNECTED and self._shaking
        self._shaking = event == zmq.EVENT_CONNECTED
        fell, self._fell = self._fell, event == zmq.EVENT_DISCONNECTED
        if (self._fell and not broken) or (fell and event == zmq.EVENT_CONNECT_RETRIED):
            return
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._failures = 0
        if trouble := self._end.explain(event, value, self._endpoint.removeprefix("tcp://")):
            self._end.failed(trouble)
        if self._connected and (broken or event in self.HANDSHAKE_FAILURES):  # the callback may have redialled
            self._hang_up()
            # Behind a proxy such as Docker's, a gateway that is starting looks like a gateway with another key.
            pace_s = RobotEnd.REDIAL_S[:2] if trouble and trouble.cause == "gateway-key" else RobotEnd.REDIAL_S
            delay_s = pace_s[min(self._failures, len(pace_s) - 1)]
            self._failures += 1
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._dial)
