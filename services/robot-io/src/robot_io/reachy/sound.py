"""The real robot's sound: it implements the device's interface with the reachy-mini SDK's media.

Three threads of our own keep the SDK's blocking calls off the event loop, and reach the loop only by ``call_soon_threadsafe``:

* the *keeper* connects, warms up, watches the daemon, and lets go of everything at the end;
* the *listener* takes what the microphone has, every 10 ms;
* the *talker* hands the SDK what is to be heard next, a little ahead of the speaker, by the clock that it plays by.

The SDK's ``clear_player()`` is never called. It pauses the one pipeline that microphone and speaker share, and the sound card,
which is the pipeline's clock, and does not always wake them up again: of 60 calls in the middle of speech, 21 left the
microphone dead and 16 the speaker mute, for good (decision 0008). So speech waits here, where dropping it costs nothing, and
the SDK never holds more than :data:`SDK_LEAD_S`.

This module is longer than others: three threads share one state, and each line was measured together with the others.
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
"""GStreamer's value for no time."""
SDK_LEAD_S: Final = 0.06
"""How much audio the SDK holds. After a hush all of it is still heard, and then the ~120 ms between the SDK and the air."""
PIECE_S: Final = 0.02
"""How much the talker hands over at a time."""
SPEAKER_MAX_MS: Final = 2000.0
"""The longest queue for the speaker. Playout keeps ``lead_ms`` in it; chunks beyond the bound are dropped, newest first."""
MIC_MAX_CHUNKS: Final = 200
"""The longest queue for the event loop: 2 s at the SDK's 10 ms; the oldest chunk is dropped."""
FIRST_SAMPLE_S: Final = 10.0
"""How long the microphone may take to start; 0.2 to 2.8 s were measured."""
MIC_MUTE_S: Final = 5.0
"""How long the microphone may deliver nothing later on. In silence it delivers samples, too."""
SPEAKER_MUTE_S: Final = 3.0
"""How long the speaker may take nothing once speech may be heard, by the pipeline's clock. In silence it takes samples, too."""
WARM_UP_S: Final = 2.0
"""If the sound card's clock takes time to settle, speech that was pushed earlier than this after the microphone's first sample
lost 4 to 50 % of its samples. Meanwhile silence is pushed without a pause: a single push spoils the following sound for
seconds."""
FINE_DRIFT_US: Final = 4000
"""GStreamer's drift tolerance during the warm-up: if the speaker is off the pipeline's clock by half of this, the sink jumps
and leaves sound out. The speaker starts some 80 ms off. With the usual tolerance of 40 ms it was still up to 20 ms off when
speech began. One first answer in eight then lost 20 to 40 ms, because the clocks drift further by some 10 ms."""
FIRST_PUSH_S: Final = 0.3
"""Even then the very first samples that are pushed are lost, so they are silence."""
IDLE_S: Final = 0.005
WATCH_S: Final = 1.0
DAEMON_SILENT_S: Final = 3.0
"""A living daemon reports its state 50 times a second."""
OPEN_S: Final = 60.0
CLOSE_S: Final = 5.0


