"""The real robot: the port over the reachy-mini SDK's media.

Three threads of our own keep its blocking calls off the event loop, and reach it by ``call_soon_threadsafe`` alone:

* the *keeper* connects, warms up, watches the daemon, and lets go of everything at the end;
* the *listener* takes what the microphone has, every 10 ms;
* the *talker* hands the SDK what is to be heard next, a little ahead of the speaker, by the clock that it plays by.

The SDK's ``clear_player()`` is never called. It pauses the one pipeline that microphone and speaker share, and with it the
sound card that is the pipeline's clock, and does not always wake them up again: of 60 calls in mid-speech 21 left the
microphone dead and 16 the speaker mute, for good (decision 0008). So what waits to be heard waits here, where dropping it
costs nothing, and the SDK never holds more than :data:`SDK_LEAD_S`.

This module is longer than others: three threads share one state, and each line of it was measured beside the others.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from reachy_link.pcm import Format, Samples
from reachy_robot.sound import DeviceError, Moment
from robot_io.reachy.sdk import CARD_REMEDY, Sdk

log = logging.getLogger(__name__)

STEREO_16K: Final = Format(rate_hz=16000, channels=2)
CLOCK_TIME_NONE: Final = 2**64 - 1
"""GStreamer's word for no time."""
SDK_LEAD_S: Final = 0.06
"""How much the SDK holds. All of it is still heard after a hush, and then the ~120 ms between the SDK and the air."""
PIECE_S: Final = 0.02
"""What the talker hands over at a time."""
SPEAKER_MAX_MS: Final = 2000.0
"""Bound of what waits for the speaker. Playout keeps ``lead_ms`` there; what goes beyond the bound is dropped, newest first."""
MIC_MAX_CHUNKS: Final = 200
"""Bound of what waits for the event loop: 2 s at the SDK's 10 ms; the oldest is dropped."""
FIRST_SAMPLE_S: Final = 10.0
"""How long the microphone may take to start; 0.2 to 2.8 s were seen."""
MIC_MUTE_S: Final = 5.0
"""How long it may deliver nothing later on. Silence is something: a stream of samples."""
SPEAKER_MUTE_S: Final = 3.0
"""How long the speaker may take nothing once speech may be heard, by the pipeline's clock. Silence is something here too."""
WARM_UP_S: Final = 2.0
"""Where the sound card's clock takes time to settle, speech pushed earlier than this after the microphone's first sample lost
4 to 50 % of its samples. Silence is pushed without a pause meanwhile: a single push of it spoils what follows for seconds."""
FINE_DRIFT_US: Final = 4000
"""How far the speaker may be off the pipeline's clock while it warms up, as GStreamer sets it; at half of that the sink jumps,
and sound is left out. It starts some 80 ms off. By its own 40 ms it was still up to 20 off when speech began, and one first
answer in eight lost 20 to 40 ms, as the clocks wander on by some 10 ms."""
FIRST_PUSH_S: Final = 0.3
"""What is pushed first of all is lost even then, so it is silence."""
IDLE_S: Final = 0.005
WATCH_S: Final = 1.0
DAEMON_SILENT_S: Final = 3.0
"""A living daemon tells its state 50 times a second."""
OPEN_S: Final = 60.0
CLOSE_S: Final = 5.0


