"""Decides who may connect: the ZAP handler (https://rfc.zeromq.org/spec/27/) of a gateway's sockets."""

from collections.abc import Callable
from typing import Final, Protocol

import zmq
from zmq.utils import z85

from reachy_link.address import plain
from reachy_link.causes import LinkCause
from reachy_link.sockets import ZAP_DOMAIN, Drain, SyncSocket

VERSION: Final = b"1.0"
KEY_BYTES: Final = 32
FAILURES: Final[dict[int, str]] = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "a connection was refused: its own line says why",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "a program did not complete the handshake: it is no robot, or it trusts another "
    "gateway's key (on the robot: reachy-keys trust 'GATEWAY_KEY')",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "a connection ended in the middle of its handshake",
}
"""What a failed handshake means to an operator, by libzmq's event."""


class Known(Protocol):
    """The keys that may connect."""

    def refresh(self) -> object:
        """Read the key files again, if they have changed."""

    def robot_of(self, public: str) -> str | None:
        """The owner of a public key (Z85); None if the key may not connect."""


class Zap:
    """Answers for each handshake whether its key is admitted. The User-Id of an admitted connection is its key, in Z85.

    It never fails open, and answers every handshake. After an error of its own the answer is 300, "try again later". The
    socket is a ROUTER, because a REP would stop if an answer could not be sent.

    Args:
        on_bad: Called at each refusal: cause, robot, detail, key or address if no robot is known, and address.
        barred: Whether an admitted key (Z85) is refused for a while.
        domain: The ZAP domain of the sockets.
        cause: The cause under which an unknown key is counted.
    """

    def __init__(
        self,
        context: zmq.Context[SyncSocket],
        ring: Known,
        on_bad: Callable[[LinkCause, str, str, str, str], None],
        barred: Callable[[str], bool] = lambda _: False,
        domain: bytes = ZAP_DOMAIN,
        cause: LinkCause = "key",
    ) -> None:
        self._ring = ring
        self._domain = domain
        self._cause: LinkCause = cause
        self._barred = barred
        self._on_bad = on_bad
        self._socket: SyncSocket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind("inproc://zeromq.zap.01")
        self._drain = Drain(self._socket, self._ready)

    def close(self) -> None:
        """Stop answering. From now on no connection is accepted."""
        self._drain.close()
        self._socket.close(linger=0)

    def _ready(self) -> bool:
        try:
            asker, _, *request = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        status, text, user_id = b"300", b"not ready", b""
        try:
            status, text, user_id = self._decide(request)
        finally:
            request_id = request[1] if len(request) > 1 else b""
            self._socket.send_multipart([asker, b"", VERSION, request_id, status, text, user_id, b""], zmq.NOBLOCK)
        return True

    def _decide(self, parts: list[bytes]) -> tuple[bytes, bytes, bytes]:
        match parts:
            case [version, _, domain, address, _, b"CURVE", key] if (
                version == VERSION and domain == self._domain and len(key) == KEY_BYTES
            ):
                public = z85.encode(key)
                self._ring.refresh()
                robot = self._ring.robot_of(public.decode())
                if robot is not None and self._barred(public.decode()):
                    who = (robot, "") if self._domain == ZAP_DOMAIN else ("", public.decode())  # an operator is no robot
                    words = "dials too often, or too soon after the gateway hung up on it"
                    self._on_bad("barred", who[0], words, who[1], _where(address))
                    return b"300", b"later", b""
                if robot is not None:
                    return b"200", b"OK", public
                where = _where(address)
                detail = f"{where} dialled with {public.decode()}, which is not admitted"
                self._on_bad(self._cause, "", detail, public.decode(), where)
                return b"400", b"key not admitted", b""
        where = _where(parts[3]) if len(parts) > 3 else "somebody"  # noqa: PLR2004 - the address is the fourth part
        self._on_bad("mechanism", "", f"{where} dialled without CURVE", where, where)
        return b"400", b"CURVE only", b""


def _where(address: bytes) -> str:
    return plain(address.decode(errors="replace"))
