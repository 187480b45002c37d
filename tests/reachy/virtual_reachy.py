"""A Reachy Mini without hardware: the real daemon, and a private PulseAudio whose devices the real SDK takes for the robot's.

    with virtual_reachy(tmp_path) as rig:
        device = ReachyDevice(Sdk(port=rig.daemon_port))   # in this process: rig has set the environment; or elsewhere:
        subprocess.Popen(["robot-io"], env={**os.environ, **rig.environment, "ROBOT_DEVICE": "reachy"})
        rig.say(question_wav)              # into the microphone; returns at once, .wait() for its end
        rig.speaker.samples                # all that the speaker has played so far, mono float32 at 16 kHz
        rig.kill_daemon(); rig.start_daemon()
    rig.speaker_wav                        # the same as a file, complete after the block

       say(wav) --paplay--> [sink micfeed] --monitor--> source "Reachy Mini Audio In"  --> get_audio_sample()
       push_audio_sample() --> sink "Reachy Mini Audio Out" --monitor--> parec --> rig.speaker

The devices' names make the SDK treat them as the robot's own card. So the SDK leaves out its software echo cancellation,
which would alter the signal. With ``wireless=True`` there are a Wireless's ALSA devices instead, from an ``~/.asoundrc``.

Nothing here imports the SDK or our own code. The rig needs numpy, pulseaudio, pactl, paplay, parec, and reachy-mini-daemon
beside the Python that runs it (or in ``bin_dir``). It needs no root, X, D-Bus or sound card. Several rigs may run at once, but
only one can own this process's environment: give the others ``own_process=False``.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt

RATE_HZ: Final = 16000
PULSE_START_S: Final = 20.0
DAEMON_START_S: Final = 60.0
STOP_S: Final = 5.0
DAEMON_CONFIG: Final = {"speaker_eq_gains": [0] * 10, "telemetry_enabled": False, "turn_enabled": False}
"""No equaliser, which would alter the sound, and nothing that calls home."""

ASOUNDRC: Final = """
pcm.reachymini_audio_sink {{ type pulse device "spk" server "{server}" }}
pcm.reachymini_audio_src {{ type pulse device "mic" server "{server}" }}
"""
"""A Wireless's configuration, without dmix and dsnoop on its card."""

Mono = npt.NDArray[np.float32]