class ReachyDevice:
    """The microphone and the speaker of a Reachy Mini.

    Args:
        sdk: The SDK, not connected yet. The device connects it, and lets go of it at its end.
    """

    lead_ms = 300

    def __init__(self, sdk: Sdk) -> None:
        self.mic = self.speaker = STEREO_16K
        self._sdk = sdk
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._keeper: threading.Thread | None = None
        self._stop = threading.Event()
        self._failure: DeviceError | None = None
        self._closed = False
        self._ready = False
        self._over = False
        self._hearing = threading.Event()
        self._heard: deque[Samples] = deque(maxlen=MIC_MAX_CHUNKS)
        self._speech: deque[Samples] = deque()
        self._waiting = 0
        """How many samples of speech that is."""
        self._more_at = 0.0
        """When the talker will want more behind the speech that it took last."""
        self._wanted = threading.Lock()
        """Guards these three."""

    async def open(self) -> None:
        """Connect to the daemon, start both directions and warm up: 2.5 to 5 s; what the microphone hears meanwhile is dropped.

        Raises:
            DeviceError: If there is no daemon, no SDK or no sound, with what to do about it.
        """
        self._loop = asyncio.get_running_loop()
        self._keeper = self._start("keeper", self._keep)
        try:
            async with asyncio.timeout(OPEN_S):
                await self._until(lambda: self._ready or self._over)
        except TimeoutError:
            raise DeviceError(f"the reachy-mini SDK did not start within {OPEN_S:.0f} s; restart the daemon") from None
        self._heard.clear()

    async def record(self) -> AsyncIterator[Samples]:
        """The microphone, until the device is closed.

        Raises:
            DeviceError: When the microphone or the speaker is lost, or the robot is switched off.
        """
        while not self._closed:
            await self._until(lambda: self._heard or self._closed)
            while self._heard:
                yield self._heard.popleft()

    def play(self, samples: Samples) -> None:
        """Queue samples for the speaker; they are copied.

        Raises:
            TypeError: If they are integers, which the SDK would play as noise at full volume.
        """
        if samples.dtype.kind != "f":
            raise TypeError(f"samples are floating point within -1..1, not {samples.dtype}")
        if not len(samples):
            return
        if self.queued_ms() > SPEAKER_MAX_MS:
            log.warning("the speaker has %.0f ms to play: dropped %d samples", self.queued_ms(), len(samples))
            return
        whole = np.array(samples, np.float32, order="C")  # the SDK takes the bytes of any type for float32
        with self._wanted:
            self._speech.append(whole)
            self._waiting += len(whole)

    def queued_ms(self) -> float:
        """What the talker has yet to take.

        What the SDK holds is not in it: that is heard in any case, and silence follows it, with what comes later behind that.
        """
        with self._wanted:
            return self.speaker.ms(self._waiting) + max(0.0, self._more_at - time.monotonic()) * 1000

    def hush(self) -> None:
        """Drop what waits; the SDK's short lead is still heard."""
        with self._wanted:
            self._speech.clear()
            self._waiting, self._more_at = 0, 0.0

    def notice(self, moment: Moment) -> None:
        """A real robot needs none of it."""

    async def close(self) -> None:
        """Stop the threads and let go of the SDK."""
        self._closed = True
        self._give_up()
        self._changed.set()
        if self._keeper is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                while not self._over:
                    await self._change()
        except TimeoutError:
            log.warning("the reachy-mini SDK did not let go of the robot within %.0f s", CLOSE_S)

    async def _until(self, condition: Callable[[], object]) -> None:
        """Wait for something that a thread makes true.

        Raises:
            DeviceError: If a thread failed.
        """
        while not self._failure and not condition():
            await self._change()
        if self._failure:
            raise self._failure

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # --- threads ------------------------------------------------------------------------------------------------------

    def _start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._guard, args=(work,), name=f"reachy-{name}", daemon=True)
        thread.start()
        return thread

    def _guard(self, work: Callable[[], None]) -> None:
        """Where a thread's errors end: what goes wrong ends the device, and is told to the event loop."""
        try:
            work()
        except DeviceError as error:
            self._failure = self._failure or error
        except Exception as error:
            # What a thread does not catch is lost. The SDK lets through whatever GStreamer, websockets and pydantic raise,
            # AssertionError, and AttributeError where a GStreamer element is missing.
            log.debug("the reachy-mini SDK failed", exc_info=True)
            words = f"the reachy-mini SDK failed: {type(error).__name__}: {error}; if it stays so, restart the daemon"
            self._failure = self._failure or DeviceError(words)
        if self._failure:
            self._give_up()
        self._tell()

    def _give_up(self) -> None:
        self._stop.set()

    def _tell(self) -> None:
        """Have the event loop look at what changed."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, and with it whoever waited
                self._loop.call_soon_threadsafe(self._changed.set)

    def _keep(self) -> None:
        """The SDK's whole life."""
        try:
            self._sdk.connect()
            workers: list[threading.Thread] = []
            self._guard(partial(self._live, workers))
            self._give_up()
            for worker in workers:
                worker.join(CLOSE_S / 4)
            self._sdk.release()
        finally:
            self._over = True

    def _live(self, workers: list[threading.Thread]) -> None:
        media = self._sdk.media
        self._check(media)
        self._sdk.require_card()
        media.start_recording()
        media.start_playing()
        player = _Player(media.audio)
        workers.append(self._start("listener", partial(self._listen, media)))
        workers.append(self._start("talker", partial(self._talk, media, player)))
        with player.aligned_finely():
            self._warm_up()
        self._ready = not self._stop.is_set()
        self._tell()
        self._watch()

    def _check(self, media: Any) -> None:
        """The SDK says -1 for a rate when it has no sound."""
        mic = (media.get_input_audio_samplerate(), media.get_input_channels())
        speaker = (media.get_output_audio_samplerate(), media.get_output_channels())
        if media.audio is None or min(mic) <= 0 or min(speaker) <= 0:
            raise DeviceError("the Reachy Mini daemon runs without sound: start it without --no-media")
        for name, found, known in (("microphone", mic, self.mic), ("speaker", speaker, self.speaker)):
            if found != (known.rate_hz, known.channels):
                words = f"the {name} has {found[0]} Hz and {found[1]} channels where robot-io knows {known}"
                raise DeviceError(f"{words}: update robot-io, or install reachy-mini 1.12", final=True)

    def _warm_up(self) -> None:
        while not self._hearing.wait(0.1) and not self._stop.is_set():
            pass  # the listener ends this if nothing comes
        self._stop.wait(WARM_UP_S)
        self._stop.wait(FIRST_PUSH_S)

    def _watch(self) -> None:
        """Notice a robot that was switched off. Without a daemon that died the sound goes on, and the next one is found."""
        alive, gone = time.monotonic(), False
        while not self._stop.wait(WATCH_S):
            if self._sdk.hears_daemon():
                alive, gone = time.monotonic(), False
                continue
            if time.monotonic() - alive <= DAEMON_SILENT_S:
                continue
            if not gone:
                log.warning("the Reachy Mini daemon went away: the robot talks, and does not move until it is back")
                gone = True
            match self._sdk.daemon_state():
                case "running":
                    with contextlib.suppress(ConnectionError):
                        self._sdk.reconnect()
                case "stopping" | "stopped":
                    raise DeviceError("the robot was switched off; it talks once it is switched on again")

    def _listen(self, media: Any) -> None:
        """Take samples off the microphone; ``None`` comes after 20 ms, or at once where the pipeline does not run."""
        last, patience_s = time.monotonic(), FIRST_SAMPLE_S
        while not self._stop.is_set():
            samples = media.get_audio_sample()
            if samples is not None and len(samples):
                last, patience_s = time.monotonic(), MIC_MUTE_S
                self._hearing.set()
                self._heard.append(np.array(samples, np.float32, order="C"))  # the SDK's array is read-only
                self._tell()
            elif time.monotonic() - last > patience_s:
                words = f"the microphone has delivered nothing for {patience_s:.0f} s"
                raise DeviceError(f"{words}: {CARD_REMEDY}")
            else:
                self._stop.wait(IDLE_S)

    def _talk(self, media: Any, player: "_Player") -> None:
        """Keep the SDK's lead, with silence where there is nothing to say: a player that has run dry loses what comes next."""
        end_s = took_s = 0.0
        taken: int | None = None
        while not self._stop.is_set():
            if (now_s := player.now_s()) is None:
                self._stop.wait(PIECE_S)
                continue
            if (count := player.taken()) is None or count != taken:
                taken, took_s = count, now_s
            elif now_s - took_s > (SPEAKER_MUTE_S if self._ready else FIRST_SAMPLE_S):
                words = f"the speaker has taken no sound for {now_s - took_s:.0f} s"
                raise DeviceError(f"{words}: is the robot's USB cable in, and its sink in pactl's list, not suspended?")
            if (early_s := end_s - now_s - SDK_LEAD_S) > 0:
                self._stop.wait(min(early_s, PIECE_S))
            else:
                end_s = max(end_s, now_s) + PIECE_S
                media.push_audio_sample(self._next_piece(end_s - now_s - SDK_LEAD_S))

    def _next_piece(self, lasts_s: float) -> Samples:
        """The next 20 ms, whatever lengths they were queued in, filled up with silence; in ``lasts_s`` more is wanted."""
        piece = np.zeros((round(PIECE_S * self.speaker.rate_hz), self.speaker.channels), np.float32)
        filled = 0
        with self._wanted:
            while self._speech and filled < len(piece):
                samples = self._speech.popleft()
                if len(samples) > (room := len(piece) - filled):
                    self._speech.appendleft(samples[room:])
                    samples = samples[:room]
                piece[filled : filled + len(samples)] = samples
                filled += len(samples)
            if filled:
                self._waiting -= filled
                self._more_at = time.monotonic() + lasts_s
        return piece


