"""``launcher.py PROGRAM [DEFENCE]``: a gateway without one of its defences, to show that an attack then succeeds.

SIGUSR1 keeps the gateway busy for a moment, as publishing does: libzmq takes subscriptions in, but no code decides on them.
SIGUSR2 blocks its event loop for 5 s.
"""

import signal
import sys
import time
from importlib import import_module

from reachy_gateway import journal
from reachy_gateway.link import end as gateway_end
from reachy_gateway.link.connections import Connections
from reachy_gateway.link.end import GatewayEnd
from reachy_gateway.link.limits import Arrival, Limits
from reachy_link.bucket import Rate
from reachy_link.keys import Keyring
from reachy_link.sockets import set_common

BUSY_S = 0.5
HELD_S = 5.0


class Anything(str):
    """A string that equals every name."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False


class AnyTopic:
    """A topic that equals every topic."""

    __hash__ = None

    def __eq__(self, other):
        return True


def no_curve():
    """Use plain sockets, whose User-Id is whatever the client claims."""

    def plain(socket, _keys, most):
        set_common(socket)
        socket.maxmsgsize = most

    class NoZap:
        def __init__(self, *_):
            pass

        close = __init__

    gateway_end.set_listener = plain
    gateway_end.Zap = NoZap


def no_admission():
    """Take every key for reachy-2's."""
    real = Keyring.robot_of
    Keyring.robot_of = lambda self, public: real(self, public) or "reachy-2"


def no_names():
    """Do not compare the key's robot with the header's."""
    real = Keyring.robot_of
    Keyring.robot_of = lambda self, public: name and Anything(name) if (name := real(self, public)) else None


def no_gatekeeper():
    """Grant every subscription."""
    gateway_end.down_topic = lambda _: AnyTopic()


def no_taint():
    """Grant subscriptions while libzmq's two queues may be out of step, and never hang up."""
    GatewayEnd._tainted = property(lambda _: False, lambda *_: None)
    no_hanging_up()


def no_hanging_up():
    """Never hang up: as with libzmq alone, a connection stays, whatever it sends."""
    Connections.hang_up = lambda *_: False


def no_limits():
    """Let a robot send as much as it can."""
    Limits.weigh = lambda *_: Arrival.TAKE


def no_handshake_limit():
    """Let a connection take any time for its handshake."""
    real = gateway_end.set_listener

    def patient(socket, keys, most):
        real(socket, keys, most)
        socket.handshake_ivl = 0

    gateway_end.set_listener = patient


def no_start_limit():
    """Let a robot begin as many conversations as it likes."""
    Limits.may_start = lambda *_: True


def no_line_limit():
    """Let a robot fill the log."""
    journal.LINES = Rate(1e9, 1e9)


DEFENCES = {
    "curve": no_curve,
    "admission": no_admission,
    "names": no_names,
    "gatekeeper": no_gatekeeper,
    "taint": no_taint,
    "hanging up": no_hanging_up,
    "limits": no_limits,
    "handshake limit": no_handshake_limit,
    "start limit": no_start_limit,
    "line limit": no_line_limit,
}

if __name__ == "__main__":
    ends = []
    begin = GatewayEnd.__init__

    def remembered(self, *args):
        begin(self, *args)
        ends.append(self)

    def busy(*_):
        until = time.monotonic() + BUSY_S
        while time.monotonic() < until:
            ends[0]._down.getsockopt(gateway_end.zmq.EVENTS)
            time.sleep(0.001)

    GatewayEnd.__init__ = remembered
    signal.signal(signal.SIGUSR1, busy)
    signal.signal(signal.SIGUSR2, lambda *_: time.sleep(HELD_S))
    program, *defences = sys.argv[1:]
    del sys.argv[1:]  # the gateway takes none
    for name in defences:
        DEFENCES[name]()
    sys.exit(import_module(f"{program.replace('-', '_')}.__main__").main())
