import asyncio
import logging
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reachy_link.pcm import Format, Samples, from_pcm16, to_pcm16
from reachy_robot.sound import Button, DeviceError, Moment
from robot_io.wav.sound import LEAD_IN_TICKS, LET_GO_TICKS, STEREO_16K, TICK_MS, WavDevice

TICK = 160
UTTERANCES = sorted((Path(__file__).parents[2] / "services/robot-io/utterances").glob("*.wav"))


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait for the next timer but sets its clock ahead to it."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self._skipped_s

    def _run_once(self) -> None:
        if self._scheduled and not self._ready:
            self._skipped_s += max(0.0, self._scheduled[0].when() - self.time())
        super()._run_once()


def run(device: WavDevice, on_tick: Callable[[int], None], ticks: int = 10_000) -> Samples:
    """Run the device until its microphone ends, or for so many ticks. Returns all that the microphone gave.

    An end with a complaint about unanswered utterances counts as an end.
    """

    async def main() -> list[Samples]:
        await device.open()
        chunks: list[Samples] = []
        try:
            async for item in device.record():
                if isinstance(item, Button):
                    continue
                on_tick(len(chunks))
                chunks.append(item)
                if len(chunks) == ticks:
                    break
        except DeviceError as error:
            assert "got no answer" in str(error)  # noqa: PT017
        await device.close()
        await device.close()
        return chunks

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return np.concatenate(runner.run(main()))


def wav(path: Path, samples: Samples, rate_hz: int = 16000, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(to_pcm16(samples) if width == 2 else b"\x80" * samples.size)
    return path


def read(path: Path) -> Samples:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 16000, 2)
        return from_pcm16(file.readframes(file.getnframes()), 2)


def tone(ticks: float, level: float = 0.5, channels: int = 1) -> Samples:
    return np.full((round(ticks * TICK), channels), level, np.float32)


def at_ticks(actions: dict[int, Callable[[], None]]) -> Callable[[int], None]:
    return lambda tick: actions.get(tick, lambda: None)()


@pytest.fixture
def one(tmp_path) -> Path:
    return wav(tmp_path / "1.wav", tone(20, 0.25))


# --- the microphone ---------------------------------------------------------------------------------------------------


def test_the_microphone_is_silent_not_mute_until_the_gateway_listens(one):
    device = WavDevice([one], None)
    heard = run(device, lambda _: None, ticks=100)
    assert heard.shape == (100 * TICK, 2)
    assert not heard.any()


def test_an_utterance_is_spoken_after_a_moment_and_a_mono_file_fills_both_channels(one):
    device = WavDevice([one], None, patience_s=1.0)
    heard = run(device, at_ticks({9: lambda: device.notice(Moment.READY)}))
    begin = (10 + LEAD_IN_TICKS) * TICK
    assert not heard[:begin].any()
    assert np.all(heard[begin : begin + 20 * TICK] == 0.25)
    assert not heard[begin + 20 * TICK :].any()


def test_a_stereo_recording_keeps_its_channels(tmp_path):
    both = np.concatenate([tone(5, 0.25), tone(5, -0.5)], axis=1)
    device = WavDevice([wav(tmp_path / "1.wav", both)], None, patience_s=0.1)
    device.notice(Moment.READY)
    heard = run(device, lambda _: None)
    assert heard[heard.any(axis=1)].tolist() == both.tolist()


def test_the_end_of_an_utterance_is_filled_up_to_a_tick(tmp_path):
    device = WavDevice([wav(tmp_path / "1.wav", tone(2.5))], None, patience_s=0.1)
    device.notice(Moment.READY)
    heard = run(device, lambda _: None)
    assert len(heard) % TICK == 0
    assert np.count_nonzero(heard[:, 0]) == 2.5 * TICK


def test_the_next_utterance_waits_for_the_answer_and_the_last_answer_ends_the_recording(tmp_path):
    files = [wav(tmp_path / f"{i}.wav", tone(10, i / 4)) for i in (1, 2)]
    device = WavDevice(files, None)
    device.notice(Moment.READY)
    first_answered = LEAD_IN_TICKS + 10 + 50
    second_answered = first_answered + 1 + LEAD_IN_TICKS + 10 + 20
    heard = run(
        device,
        at_ticks({tick: lambda: device.notice(Moment.ANSWERED) for tick in (first_answered, second_answered)}),
    )
    levels = heard[::TICK, 0].tolist()
    assert levels.index(0.25) == LEAD_IN_TICKS
    assert levels.index(0.5) == first_answered + 1 + LEAD_IN_TICKS
    assert len(levels) == second_answered + 1


