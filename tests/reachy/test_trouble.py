"""A fault of the robot's hardware is reported in words, and the next device works."""

import asyncio
import sys
import threading
import time
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest
from virtual_reachy import virtual_reachy
from waiting import until

from reachy_robot.sound import DeviceError
from robot_io.reachy.sdk import Sdk
from robot_io.reachy.sound import ReachyDevice


@pytest.fixture
def no_daemon(tmp_path):
    with virtual_reachy(tmp_path, daemon=False) as rig:
        yield rig


@pytest.fixture
def alone(tmp_path):
    """A separate rig, for faults that end the recording of the speaker."""
    with virtual_reachy(tmp_path) as rig:
        yield rig


async def first_sample(device):
    async with asyncio.timeout(5):
        return await anext(device.record())


async def lost(device):
    """Listen until the device is lost. Returns how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(15):
        with pytest.raises(DeviceError) as caught:
            async for _ in device.record():
                pass
    return str(caught.value), time.monotonic() - began


async def gone(before):
    """Wait until every thread that is new has ended."""
    await until(lambda: not set(threading.enumerate()) - before, 5)


async def test_no_daemon_is_an_error_that_says_what_to_start(no_daemon):
    before = set(threading.enumerate())
    device = ReachyDevice(Sdk(port=no_daemon.daemon_port))
    with pytest.raises(DeviceError, match="start reachy-mini-daemon") as caught:
        await device.open()
    assert str(no_daemon.daemon_port) in str(caught.value)
    assert not caught.value.final
    await device.close()
    await gone(before)


async def test_a_daemon_without_sound_is_an_error_that_says_how_to_start_it(no_daemon):
    no_daemon.start_daemon("--no-media")
    device = ReachyDevice(Sdk(port=no_daemon.daemon_port))
    with pytest.raises(DeviceError, match="without --no-media"):
        await device.open()
    await device.close()


async def test_without_the_sdk_trying_again_is_no_use(no_daemon, monkeypatch):
    monkeypatch.setitem(sys.modules, "reachy_mini", None)  # Python's own mark for a module that cannot be imported
    device = ReachyDevice(Sdk(port=no_daemon.daemon_port))
    with pytest.raises(DeviceError, match="cannot be loaded") as caught:
        await device.open()
    assert caught.value.final
    await device.close()


async def test_a_daemon_that_dies_leaves_the_sound_alone_and_the_next_one_is_found(lite, caplog):
    sdk = Sdk(port=lite.daemon_port)
    device = ReachyDevice(sdk)
    await device.open()
    await first_sample(device)
    lite.kill_daemon()
    await until(lambda: "daemon went away" in caplog.text, 8)
    with pytest.raises(DeviceError):
        await ReachyDevice(Sdk(port=lite.daemon_port)).open()
    device._heard.clear()
    await noise_is_heard(lite, device)
    assert (await first_sample(device)).shape[1] == 2
    await asyncio.to_thread(lite.start_daemon)
    await until(sdk.hears_daemon, 15)
    await noise_is_heard(lite, device)
    await device.close()
    assert caplog.text.count("daemon went away") == 1


async def test_a_robot_that_is_switched_off_is_silent_until_it_is_switched_on(tmp_path):
    with virtual_reachy(tmp_path) as rig:
        device = ReachyDevice(Sdk(port=rig.daemon_port))
        await device.open()
        await asyncio.to_thread(rig.tell_daemon, "daemon/stop?goto_sleep=false")
        words, after_s = await lost(device)
        assert "switched off" in words
        assert after_s < 8
        await device.close()
        with pytest.raises(DeviceError):
            await ReachyDevice(Sdk(port=rig.daemon_port)).open()
        rig.kill_daemon()  # a daemon started by its dashboard would look for a robot at a serial port
        rig.start_daemon()
        another = ReachyDevice(Sdk(port=rig.daemon_port))
        await another.open()
        assert (await first_sample(another)).shape[1] == 2
        await another.close()


async def test_a_microphone_that_delivers_nothing_is_an_error(lite):
    device = ReachyDevice(Sdk(port=lite.daemon_port))
    await device.open()
    await first_sample(device)
    lite.pactl("suspend-source", "mic", "1")
    try:
        words, after_s = await lost(device)
    finally:
        lite.pactl("suspend-source", "mic", "0")
        await device.close()
    assert "nothing for 5 s" in words
    assert 4.5 < after_s < 8


NOISE = np.random.default_rng(7).normal(0, 0.05, (48000, 2)).astype(np.float32)


async def noise_is_heard(rig, device):
    before = len(rig.speaker.samples)
    device.play(NOISE[:16000])
    await until(lambda: np.count_nonzero(np.abs(rig.speaker.samples[before:]) > 0.02) > 2000, 5)


@pytest.mark.parametrize(("kind", "trouble"), [("lite", "killed"), ("lite", "suspended"), ("wireless", "suspended")])
async def test_a_speaker_that_takes_no_sound_is_noticed_and_the_next_device_is_heard(tmp_path, kind, trouble):
    """Killed for a Lite only: ALSA's plugin for PulseAudio continues without its stream, unlike any sound card."""
    with virtual_reachy(tmp_path, wireless=kind == "wireless") as rig:
        device = ReachyDevice(Sdk(port=rig.daemon_port))
        await device.open()
        await noise_is_heard(rig, device)
        if trouble == "killed":
            rig.kill_speaker_stream()
        else:
            rig.pactl("suspend-sink", "spk", "1")
        words, after_s = await lost(device)
        await device.close()
        rig.pactl("suspend-sink", "spk", "0")
        assert "the speaker has taken no sound" in words
        assert after_s < 6

        another = ReachyDevice(Sdk(port=rig.daemon_port))
        await another.open()
        await noise_is_heard(rig, another)
        await another.close()


