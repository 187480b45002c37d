"""The person interrupts: the speaker falls silent at once, and no sound of the old answer follows."""

import json
from pathlib import Path

import numpy as np
import pytest
from rig import Keys, RunningRobot, faults, read_wav, running_hub, running_robot

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_robot.runner import Runner

NUMBER = read_wav(Path(__file__).parent / "data" / "number-1.wav")
TONE = (8000 * np.sin(2 * np.pi * 1000 * np.arange(24000 * 20) / 24000)).astype("<i2").tobytes()
"""20 s of 1 kHz at 24 kHz: a sound that no person makes."""


def holds_tone(samples) -> bool:
    """Whether 20 ms of samples hold the tone."""
    spectrum = np.abs(np.fft.rfft(samples[:, 0] * np.hanning(len(samples))))
    bins = np.fft.rfftfreq(len(samples), 1 / 16000)
    near = np.abs(bins - 1000) < 120
    return bool(spectrum[near].sum() > 0.8 * spectrum.sum() > 0.1)


async def interrupted(robot: RunningRobot, sim) -> list[np.ndarray]:
    """Let the robot play the tone, and speak into it. Returns what the playout handed over after the speaker was hushed."""
    session = await sim.session(1)
    session.say(TONE)
    await robot.desk.until(lambda: len(robot.desk.played) > 16000)
    assert any(holds_tone(samples) for _, samples in robot.desk.handed)
    robot.desk.say(NUMBER)
    await robot.desk.until(lambda: robot.desk.hushed)
    await robot.answered(2)  # the cut answer, and the one to the interruption
    return [samples for at, samples in robot.desk.handed if at >= robot.desk.hushed[0]]


@pytest.mark.parametrize("leftover_ms", [0, 400])
async def test_speech_into_an_answer_silences_it_and_is_answered_in_full(tmp_path, gemini, leftover_ms):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo", speed=0, leftover_ms=leftover_ms)
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            after = await interrupted(robot, sim)
    assert not any(holds_tone(samples) for samples in after)
    assert faults(np.concatenate(after)[:, 0], NUMBER[:, 0]) == []
    assert [turn.complete for turn in robot.core.summary] == [False, True]


async def test_speech_while_an_answer_is_thought_of_leaves_nothing_of_it_to_hear(tmp_path, gemini):
    """Gemini still sends audio that it generated before it noticed the speech, although no sample came before."""
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo", speed=0, leftover_ms=400, settle_ms=200, thinking_ms=1500)
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            session = await sim.session(1)
            session.say(TONE)
            robot.desk.say(NUMBER)
            await session.until(lambda it: len(it.answers) == 2 and it.answers[1].complete, 15)
            await robot.answered(1)
            thought_of, _ = session.answers
            assert thought_of.interrupted
            assert thought_of.leftover_bytes == 400 * 48
            assert thought_of.sent_bytes == 0
    assert not any(holds_tone(samples) for _, samples in robot.desk.handed)
    assert faults(robot.desk.played[:, 0], NUMBER[:, 0]) == []


class DeafToFlush(Runner):
    """Loses every flush, and receives one old chunk again, late."""

    def _on_parts(self, parts):
        header = json.loads(parts[1])
        if header["kind"] == "speaker" and header["turn"] == 1:
            self.old = parts
        if header["kind"] == "flush":
            return
        super()._on_parts(parts)
        if header["floor"] > 1:
            super()._on_parts(self.old)


async def test_a_lost_flush_and_late_chunks_change_nothing(tmp_path, gemini, monkeypatch):
    monkeypatch.setattr("rig.Runner", DeafToFlush)
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo", speed=0)
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            after = await interrupted(robot, sim)
    assert robot.core.counts["late_chunks"] > 0
    assert not any(holds_tone(samples) for samples in after)
    assert faults(np.concatenate(after)[:, 0], NUMBER[:, 0]) == []