def test_an_answer_to_what_came_before_does_not_count(one):
    device = WavDevice([one], None, patience_s=2.0)
    device.notice(Moment.READY)
    heard = run(device, at_ticks({5: lambda: device.notice(Moment.ANSWERED)}))
    assert len(heard) == (LEAD_IN_TICKS + 20 + 200) * TICK


def test_without_an_answer_it_goes_on_after_its_patience_and_says_so(one, caplog):
    device = WavDevice([one, one], None, patience_s=1.5)
    device.notice(Moment.READY)
    with caplog.at_level(logging.INFO):
        heard = run(device, lambda _: None)
    assert len(heard) == 2 * (LEAD_IN_TICKS + 20 + 150) * TICK
    assert [record.message for record in caplog.records] == ["the utterance was not answered to its end within 1.5 s"] * 2


def test_the_button_is_held_from_the_first_sample_of_an_utterance_until_a_moment_after_its_last(one):
    async def main(device: WavDevice) -> list[tuple[Button, int]]:
        pushed, ticks = [], 0
        await device.open()
        try:
            async for item in device.record():
                if isinstance(item, Button):
                    pushed.append((item, ticks))
                else:
                    ticks += 1
        except DeviceError:
            await device.close()
        return pushed

    for push_to_talk in (False, True):
        device = WavDevice([one, one], None, patience_s=0.5, push_to_talk=push_to_talk)
        device.notice(Moment.READY)
        with asyncio.Runner(loop_factory=SkippingLoop) as runner:
            pushed = runner.run(main(device))
        held = 20 + LET_GO_TICKS
        second = LEAD_IN_TICKS + held + 50 + LEAD_IN_TICKS
        turns = [(Button.PRESSED, at) for at in (LEAD_IN_TICKS, second)] + [
            (Button.RELEASED, at + held) for at in (LEAD_IN_TICKS, second)
        ]
        assert pushed == (sorted(turns, key=lambda turn: turn[1]) if push_to_talk else [])


def test_the_utterances_that_come_with_it_can_be_spoken():
    device = WavDevice(UTTERANCES, None, patience_s=0.1)
    device.notice(Moment.READY)
    heard = run(device, lambda _: None)
    assert len(UTTERANCES) == 5
    assert 0.4 < np.abs(heard).max() < 0.6


def test_the_microphone_keeps_real_time(one):
    async def main() -> float:
        device = WavDevice([one], None)
        await device.open()
        start, ticks = asyncio.get_running_loop().time(), 0
        async for _ in device.record():
            ticks += 1
            if ticks == 500:
                break
        return asyncio.get_running_loop().time() - start

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        assert runner.run(main()) == pytest.approx(5.0, abs=0.5)


# --- the speaker ------------------------------------------------------------------------------------------------------


def test_the_recording_is_what_was_played_when_it_was_played(one, tmp_path):
    device = WavDevice([one], tmp_path / "new" / "speaker.wav")
    spoken = np.random.default_rng(1).normal(0, 0.1, (1000, 2)).astype(np.float32)
    run(device, at_ticks({49: lambda: device.play(spoken[:700]), 50: lambda: device.play(spoken[700:])}), ticks=100)
    recorded = read(tmp_path / "new" / "speaker.wav")
    assert len(recorded) == 100 * TICK
    assert not recorded[: 50 * TICK].any()
    assert to_pcm16(recorded[50 * TICK : 50 * TICK + 1000]) == to_pcm16(spoken)
    assert not recorded[50 * TICK + 1000 :].any()


def test_the_queue_runs_out_in_real_time(one):
    device = WavDevice([one], None)
    queued = []

    def on_tick(tick: int) -> None:
        if tick == 10:
            device.play(tone(5, channels=2))
        queued.append(device.queued_ms())

    run(device, on_tick, ticks=20)
    assert queued == [0.0] * 10 + [50.0, 40.0, 30.0, 20.0, 10.0] + [0.0] * 5


