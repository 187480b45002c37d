"""Speech to the robot arrives, and its own speech is heard, on both kinds of robot."""

import asyncio
import ctypes
import re
import time
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace

import gi
import numpy as np
import pytest
from signals import best_match, faults
from waiting import until

from robot_io.reachy import sound as reachy_device
from robot_io.reachy.sdk import Sdk
from robot_io.reachy.sound import ReachyDevice

HUSH_S = 0.25
MIC_GAP_S = 0.1
NOISE = np.random.default_rng(7).normal(0, 0.05, 24000).astype(np.float32)


class Ear:
    """Everything that a device records, and when it arrived."""

    def __init__(self, device):
        self.times = []
        self.chunks = []
        self._task = asyncio.create_task(self._listen(device))

    @property
    def samples(self):
        return np.concatenate([np.zeros((0, 2), np.float32), *self.chunks])

    async def heard(self, seconds):
        """Wait for so many more seconds."""
        wanted = len(self.samples) + seconds * 16000
        await until(lambda: len(self.samples) >= wanted or self._task.done(), seconds + 5)
        if self._task.done():
            self._task.result()

    async def _listen(self, device):
        async for samples in device.record():
            self.times.append(time.monotonic())
            self.chunks.append(samples)


@asynccontextmanager
async def talking(rig):
    device = ReachyDevice(Sdk(port=rig.daemon_port))
    try:
        await device.open()
        yield device, Ear(device)
    finally:
        await device.close()


@contextmanager
def what_the_sink_says():
    """The sink's clock against the pipeline's, from GStreamer's log."""
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst  # noqa: PLC0415 - only after the version was chosen

    found = []

    def note(category, level, file, function, line, element, message, *_):
        if skew := re.search(r"avg ([-+])0:00:([\d.]+)", message.get()):
            found.append(float(skew[1] + skew[2]) * 1000)

    Gst.init([])
    Gst.debug_add_log_function(note, None)
    Gst.debug_set_threshold_for_name("audiobasesink", Gst.DebugLevel.DEBUG)
    try:
        yield found
    finally:
        Gst.debug_unset_threshold_for_name("audiobasesink")
        Gst.debug_remove_log_function(note)


def stereo(mono):
    return np.repeat(mono[:, None], 2, axis=1)


async def speak(device, mono):
    """Hand over speech as the playout does: 20 ms at a time, never more than the device's lead."""
    for start in range(0, len(mono), 320):
        await until(lambda: device.queued_ms() < device.lead_ms, 2)
        device.play(stereo(mono[start : start + 320]))


async def hush_in_mid_speech(rig, device, ear):
    """How long the speaker is heard after a hush."""
    before = len(rig.speaker.samples)
    device.play(stereo(NOISE))
    await until(lambda: np.count_nonzero(np.abs(rig.speaker.samples[before:]) > 0.02) > 2000, 3)
    hushed = time.monotonic()
    device.hush()
    assert device.queued_ms() == 0.0
    await ear.heard(0.5)
    return rig.speaker.last_loud() - hushed


def hold_up(seconds):
    """Block every thread of Python, as a busy machine does. The sound server's threads continue."""
    ctypes.PyDLL(None).usleep(round(seconds * 1e6))


async def faults_of(mono, rig, device, ear):
    """The faults that the speaker adds to speech."""
    before = len(rig.speaker.samples)
    await speak(device, mono)
    await ear.heard(1.0)
    return faults(mono, rig.speaker.samples[before:])


async def least(once):
    """The fewest faults of three attempts, none of which may be really bad.

    The SDK gives the sound card 50 ms of its stream, so a machine that is busy for longer puts a gap into one utterance in
    twenty; with 200 ms there was none. A fault of ours shows every time.
    """
    for _ in range(3):
        found = await once()
        assert len(found) <= 3, found
        if not found:
            break
    return found


async def test_what_is_said_arrives_whole(rig, question, question_wav):
    async with talking(rig) as (_, ear):
        rig.say(question_wav)
        await ear.heard(len(question) / 16000 + 1.5)
    for channel in (0, 1):
        at, score = best_match(question, ear.samples[:, channel])
        assert score >= 0.98
        assert at < 1.5 * 16000
    assert all(chunk.dtype == np.float32 and chunk.shape[1] == 2 for chunk in ear.chunks)
    assert all(chunk.flags.writeable and chunk.flags.c_contiguous for chunk in ear.chunks)


async def test_speech_is_heard_whole_from_its_first_word(rig, answer):
    async def once():
        async with talking(rig) as (device, ear):
            before = len(rig.speaker.samples)
            await speak(device, answer)
            assert 200 < device.queued_ms() <= device.lead_ms + 20
            await ear.heard(1.0)
            assert device.queued_ms() == 0.0
        return faults(answer, rig.speaker.samples[before:])

    assert await least(once) == []


