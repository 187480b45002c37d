"""The rim of a Gemini voice, with a connection that a test plays."""

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager

import pytest
from session_rim import wanted

from gemini_gateway.burst_slot import SLOT_PAUSE_S, SLOT_S, BurstSlot
from gemini_gateway.events import LiveError
from gemini_gateway.personas import Persona
from gemini_gateway.voice import GeminiVoice
from reachy_gateway.provider.circuit_breaker import CircuitBreaker
from reachy_gateway.provider.usage import Tokens, Verdict
from reachy_gateway.tools.toolbox import Toolbox
from reachy_gateway.voice import Audio, SpeechNoticed, TurnComplete

TOKENS = Tokens({"audio": 100_000}, {"audio": 1500})
A_REPLY = Audio(b"\0\0" * 100, 24000)


class Office:
    """What the voices of a gateway share."""

    def __init__(self):
        self.bills = []
        self.burst_slot = BurstSlot()
        self.toolbox = Toolbox()
        self.breakers = defaultdict(lambda: CircuitBreaker(lambda: 0.5))
        self.models = {}

    def persona(self, robot):
        return Persona(model=self.models.get(robot, "a-model"))

    def breaker(self, model):
        return self.breakers[model]

    def verdict(self, _robot):
        return Verdict(allowed=True)

    def bill(self, _robot, _session, _model, bill):
        self.bills.append(bill.tokens)

    def count(self, *_):
        pass

    def reconnected(self, *_):
        pass


class Gemini:
    """A connection, and its dialler."""

    interrupted = False
    waits = True

    def __init__(self, *events):
        self._events = events
        self.on_interruption = None
        self.told = asyncio.Event()
        self.hung_up_on = asyncio.Event()
        self.lets_go = asyncio.Event()

    @asynccontextmanager
    async def connect(self, persona, *_, **__):
        if persona.model == "in trouble":
            raise LiveError("unreachable", "nobody answers")
        try:
            yield self
        finally:
            self.hung_up_on.set()
            await self.lets_go.wait()

    def watch(self, on_interruption):
        self.on_interruption = on_interruption

    async def receive(self):
        for event in self._events:
            yield event
        self.told.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "events",
    [(A_REPLY, TOKENS), (A_REPLY, TurnComplete(), TOKENS), (A_REPLY, TOKENS, TurnComplete())],
    ids=["in mid-answer", "counts that came late", "an answer that is over"],
)
async def test_a_turn_is_billed_once_when_its_robot_leaves(events):
    office, gemini = Office(), Gemini(*events)
    voice = asyncio.create_task(GeminiVoice("reachy-1", gemini, office).run(lambda _: None))
    await asyncio.wait_for(gemini.told.wait(), 10)
    voice.cancel()
    await asyncio.wait_for(gemini.hung_up_on.wait(), 10)
    assert office.bills == [TOKENS], "while the server does not let go of the connection"
    gemini.lets_go.set()
    await asyncio.wait([voice])
    assert office.bills == [TOKENS]


async def test_a_model_that_is_in_trouble_keeps_no_robot_with_another_from_dialling():
    office, gemini = Office(), Gemini()
    office.models = {"first": "in trouble", "second": "in trouble", "third": "well"}
    voices = [asyncio.create_task(GeminiVoice(robot, gemini, office).run(lambda _: None)) for robot in ("first", "second")]
    async with asyncio.timeout(10):
        while not (office.breakers["in trouble"].down and office.breakers["in trouble"]._only is None):
            await asyncio.sleep(0.01)
    voices.append(asyncio.create_task(GeminiVoice("third", gemini, office).run(lambda _: None)))
    await asyncio.wait_for(gemini.told.wait(), 10)
    assert office.breakers["in trouble"].down, "no robot's success may end this"
    assert not office.breakers["well"].down
    gemini.lets_go.set()
    for voice in voices:
        voice.cancel()
    await asyncio.wait(voices)