def test_a_hush_is_silence_from_the_next_tick_on(one, tmp_path):
    device = WavDevice([one], tmp_path / "speaker.wav")
    run(device, at_ticks({10: lambda: device.play(tone(50, channels=2)), 15: device.hush}), ticks=40)
    assert device.queued_ms() == 0
    recorded = read(tmp_path / "speaker.wav")
    assert np.all(recorded[11 * TICK : 16 * TICK] == 0.5)
    assert not recorded[16 * TICK :].any()


def test_what_is_played_after_a_hush_is_heard(one, tmp_path):
    device = WavDevice([one], tmp_path / "speaker.wav")

    def cut() -> None:
        device.hush()
        device.play(tone(2, 0.25, channels=2))

    run(device, at_ticks({10: lambda: device.play(tone(50, channels=2)), 15: cut}), ticks=30)
    assert np.all(read(tmp_path / "speaker.wav")[16 * TICK : 18 * TICK] == 0.25)


# --- bad input --------------------------------------------------------------------------------------------------------


def complaint(device: WavDevice) -> str:
    with pytest.raises(DeviceError) as caught:
        run(device, lambda _: None)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rate_hz", "channels", "width"), [(24000, 1, 2), (16000, 1, 1), (16000, 3, 2)], ids=["rate", "width", "channels"]
)
def test_a_recording_in_another_format_is_told_with_what_is_expected(tmp_path, rate_hz, channels, width):
    path = wav(tmp_path / "1.wav", tone(5, channels=channels), rate_hz, width)
    words = complaint(WavDevice([path], None))
    assert str(path) in words
    assert "expected 16 bit PCM at 16000 Hz in at most 2 channels" in words


def test_a_stereo_recording_does_not_fit_a_mono_microphone(tmp_path):
    path = wav(tmp_path / "1.wav", tone(5, channels=2))
    assert "at most 1 channels" in complaint(WavDevice([path], None, mic=Format(rate_hz=16000, channels=1)))


@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"not a wave file at all, but longer than a header would be"])
def test_a_file_that_is_no_recording_is_named_with_the_setting(tmp_path, content):
    path = tmp_path / "1.wav"
    if content is not None:
        path.write_bytes(content)
    words = complaint(WavDevice([path], None))
    assert str(path) in words
    assert "ROBOT_UTTERANCES" in words


def test_a_recording_that_was_cut_within_a_sample_is_told_in_words(tmp_path):
    path = wav(tmp_path / "1.wav", tone(5))
    path.write_bytes(path.read_bytes()[:-1])
    words = complaint(WavDevice([path], None))
    assert str(path) in words


def test_a_speaker_that_cannot_be_recorded_is_told_with_the_setting(one, tmp_path):
    (tmp_path / "file").write_text("")
    assert "ROBOT_SPEAKER_WAV" in complaint(WavDevice([one], tmp_path / "file" / "speaker.wav"))


def test_a_device_that_was_never_opened_can_be_closed(one):
    asyncio.run(WavDevice([one], None).close())


def test_its_formats_are_those_of_the_real_robot():
    assert (WavDevice([], None).mic, WavDevice([], None).speaker) == (STEREO_16K, STEREO_16K)
    assert TICK_MS * STEREO_16K.rate_hz == 1000 * TICK


def test_a_recording_that_got_no_answer_ends_with_the_number_of_utterances(one):
    device = WavDevice([one, one], None, patience_s=0.1)
    device.notice(Moment.READY)

    async def listen() -> None:
        await device.open()
        async for _ in device.record():
            pass

    with asyncio.Runner(loop_factory=SkippingLoop) as runner, pytest.raises(DeviceError, match="2 of 2") as raised:
        runner.run(listen())
    assert raised.value.final


def test_an_answer_that_was_cut_is_an_answer(one):
    device = WavDevice([one], None, patience_s=0.5)
    device.notice(Moment.READY)
    heard = run(device, at_ticks({LEAD_IN_TICKS + 25: lambda: device.play(tone(1, channels=2))}))
    assert len(heard) == (LEAD_IN_TICKS + 20 + 50) * TICK