async def test_the_speaker_is_on_time_before_its_first_word(lite):
    """An error of nearly 20 ms, at which it is corrected, would cut as much from the first answer."""
    for _ in range(2):
        with what_the_sink_says() as off_ms:
            async with talking(lite) as (_, ear):
                ready_off_ms = off_ms[-1]
                await ear.heard(0.1)
        assert abs(ready_off_ms) <= 3.0


async def test_hush_is_silence_at_once_and_nothing_else_suffers(rig, question, question_wav, answer):
    """Ten times in a row: the SDK's own way to empty the player fails once or twice."""
    silences = []
    async with talking(rig) as (device, ear):
        for round_ in range(10):
            if round_ == 5:
                speech, spoken = rig.say(question_wav), len(ear.samples)
            silences.append(await hush_in_mid_speech(rig, device, ear))
        await until(lambda: speech.poll() is not None, 10)
        await ear.heard(1.0)
        assert max(np.diff(ear.times)) <= MIC_GAP_S
        assert best_match(question, ear.samples[spoken:, 0])[1] >= 0.98

        async def once():
            before = len(rig.speaker.samples)
            device.play(stereo(NOISE))
            device.hush()
            await speak(device, answer)
            await ear.heard(1.0)
            return faults(answer, rig.speaker.samples[before:])

        assert await least(once) == []
    assert max(silences) <= HUSH_S, silences


@pytest.mark.parametrize("rate", [1.1, 0.9])
async def test_a_sound_card_that_goes_by_another_clock_costs_neither_time_nor_words(lite, answer, monkeypatch, rate):
    """The drift of two crystals takes hours; a difference of 10 % shows the same in ten seconds."""
    began = time.monotonic()
    ours = SimpleNamespace(**vars(time) | {"monotonic": lambda: began + (time.monotonic() - began) * rate})
    monkeypatch.setattr(reachy_device, "time", ours)
    async with talking(lite) as (device, ear):
        await ear.heard(10)
        assert max([await hush_in_mid_speech(lite, device, ear) for _ in range(3)]) <= HUSH_S
        assert await least(lambda: faults_of(answer, lite, device, ear)) == []


async def test_the_sdk_shows_the_clock_of_its_player(lite, caplog):
    """Without that clock robot-io would use this machine's, and only this warning would tell."""
    async with talking(lite) as (_, ear):
        await ear.heard(0.1)
    assert [record.message for record in caplog.records if record.name == reachy_device.__name__] == []


async def test_a_talker_that_was_held_up_has_all_of_it_still_to_say(lite, answer):
    async with talking(lite) as (device, ear):
        device.play(stereo(NOISE))
        hold_up(1.0)
        assert device.queued_ms() > 1300
        assert await hush_in_mid_speech(lite, device, ear) <= HUSH_S
        assert await least(lambda: faults_of(answer, lite, device, ear)) == []


async def test_any_array_of_numbers_within_one_is_played_as_it_is(rig, answer):
    speech = answer[:24000]
    wide = np.zeros((len(speech), 4))  # float64, every second column, so not contiguous either
    wide[:, ::2] = speech[:, None]
    async with talking(rig) as (device, ear):

        async def once():
            before = len(rig.speaker.samples)
            device.play(wide[:, ::2])
            await ear.heard(len(speech) / 16000 + 1)
            return faults(speech, rig.speaker.samples[before:])

        assert await least(once) == []
        with pytest.raises(TypeError, match="int16"):
            device.play((stereo(speech) * 32767).astype(np.int16))


async def test_single_samples_are_played_as_well(lite):
    """The SDK would take one stereo sample for two mono ones, so robot-io never gives it so few."""
    left_only = np.array([[0.5, 0.0]], np.float32)
    async with talking(lite) as (device, ear):
        before = len(lite.speaker.samples)
        for _ in range(100):
            device.play(left_only)
        await ear.heard(2.0)
    heard = lite.speaker.samples[before:]
    assert np.count_nonzero(np.abs(heard - 0.25) < 0.01) == 100  # the mean of both sides
    assert np.abs(heard).max() < 0.3


async def test_what_goes_beyond_the_bound_is_dropped_and_said_once(lite, caplog):
    async with talking(lite) as (device, _):
        for _ in range(200):
            device.play(np.zeros((320, 2), np.float32))
        assert 1900 < device.queued_ms() <= 2020
    assert caplog.text.count("speech is dropped until it has caught up") == 1


async def test_what_waits_is_bounded_though_the_talker_is_held_up(lite):
    tone = np.full((320, 2), 0.5, np.float32)
    async with talking(lite) as (device, ear):
        before = len(lite.speaker.samples)
        for pause_s in (1.0, 0.0):
            for _ in range(110):
                device.play(tone)
            hold_up(pause_s)
        await until(lambda: device.queued_ms() == 0.0, 5)
        await ear.heard(1.0)
    played_s = np.count_nonzero(np.abs(lite.speaker.samples[before:] - 0.5) < 0.1) / 16000
    assert 1.8 < played_s < 2.2