@asynccontextmanager
async def not_simulated(daemon_port):
    """A port where the daemon's status does not say that the robot is simulated."""

    async def carry(reader, writer):
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                writer.write(piece.replace(b'"mockup_sim_enabled":true', b'"mockup_sim_enabled":null'))
        writer.close()

    async def serve(reader, writer):
        from_daemon, to_daemon = await asyncio.open_connection("127.0.0.1", daemon_port)
        await asyncio.gather(carry(reader, to_daemon), carry(from_daemon, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_robot_waits_for_its_sound_card(alone):
    alone.name_card("Some Laptop")
    async with not_simulated(alone.daemon_port) as port:
        device = ReachyDevice(Sdk(port=port))
        with pytest.raises(DeviceError, match="sound card is not there yet") as caught:
            await device.open()
        assert not caught.value.final
        await device.close()

        alone.name_card("Reachy Mini Audio")
        another = ReachyDevice(Sdk(port=port))
        await another.open()
        await noise_is_heard(alone, another)
        await another.close()


async def test_a_simulated_robot_takes_what_the_machine_has_and_says_so(alone, caplog):
    alone.name_card("Some Laptop")
    device = ReachyDevice(Sdk(port=alone.daemon_port))
    await device.open()
    await noise_is_heard(alone, device)
    await device.close()
    [warning] = [record.message for record in caplog.records if record.name == "robot_io.reachy.sdk"]
    assert "default microphone and speaker" in warning


async def test_close_lets_go_of_everything_and_may_be_called_twice(lite):
    before = set(threading.enumerate())
    for _ in range(3):
        device = ReachyDevice(Sdk(port=lite.daemon_port))
        await device.open()
        await device.close()
        await device.close()
        assert [samples async for samples in device.record()] == []
    await gone(before)
    assert "python" not in lite.pactl("list", "source-outputs")
    assert "python" not in lite.pactl("list", "sink-inputs")


async def test_close_before_open_and_in_the_middle_of_it(lite):
    before = set(threading.enumerate())
    await ReachyDevice(Sdk(port=lite.daemon_port)).close()
    device = ReachyDevice(Sdk(port=lite.daemon_port))
    opening = asyncio.create_task(device.open())
    await until(lambda: any(thread.name == "reachy-listener" for thread in threading.enumerate()), 10)
    opening.cancel()
    await asyncio.wait([opening])
    await device.close()
    await gone(before)