class Speaker:
    """Everything that the robot's speaker has played since the rig started, with the time of every sample."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._pcm = bytearray()
        self._lock = threading.Lock()
        self._start: float | None = None
        threading.Thread(target=self._read, name="speaker", daemon=True).start()

    @property
    def samples(self) -> Mono:
        """Mono float32 at 16 kHz."""
        with self._lock:
            return np.frombuffer(bytes(self._pcm[: len(self._pcm) // 2 * 2]), "<i2").astype(np.float32) / np.float32(32768)

    def at(self, now: float) -> int:
        """The index of the sample that was played at a time of ``time.monotonic()``, early rather than late."""
        with self._lock:
            assert self._start is not None, "nothing recorded yet"
            return max(0, int((now - self._start) * RATE_HZ))

    def last_loud(self, threshold: float = 0.001) -> float:
        """When the last sample above the threshold was played (``time.monotonic()``), late rather than early."""
        loud = np.flatnonzero(np.abs(self.samples) > threshold)
        with self._lock:
            assert self._start is not None, "nothing recorded yet"
            return self._start + (loud[-1] / RATE_HZ if len(loud) else 0.0)

    def save(self, path: Path) -> None:
        """Write a WAV file of what was played so far."""
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes((self.samples * 32768).astype("<i2").tobytes())

    def _read(self) -> None:
        while piece := os.read(self._stream.fileno(), 4096):
            now = time.monotonic()
            with self._lock:
                self._pcm += piece
                # A sample cannot arrive before it was played: the earliest start that any piece implies is the best estimate.
                start = now - len(self._pcm) / 2 / RATE_HZ
                self._start = start if self._start is None else min(start, self._start)


class VirtualReachy:
    """A running rig, made by :func:`virtual_reachy`."""

    def __init__(self, work: Path, bin_dir: Path, *, wireless: bool) -> None:
        self.work = work
        self.daemon_port = _free_port()
        runtime, config = work / "run", work / ".config"
        runtime.mkdir(mode=0o700)
        (config / "reachy_mini").mkdir(parents=True)
        (config / "reachy_mini" / "daemon_config.json").write_text(json.dumps(DAEMON_CONFIG))
        server = f"unix:{runtime}/pulse/native"
        if wireless:
            (work / ".asoundrc").write_text(ASOUNDRC.format(server=server))
        # Each rig has its own configuration file, because ALSA reads ~/.asoundrc once in a process's life.
        (work / "asound.conf").write_text(f"</usr/share/alsa/alsa.conf>\n{ASOUNDRC.format(server=server) if wireless else ''}")
        self.environment: Mapping[str, str] = {
            "HOME": str(work),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(config),
            "XDG_CACHE_HOME": str(work / ".cache"),
            "XDG_DATA_HOME": str(work / ".local" / "share"),
            "ALSA_CONFIG_PATH": str(work / "asound.conf"),
            "PULSE_SERVER": server,
            "PULSE_COOKIE": str(work / "cookie"),
            "EARS": str(work / "ears"),
            "TARGETS": str(work / "targets"),
        }
        """The environment with which a process finds this rig and no other."""
        self.speaker_wav = work / "speaker.wav"
        self._bin = bin_dir
        self._daemon: subprocess.Popen[bytes] | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log = (work / "rig.log").open("wb")
        self._start_pulse()
        recorder = self._start(
            [
                "parec",
                "--device=spk.monitor",
                "--raw",
                "--format=s16le",
                f"--rate={RATE_HZ}",
                "--channels=1",
                "--latency-msec=10",
            ],
            stdout=subprocess.PIPE,
        )
        # Without a listener a null sink works in blocks of 2 s, and the next listener would see its clock jump by as much.
        self._start(["parec", "--device=mic", "--raw", "--latency-msec=10", "/dev/null"])
        assert recorder.stdout is not None
        self.speaker = Speaker(recorder.stdout)

    def say(self, wav: Path) -> "subprocess.Popen[bytes]":
        """Play a WAV file into the microphone, from now on."""
        return self._start(["paplay", "--device=micfeed", str(wav)])

    def hear(self, angle: float, *, speech: bool) -> None:
        """Set what the microphone array of a daemon with ears reports from now on."""
        (self.work / "ears.new").write_text(f"{angle} {int(speech)}")
        (self.work / "ears.new").rename(self.work / "ears")

    def start_daemon(self, *options: str, ears: bool = False) -> None:
        """Start the daemon, and wait until it runs; ``ears`` for ``daemon_with_ears.py``, see :meth:`hear`."""
        program = (
            [str(self._bin / "python"), str(Path(__file__).with_name("daemon_with_ears.py"))]
            if ears
            else [str(self._bin / "reachy-mini-daemon")]
        )
        quiet = ["--no-wake-up-on-start", "--no-goto-sleep-on-stop", "--dataset-update-interval", "0"]
        self._daemon = self._start(
            [*program, "--mockup-sim", "--headless", *quiet, *options, "--fastapi-port", str(self.daemon_port)]
        )
        self._until(self._daemon_runs, DAEMON_START_S, "reachy-mini-daemon")

    def tell_daemon(self, what: str) -> None:
        """Send the daemon a request over HTTP, as its dashboard does."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.daemon_port}/api/{what}", method="POST")
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - the loopback

    def kill_daemon(self) -> None:
        """Kill the daemon, as a crash would."""
        assert self._daemon is not None, "the daemon does not run"
        self._daemon.kill()
        self._daemon.wait()
        self._daemon = None

    def pactl(self, *arguments: str) -> str:
        """Send a command to this rig's PulseAudio. Returns its output."""
        done = subprocess.run(["pactl", *arguments], env=self._env, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout

    def kill_speaker_stream(self) -> None:
        """End the stream that plays through the speaker, as the sound server does when a card is unplugged."""
        self._pacmd(*(f"kill-sink-input {line.split()[0]}" for line in self.pactl("list", "short", "sink-inputs").splitlines()))

    def name_card(self, name: str) -> None:
        """Rename the sound card: the SDK recognises the robot's by "Reachy Mini Audio"."""
        self._pacmd(
            f"update-sink-proplist spk device.description='{name} Out'",
            f"update-source-proplist mic device.description='{name} In'",
        )

    def close(self) -> None:
        """Save the recording, and end every process."""
        self.speaker.save(self.speaker_wav)
        for process in reversed(self._processes):
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in reversed(self._processes):
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._log.close()

    def _pacmd(self, *commands: str) -> None:
        """Run commands that pactl does not have."""
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self.work / "run" / "pulse" / "cli"))
            server.sendall("".join(f"{command}\n" for command in commands).encode())
            server.shutdown(socket.SHUT_WR)
            while server.recv(4096):
                pass

    def _start_pulse(self) -> None:
        self._start(
            [
                *("pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes"),
                "--load=module-native-protocol-unix",
                "--load=module-cli-protocol-unix",
            ]
        )
        self._until(self._pulse_runs, PULSE_START_S, "pulseaudio")
        form = [f"rate={RATE_HZ}", "channels=2"]
        # The inner quotes matter: without them pactl says "Module initialization failed". device.string is what the SDK opens.
        name = "\"device.description='Reachy Mini Audio {}' device.string={}\""
        self.pactl("load-module", "module-null-sink", "sink_name=spk", *form, "sink_properties=" + name.format("Out", "spk"))
        self.pactl("load-module", "module-null-sink", "sink_name=micfeed", *form)
        source = ["master=micfeed.monitor", "source_name=mic", "source_properties=" + name.format("In", "mic")]
        self.pactl("load-module", "module-remap-source", *source)
        self.pactl("set-default-sink", "spk")
        self.pactl("set-default-source", "mic")

    def _start(self, command: Sequence[str], stdout: int | None = None) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(command, env=self._env, stdout=stdout or self._log, stderr=self._log, cwd=self.work)
        self._processes.append(process)
        return process

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.environment}

    def _pulse_runs(self) -> bool:
        return subprocess.run(["pactl", "info"], env=self._env, capture_output=True, check=False).returncode == 0

    def _daemon_runs(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.daemon_port}/api/daemon/status", timeout=2) as answer:
                return bool(json.load(answer)["state"] == "running")
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def _until(self, ready: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for a program. If it ends or takes too long, show the end of its log."""
        started, process = time.monotonic(), self._processes[-1]
        while not ready():
            if process.poll() is not None or time.monotonic() - started > timeout_s:
                self._log.flush()
                tail = (self.work / "rig.log").read_text(errors="replace")[-4000:]
                raise RuntimeError(f"{what} did not start within {timeout_s:.0f} s (exit status {process.poll()}):\n{tail}")
            time.sleep(0.1)


@contextmanager
def virtual_reachy(
    work: Path,
    *,
    wireless: bool = False,
    daemon: bool = True,
    own_process: bool = True,
    bin_dir: Path = Path(sys.executable).parent,
) -> Iterator[VirtualReachy]:
    """A virtual robot. Everything that it started is gone afterwards.

    Args:
        work: An empty directory of its own, for sockets, settings and logs. Its path must be short, as it holds a socket.
        wireless: Whether the SDK finds a Wireless's ALSA devices, instead of a Lite's PulseAudio ones.
        daemon: Whether the daemon runs from the start.
        own_process: Whether this process's environment points at the rig while the rig lasts.
        bin_dir: Where ``reachy-mini-daemon`` is.
    """
    with ExitStack() as stack:
        rig = VirtualReachy(work, bin_dir, wireless=wireless)
        stack.callback(rig.close)
        if own_process:
            stack.enter_context(in_environment(rig.environment))
        if daemon:
            rig.start_daemon()
        yield rig


@contextmanager
def in_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set this process's environment to a rig, and restore it afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