class _Player:
    """The inside of the SDK's player, which it keeps private, so nothing else touches it.

    It plays by a sound card's clock, which drifts from this machine's by seconds in a day. Where an SDK has it elsewhere,
    this machine's has to do.
    """

    def __init__(self, audio: Any) -> None:
        self._source = getattr(audio, "_appsrc", None)
        self._sink = None
        if self._source is None:
            log.warning("the reachy-mini SDK hides its player's clock: answers may be late, or have gaps, after some hours")
            return
        elements = self._source.get_parent().iterate_recurse()
        while (element := elements.next()[1]) is not None:
            if element.find_property("stats") and element.find_property("buffer-time"):  # of all elements an audio sink alone
                self._sink = element

    def now_s(self) -> float | None:
        """What its clock tells; None while it has none."""
        if self._source is None:
            return time.monotonic()
        now_ns: int = self._source.get_current_running_time()
        return None if now_ns == CLOCK_TIME_NONE else now_ns / 1e9

    @contextlib.contextmanager
    def aligned_finely(self) -> Iterator[None]:
        """Keep the speaker close to the clock meanwhile, at the price of many small jumps: while there is nothing to hear."""
        if self._sink is None or not self._sink.find_property("drift-tolerance"):
            yield
            return
        usual_us = self._sink.get_property("drift-tolerance")
        self._sink.set_property("drift-tolerance", FINE_DRIFT_US)
        try:
            yield
        finally:
            self._sink.set_property("drift-tolerance", usual_us)

    def taken(self) -> int | None:
        """How many buffers the speaker has taken, of silence too; None where that cannot be told."""
        if self._sink is None:
            return None
        count: int = self._sink.get_property("stats").get_uint64("rendered")[1]
        return count
