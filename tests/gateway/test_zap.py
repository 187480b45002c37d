import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import zmq
import zmq.asyncio
from zmq.utils import z85

from reachy_gateway.link.zap import Zap
from reachy_link.keys import Keyring
from reachy_link.sockets import Drain

Ask = Callable[..., Awaitable[list[bytes]]]


class BrokenRing(Keyring):
    """A key ring that fails when asked."""

    def refresh(self) -> bool:
        raise RuntimeError("the disk is gone")


@pytest.fixture
def ring(tmp_path) -> Keyring:
    return Keyring(tmp_path)


@pytest.fixture
def refusals() -> list[tuple[str, str, str]]:
    return []


@pytest.fixture
def context():
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
async def zap(context, ring, refusals):
    handler = Zap(context, ring, lambda *what: refusals.append(what))
    yield handler
    handler.close()


@pytest.fixture
async def ask(context, zap) -> AsyncIterator[Ask]:
    """Asks a handler as libzmq does at a handshake. Returns status code, text and User-Id of the answer."""
    socket = zmq.asyncio.Context.shadow(context.underlying).socket(zmq.REQ)
    socket.req_relaxed = True  # a question may follow an unanswered one
    socket.connect("inproc://zeromq.zap.01")

    async def ask(
        key: bytes, *, version=b"1.0", domain=b"reachy", mechanism=b"CURVE", address=b"10.0.0.9",
        more: tuple[bytes, ...] = (), timeout_s=5.0,
    ):  # fmt: skip
        await socket.send_multipart([version, b"id-7", domain, address, b"", mechanism, key, *more])
        answer = await asyncio.wait_for(socket.recv_multipart(), timeout_s)
        assert answer[:2] == [b"1.0", b"id-7"]
        assert len(answer) == 6
        return answer[2:5]

    yield ask
    socket.close(linger=0)


def key_of(public: bytes) -> bytes:
    return z85.decode(public)


async def test_an_admitted_key_gets_in_and_is_its_user_id(ask, ring):
    public, _ = zmq.curve_keypair()
    ring.admit("reachy-1", public.decode())
    assert await ask(key_of(public)) == [b"200", b"OK", public]


async def test_a_key_that_is_not_admitted_is_refused_and_told_with_its_address(ask, refusals):
    public, _ = zmq.curve_keypair()
    assert await ask(key_of(public)) == [b"400", b"key not admitted", b""]
    ((cause, peer, detail, who, address),) = refusals
    assert address == "10.0.0.9"
    assert (cause, peer, who) == ("key", "", public.decode())
    assert "10.0.0.9" in detail
    assert public.decode() in detail


async def test_a_stranger_is_told_by_the_address_that_people_know(ask, refusals):
    await ask(key_of(zmq.curve_keypair()[0]), address=b"::ffff:10.0.0.7")
    await ask(b"", mechanism=b"NULL", address=b"::ffff:10.0.0.7")
    assert all(detail.startswith("10.0.0.7 dialled with") for _, _, detail, *_ in refusals)
    assert refusals[1][3] == "10.0.0.7"


async def test_a_key_admitted_or_revoked_meanwhile_counts_at_the_next_handshake(ask, tmp_path):
    public, _ = zmq.curve_keypair()
    assert (await ask(key_of(public)))[0] == b"400"
    Keyring(tmp_path).admit("reachy-1", public.decode())
    assert (await ask(key_of(public)))[0] == b"200"


@pytest.mark.parametrize(
    "request_",
    [
        {"mechanism": b"NULL"},
        {"mechanism": b"PLAIN"},
        {"domain": b""},
        {"domain": b"other"},
        {"version": b"2.0"},
        {"more": (b"surplus",)},
    ],
    ids=str,
)
async def test_nothing_but_curve_in_our_domain_gets_in_whatever_its_key(ask, ring, request_):
    public, _ = zmq.curve_keypair()
    ring.admit("reachy-1", public.decode())
    assert (await ask(key_of(public), **request_))[::2] == [b"400", b""]


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 33])
async def test_a_key_of_another_length_is_refused(ask, key):
    assert (await ask(key))[0] == b"400"


class TestWithABrokenRing:
    @pytest.fixture
    def ring(self, tmp_path) -> Keyring:
        return BrokenRing(tmp_path)

    async def test_a_fault_of_our_own_is_try_again_later_and_never_a_yes(self, ask, ring):
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        public, _ = zmq.curve_keypair()
        ring.admit("reachy-1", public.decode())
        for _ in range(3):
            assert (await ask(key_of(public)))[::2] == [b"300", b""]
        assert [str(error) for error in told] == ["the disk is gone"] * 3, "and is not hidden"


async def test_an_answer_that_cannot_be_sent_does_not_end_the_handler(ask, ring, zap, monkeypatch):
    """A REP socket would be stuck from then on, and no robot could connect any more."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    public, _ = zmq.curve_keypair()
    ring.admit("reachy-1", public.decode())
    with monkeypatch.context() as patched:
        patched.setattr(zap, "_decide", lambda _: (b"200", "no bytes", public))
        with pytest.raises(TimeoutError):
            await ask(key_of(public), timeout_s=0.3)
    assert isinstance(told[0], TypeError)
    assert await ask(key_of(public)) == [b"200", b"OK", public]


class TestADrain:
    async def test_goes_on_at_once_after_a_fault_and_hides_none(self, context):
        told, taken, loop = [], [], asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: told.append(report["exception"]))
        pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        pull.bind("inproc://here")
        push.connect("inproc://here")
        for n in range(200):
            push.send(b"%d" % n)

        def ready():
            try:
                taken.append(pull.recv(zmq.NOBLOCK))
            except zmq.Again:
                return False
            raise ValueError(taken[-1])

        drain = Drain(pull, ready)
        began = loop.time()
        while len(taken) < 200:
            await asyncio.sleep(0)
            assert loop.time() < began + 2, "at one message a tick it would take 10 s"
        drain.close()
        pull.close()
        push.close()
        assert len(told) == 200

    async def test_hears_what_came_while_the_socket_was_used(self, context):
        """Using the socket has consumed the edge trigger. Without ticks the message would wait for the next one."""
        pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        pull.bind("inproc://here")
        push.connect("inproc://here")
        taken = asyncio.Event()
        drain = Drain(pull, lambda: self.take(pull, taken))
        push.send(b"")
        async with asyncio.timeout(5):
            await taken.wait()
        taken.clear()
        push.send(b"")
        assert pull.getsockopt(zmq.EVENTS) & zmq.POLLIN
        async with asyncio.timeout(5):
            await taken.wait()
        drain.close()
        pull.close()
        push.close()

    @staticmethod
    def take(pull, taken):
        """Take a message. Returns whether there was one."""
        try:
            pull.recv(zmq.NOBLOCK)
        except zmq.Again:
            return False
        taken.set()
        return True