async def test_an_interruption_is_told_when_it_comes_and_of_no_connection_that_is_over():
    office, gemini, told = Office(), Gemini(A_REPLY), []
    voice = asyncio.create_task(GeminiVoice("reachy-1", gemini, office).run(told.append))
    await asyncio.wait_for(gemini.told.wait(), 10)
    assert SpeechNoticed() not in told
    gemini.on_interruption()
    assert told[-1] == SpeechNoticed(), "the flush must come within the call"
    voice.cancel()
    await asyncio.wait_for(gemini.hung_up_on.wait(), 10)
    assert gemini.on_interruption is None
    gemini.lets_go.set()
    await asyncio.wait([voice])


class Lost(Gemini):
    """A connection that accepts nothing any more, with an answer that is still to be read."""

    def __init__(self, *events):
        super().__init__(*events)
        self.refused = asyncio.Event()
        self.lets_go.set()

    async def send_audio(self, _):
        self.refused.set()
        raise LiveError("lost", "1011")

    async def receive(self):
        await self.refused.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        for event in self._events:
            yield event
        raise LiveError("lost", "1011")


async def test_what_a_connection_said_before_it_was_lost_is_heard_though_the_sender_notices_first():
    gemini, told = Lost(A_REPLY, A_REPLY, TurnComplete()), []
    voice = GeminiVoice("reachy-1", gemini, Office())
    running = asyncio.create_task(voice.run(told.append))
    voice.hear(bytes(640), speaking=False)
    async with asyncio.timeout(10):
        while TurnComplete() not in told:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert told.count(A_REPLY) == 2


class Busy(Gemini):
    """A connection that accepts at once what it is offered, unless it is busy."""

    def __init__(self, *events):
        super().__init__(*events)
        self.busy, self.offered, self.sent = False, [], []
        self.lets_go.set()

    def offer_audio(self, pcm):
        if not self.busy:
            self.offered.append(pcm)
        return not self.busy

    async def send_audio(self, pcm):
        self.sent.append(pcm)

    async def answer(self, responses):
        self.sent.append(responses)


@asynccontextmanager
async def talking(gemini):
    """A voice on an open connection, whose server has said everything."""
    voice = GeminiVoice("reachy-1", gemini, Office())
    running = asyncio.create_task(voice.run(lambda _: None))
    await asyncio.wait_for(gemini.told.wait(), 10)
    yield voice
    running.cancel()
    await asyncio.wait([running])


async def turns(n=5):
    """Let every other task run."""
    for _ in range(n):
        await asyncio.sleep(0)


async def test_audio_is_sent_at_once_or_by_the_sender_and_in_order():
    gemini, pieces = Busy(), [bytes([n]) * 640 for n in range(4)]
    async with talking(gemini) as voice:
        voice.hear(pieces[0], speaking=False)
        assert gemini.offered == pieces[:1], "without a turn of the event loop"
        gemini.busy = True
        for piece in pieces[1:3]:
            voice.hear(piece, speaking=False)
        assert gemini.sent == []
        await turns()
        assert b"".join(gemini.sent) == b"".join(pieces[1:3])
        gemini.busy = False
        voice.hear(pieces[3], speaking=False)
        assert gemini.offered == [pieces[0], pieces[3]]


async def test_what_is_no_audio_is_left_to_the_sender():
    gemini = Busy(wanted("wave"))
    async with talking(gemini) as voice:
        voice.hear(bytes(640), speaking=False)
        assert gemini.offered == [], "the answer goes first"
        await turns()
        (answer,), pcm = gemini.sent
        assert (answer.id, answer.name) == ("call-1", "wave")
        assert pcm == bytes(640)


def test_one_robot_at_a_time_hurries_and_for_a_bounded_time():
    """Else several interrupted robots at once would hold up all others by 8 ms each."""
    burst_slot = BurstSlot()
    assert burst_slot.begin(10.0) == 10.0 + SLOT_S
    for later_s in (0.0, SLOT_S / 2, SLOT_S, SLOT_S + SLOT_PAUSE_S / 2):
        assert burst_slot.begin(10.0 + later_s) == 10.0 + later_s, "another one, in the same turn of the loop"
    assert burst_slot.begin(10.0 + SLOT_S + SLOT_PAUSE_S * 1.01) > 10.0 + 2 * SLOT_S
