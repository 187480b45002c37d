"""How much audio goes in a message, by the load of the event loop and the number of robots."""

import asyncio

import pytest
from pydantic import SecretStr

from gemini_gateway import voices as voices_module
from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.personas import Gateway, Persona, Personas
from gemini_gateway.voices import Voices
from reachy_gateway.provider.ledger import Ledger
from reachy_gateway.provider.load import CALM_LOOKS, FEW, FULL_LOOKS, GENTLE_LOOKS, MANY, Load
from reachy_link.pcm import CHUNK_MS, LONG_CHUNK_MS


class Loop:
    """An event loop: in each second it works for some of the time."""

    def __init__(self, robots: int = 1) -> None:
        self.load = Load()
        self.robots = robots
        self._now_s, self._worked_s, self._rested_s = 100.0, 5.0, 3.0
        self.load.look(self._now_s, self._worked_s, self._rested_s, robots)

    def works(self, share: float, seconds: int = 1, spare: float = 0.5) -> list[int]:
        """The chunk length at the end of each second. Checks that changes, and only changes, are reported."""
        sizes = []
        for _ in range(seconds):
            before = self.load.crowded
            self._now_s += 1.0
            self._worked_s += share
            self._rested_s += spare
            changed = self.load.look(self._now_s, self._worked_s, self._rested_s, self.robots)
            assert changed is (self.load.crowded != before)
            sizes.append(self.load.message_ms)
        return sizes


def test_a_loop_with_time_left_sends_what_there_is():
    loop = Loop()
    assert loop.works(0.7, 30) == [CHUNK_MS] * 30
    assert loop.load.busy == pytest.approx(0.7)


def test_a_loop_without_sends_more_at_a_time_at_once():
    assert Loop().works(0.8) == [LONG_CHUNK_MS]


def test_it_does_so_until_it_was_calm_for_long_enough():
    loop = Loop()
    loop.works(0.8)
    assert loop.works(0.65, 30) == [LONG_CHUNK_MS] * 30, "the load is low only because messages are long"
    loop.works(0.5, CALM_LOOKS - 1)
    loop.works(0.6)
    assert loop.works(0.5, CALM_LOOKS) == [LONG_CHUNK_MS] * (CALM_LOOKS - 1) + [CHUNK_MS]


def test_many_robots_send_more_at_a_time_until_they_are_few():
    loop = Loop(MANY - 1)
    assert loop.works(0.1, 3) == [CHUNK_MS] * 3
    loop.robots = MANY
    assert loop.works(0.1, 3) == [LONG_CHUNK_MS] * 3
    loop.robots = FEW + 1
    assert loop.works(0.1, 30) == [LONG_CHUNK_MS] * 30, "else each robot that comes or goes would change it for all"
    loop.robots = FEW
    assert loop.works(0.1, CALM_LOOKS) == [LONG_CHUNK_MS] * (CALM_LOOKS - 1) + [CHUNK_MS]


def newcomers(loop: Loop) -> int:
    """How many of three new robots are let in."""
    return sum(loop.load.lets_in() for _ in range(3))


def test_where_no_time_is_left_first_messages_are_longer_and_then_newcomers_are_turned_away():
    loop = Loop()
    assert loop.works(0.93) == [LONG_CHUNK_MS]
    assert newcomers(loop) == 3, "all come at once when a gateway has started"
    loop.works(0.8, FULL_LOOKS - 2, spare=0.01)
    assert newcomers(loop) == 3
    loop.works(0.8, spare=0.01)
    assert newcomers(loop) == 0
    assert loop.load.full


def test_a_loop_that_has_little_of_its_core_is_full_although_it_works_little():
    """Other programs have the rest."""
    loop = Loop(MANY)
    loop.works(0.3)
    loop.works(0.3, FULL_LOOKS, spare=0.02)
    assert newcomers(loop) == 0


def test_a_machine_that_others_keep_busy_turns_nobody_away_from_a_gateway_with_few_robots():
    """As a build on a developer's machine does: each robot is served as well as possible."""
    loop = Loop(1)
    loop.works(0.05, FULL_LOOKS * 3, spare=0.0)
    assert newcomers(loop) == 3


def test_once_there_is_room_again_newcomers_are_let_in_one_by_one():
    """All at once, they would use up the remaining time, and every robot's speech would be late."""
    loop = Loop(MANY)
    loop.works(0.9)
    loop.works(0.9, FULL_LOOKS, spare=0.0)
    loop.works(0.85, spare=0.15)
    assert newcomers(loop) == 0
    loop.works(0.7, spare=0.25)
    assert (newcomers(loop), newcomers(loop)) == (1, 0)
    loop.works(0.7, spare=0.2)
    assert newcomers(loop) == 1
    loop.works(0.7, GENTLE_LOOKS, spare=0.2)
    assert newcomers(loop) == 3


def test_a_moment_without_time_turns_nobody_away():
    loop = Loop(MANY)
    loop.works(0.9)
    for _ in range(5):
        loop.works(0.9, FULL_LOOKS - 1, spare=0.0)
        assert newcomers(loop) == 3
        loop.works(0.8, spare=0.1)


def test_the_first_look_and_a_clock_that_stands_tell_nothing():
    load = Load()
    assert not load.look(1.0, 900.0, 0.0, 1)
    assert not load.look(1.0, 950.0, 0.0, 1)
    assert load.busy == 0


@pytest.mark.parametrize(("set_ms", "chunk_ms"), [(20, CHUNK_MS), (30, CHUNK_MS), (40, LONG_CHUNK_MS), (100, LONG_CHUNK_MS)])
def test_what_a_person_has_decided_holds_whatever_the_load_is(set_ms, chunk_ms):
    """And for the robots, too, within the limits of a message."""
    load = Load(set_ms)
    load.look(1.0, 0.0, 0.0, 1)
    assert (load.message_ms, load.chunk_ms) == (set_ms, chunk_ms)
    load.look(2.0, 1.0, 0.0, MANY)
    assert (load.message_ms, load.chunk_ms) == (set_ms, chunk_ms)


@pytest.mark.parametrize(("set_ms", "crowded_ms"), [(None, LONG_CHUNK_MS), (60, 60)])
async def test_every_session_is_told_unless_a_person_has_decided(tmp_path, monkeypatch, set_ms, crowded_ms):
    monkeypatch.setattr(voices_module, "WATCH_S", 0.01)
    ledger, endpoint = Ledger(tmp_path / "ledger.sqlite"), Endpoint("nobody", SecretStr("none"), "https://127.0.0.1:1")
    load = Load(set_ms)
    voices = Voices(Configuration(lambda: endpoint, Personas(Persona(), {}, Gateway(), {})), ledger, load=load)
    before = voices.make("reachy-1")
    assert before.session.settings.batch_ms == (set_ms or CHUNK_MS)
    watch = asyncio.create_task(voices.watch())
    await asyncio.sleep(0)
    load.look(1.0, 0.0, 0.0, MANY)
    after = voices.make("reachy-2")
    async with asyncio.timeout(10):
        while before.session.settings.batch_ms != crowded_ms:
            await asyncio.sleep(0.01)
    assert after.session.settings.batch_ms == crowded_ms
    watch.cancel()
    ledger.close()
