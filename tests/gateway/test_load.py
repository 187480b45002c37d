"""How much mic audio goes at a time, by how busy the event loop is."""

import asyncio
import time

import pytest
from pydantic import SecretStr

from gemini_gateway import voices as voices_module
from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.personas import Gateway, Persona, Personas
from gemini_gateway.voices import Voices
from reachy_gateway.provider.ledger import Ledger
from reachy_gateway.provider.load import CALM_LOOKS, CROWDED_MS, USUAL_MS, Load


class Loop:
    """A second after the other, each worked for some of it."""

    def __init__(self) -> None:
        self.load = Load()
        self._now_s, self._worked_s = 100.0, 5.0
        self.load.look(self._now_s, self._worked_s)

    def works(self, share: float, seconds: int = 1) -> list[int]:
        """What goes at a time at the end of each second, and whether that was told when it changed."""
        sizes = []
        for _ in range(seconds):
            before = self.load.message_ms
            self._now_s += 1.0
            self._worked_s += share
            assert self.load.look(self._now_s, self._worked_s) is (self.load.message_ms != before)
            sizes.append(self.load.message_ms)
        return sizes


def test_a_loop_with_time_left_sends_what_there_is():
    loop = Loop()
    assert loop.works(0.7, 30) == [USUAL_MS] * 30
    assert loop.load.busy == pytest.approx(0.7)


def test_a_loop_without_sends_more_at_a_time_at_once():
    assert Loop().works(0.8) == [CROWDED_MS]


def test_it_does_so_until_it_was_calm_for_long_enough():
    loop = Loop()
    loop.works(0.8)
    assert loop.works(0.65, 30) == [CROWDED_MS] * 30, "it is so calm because more is sent at a time"
    loop.works(0.5, CALM_LOOKS - 1)
    loop.works(0.6)
    assert loop.works(0.5, CALM_LOOKS) == [CROWDED_MS] * (CALM_LOOKS - 1) + [USUAL_MS]


def test_the_first_look_and_a_clock_that_stands_tell_nothing():
    load = Load()
    assert not load.look(1.0, 900.0)
    assert not load.look(1.0, 950.0)
    assert load.busy == 0


@pytest.mark.parametrize(("set_ms", "crowded_ms"), [(None, CROWDED_MS), (60, 60)])
async def test_every_session_is_told_unless_a_person_has_decided(tmp_path, monkeypatch, set_ms, crowded_ms):
    monkeypatch.setattr(voices_module, "WATCH_S", 0.01)
    monkeypatch.setattr(time, "thread_time", time.monotonic)  # a loop that never rests
    ledger, endpoint = Ledger(tmp_path / "ledger.sqlite"), Endpoint("nobody", SecretStr("none"), "https://127.0.0.1:1")
    voices = Voices(Configuration(lambda: endpoint, Personas(Persona(), {}, Gateway(), {})), ledger, uplink_ms=set_ms)
    before = voices.make("reachy-1")
    assert before.session.settings.batch_ms == (set_ms or USUAL_MS)
    watch = asyncio.create_task(voices.watch())
    async with asyncio.timeout(10):
        while voices.load.message_ms == USUAL_MS:
            await asyncio.sleep(0.01)
    after = voices.make("reachy-2")
    assert [voice.session.settings.batch_ms for voice in (before, after)] == [crowded_ms, crowded_ms]
    watch.cancel()
    ledger.close()