class ReachyDevice:
    """The microphone and the speaker of a Reachy Mini.

    Args:
        sdk: The SDK, not connected yet. The device connects it, and closes it at its end.
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
        self._behind = False
        """Whether the speaker was so far behind that speech was dropped."""
        self._hearing = threading.Event()
        self._heard: deque[Samples] = deque(maxlen=MIC_MAX_CHUNKS)
        self._speech: deque[Samples] = deque()
        self._waiting = 0
        """How many samples of speech wait."""
        self._more_at = 0.0
        """When the talker will take more samples, after the speech that it took last."""
        self._wanted = threading.Lock()
        """Guards the three fields above."""

    async def open(self) -> None:
        """Connect to the daemon, start both directions and warm up: 2.5 to 5 s. The microphone's audio in this time is dropped.

        Raises:
            DeviceError: If there is no daemon, no SDK or no sound; the message says what to do.
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
            DeviceError: If the microphone or the speaker is lost, or the robot is switched off.
        """
        while not self._closed:
            await self._until(lambda: self._heard or self._closed)
            while self._heard:
                yield self._heard.popleft()

    def play(self, samples: Samples) -> None:
        """Queue samples for the speaker; they are copied.

        Raises:
            TypeError: If the samples are integers, which the SDK would play as noise at full volume.
        """
        if samples.dtype.kind != "f":
            raise TypeError(f"samples are floating point within -1..1, not {samples.dtype}")
        if not len(samples):
            return
        if self.queued_ms() > SPEAKER_MAX_MS:
            if not self._behind:
                log.warning("the speaker is %.1f s behind: speech is dropped until it has caught up", self.queued_ms() / 1000)
            self._behind = True
            return
        self._behind = False
        whole = np.array(samples, np.float32, order="C")  # the SDK reads the bytes of any type as float32
        with self._wanted:
            self._speech.append(whole)
            self._waiting += len(whole)

    def queued_ms(self) -> float:
        """How much audio the talker has yet to take, in ms.

        The SDK's audio is not included. It is heard in any case; silence follows it, and later samples come after the silence.
        """
        with self._wanted:
            return self.speaker.ms(self._waiting) + max(0.0, self._more_at - time.monotonic()) * 1000

    def hush(self) -> None:
        """Drop the waiting speech; the SDK's short lead is still heard."""
        with self._wanted:
            self._speech.clear()
            self._waiting, self._more_at = 0, 0.0

    def notice(self, moment: Moment) -> None:
        """Do nothing: a real robot needs no moments."""

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
        """Wait for a condition that a thread makes true.

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
        """Run a thread's work. Any error ends the device and is reported to the event loop."""
        try:
            work()
        except DeviceError as error:
            self._failure = self._failure or error
        except Exception as error:
            # Errors that a thread does not catch are lost. The SDK passes on every error of GStreamer, websockets and pydantic,
            # AssertionError, and AttributeError if a GStreamer element is missing.
            log.debug("the reachy-mini SDK failed", exc_info=True)
            words = f"the reachy-mini SDK failed: {type(error).__name__}: {error}; if it stays so, restart the daemon"
            self._failure = self._failure or DeviceError(words)
        if self._failure:
            self._give_up()
        self._tell()

    def _give_up(self) -> None:
        self._stop.set()

    def _tell(self) -> None:
        """Wake the event loop, so that it looks for changes."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, so nobody waits
                self._loop.call_soon_threadsafe(self._changed.set)

    def _keep(self) -> None:
        """Run the SDK from connection to release."""
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
        """Check the SDK's formats. The SDK reports a rate of -1 if it has no sound."""
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
            pass  # the listener ends this wait if nothing comes
        self._stop.wait(WARM_UP_S)
        self._stop.wait(FIRST_PUSH_S)

    def _watch(self) -> None:
        """Notice a robot that was switched off. If only the daemon died, the sound goes on, and the next daemon is found."""
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
        """Read the microphone; ``None`` comes after 20 ms, or at once if the pipeline does not run."""
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
        """Keep the SDK's lead, with silence if there is no speech: a player that has run dry loses the next samples."""
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
        """The next 20 ms from queued pieces of any length, filled up with silence; in ``lasts_s`` the talker needs more."""
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
    """The inside of the SDK's player. The SDK keeps it private, so only this class touches it.

    The player uses a sound card's clock, which drifts from this machine's by seconds a day. If an SDK has no player here, this
    machine's clock is used.
    """

    def __init__(self, audio: Any) -> None:
        self._source = getattr(audio, "_appsrc", None)
        self._sink = None
        if self._source is None:
            log.warning("the reachy-mini SDK hides its player's clock: answers may be late, or have gaps, after some hours")
            return
        elements = self._source.get_parent().iterate_recurse()
        while (element := elements.next()[1]) is not None:
            if element.find_property("stats") and element.find_property("buffer-time"):  # only an audio sink has both
                self._sink = element

    def now_s(self) -> float | None:
        """The time of the player's clock; None while it has none."""
        if self._source is None:
            return time.monotonic()
        now_ns: int = self._source.get_current_running_time()
        return None if now_ns == CLOCK_TIME_NONE else now_ns / 1e9

    @contextlib.contextmanager
    def aligned_finely(self) -> Iterator[None]:
        """Keep the speaker close to the clock, at the price of many small jumps: only while there is nothing to hear."""
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
        """How many buffers the speaker has taken, including silence; None if the SDK does not say."""
        if self._sink is None:
            return None
        count: int = self._sink.get_property("stats").get_uint64("rendered")[1]
        return count
