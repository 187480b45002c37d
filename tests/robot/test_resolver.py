"""Names are looked up beside the event loop, here by a stand-in for the system that a test can hold up."""

import asyncio
import errno
import socket
import subprocess
import sys
import threading
import time

import pytest

from reachy_robot.resolver import ADDRESSES_MAX, THREADS_MAX, Resolver, system_look_up


class System:
    """Plays the system's look-up. Each name waits until the test releases it."""

    def __init__(self, answers=None):
        self.answers = answers or {}
        self.asked = []
        self.free = threading.Event()

    def __call__(self, name):
        self.asked.append(name)
        assert self.free.wait(20)
        answer = self.answers.get(name, ["10.0.0.1"])
        if isinstance(answer, Exception):
            raise answer
        return answer


class Asked:
    """A resolver, and its answers."""

    def __init__(self, system):
        self.answers = asyncio.Queue()
        self.resolver = Resolver(lambda *answer: self.answers.put_nowait(answer), system)

    async def next(self):
        return await asyncio.wait_for(self.answers.get(), 10)


async def test_an_answer_comes_in_the_event_loop_and_in_the_form_of_an_address():
    system = System({"box.lab": ["fd00::7", "10.0.0.7", "fe80::1%2", "10.0.0.7"]})
    asked = Asked(system)
    asked.resolver.ask("box.lab")
    began = time.monotonic()
    await asyncio.sleep(0)
    assert time.monotonic() - began < 1.0, "nobody waits"
    system.free.set()
    name, hosts, _ = await asked.next()
    assert (name, hosts) == ("box.lab", ["[fd00::7]", "10.0.0.7", "[fe80::1%2]"])


async def test_one_name_is_never_looked_up_twice_at_a_time():
    system = System()
    asked = Asked(system)
    for _ in range(100):
        asked.resolver.ask("box.lab")
    system.free.set()
    await asked.next()
    assert system.asked == ["box.lab"]
    asked.resolver.ask("box.lab")
    await asked.next()
    assert system.asked == ["box.lab"] * 2
    assert asked.answers.empty()


async def test_threads_are_bounded_and_who_finds_no_room_is_told_so():
    system = System()
    asked = Asked(system)
    for n in range(THREADS_MAX + 2):
        asked.resolver.ask(f"box-{n}.lab")
    refused = [await asked.next() for _ in range(2)]
    assert {(name, hosts, trouble.cause) for name, hosts, trouble in refused} == {
        (f"box-{THREADS_MAX}.lab", (), "no-room"),
        (f"box-{THREADS_MAX + 1}.lab", (), "no-room"),
    }
    system.free.set()
    assert len([await asked.next() for _ in range(THREADS_MAX)]) == len(system.asked) == THREADS_MAX
    asked.resolver.ask("box-99.lab")
    assert (await asked.next())[1] == ["10.0.0.1"]


async def test_a_system_without_room_for_a_thread_ends_nothing(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    asked = Asked(System())
    asked.resolver.ask("box.lab")
    name, hosts, trouble = await asked.next()
    assert (name, hosts) == ("box.lab", ())
    assert trouble.words == "box.lab is not looked up: can't start new thread"


@pytest.mark.parametrize(
    ("answer", "cause", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "unknown-name", "box.lab is not known here: check"),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
            "silent",
            "no name server answers for box.lab:",
        ),
        (
            socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"),
            "look-up",
            "box.lab cannot be looked up: Non-recoverable",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "look-up",
            "box.lab cannot be looked up: [Errno 24] Too many open files",
        ),
        (UnicodeError("label too long"), "look-up", "box.lab cannot be looked up: label too long"),
        ([], "no-address", "box.lab has no address"),
        (["nonsense"], "look-up", "box.lab cannot be looked up"),
    ],
)
async def test_what_is_wrong_is_told_in_words(answer, cause, words):
    system = System({"box.lab": answer})
    system.free.set()
    asked = Asked(system)
    asked.resolver.ask("box.lab")
    _, hosts, trouble = await asked.next()
    assert (list(hosts), trouble.cause) == ([], cause)
    assert words in trouble.words


async def test_a_name_of_very_many_addresses_has_the_first_ones():
    system = System({"box.lab": [f"10.0.0.{n}" for n in range(200)]})
    system.free.set()
    asked = Asked(system)
    asked.resolver.ask("box.lab")
    assert (await asked.next())[1] == [f"10.0.0.{n}" for n in range(ADDRESSES_MAX)]


async def test_after_the_end_nobody_is_told():
    system = System()
    asked = Asked(system)
    asked.resolver.ask("untold.lab")  # other tests' threads for box.lab may not have ended yet
    asked.resolver.close()
    system.free.set()
    [worker] = [thread for thread in threading.enumerate() if thread.name == "look-up of untold.lab"]
    await asyncio.to_thread(worker.join, 10)
    await asyncio.sleep(0)
    assert asked.answers.empty()


def test_the_end_of_the_program_waits_for_no_look_up():
    program = """
import asyncio, threading
from reachy_robot.resolver import Resolver
async def main():
    asking = threading.Event()
    Resolver(print, lambda _: (asking.set(), threading.Event().wait())).ask("box.lab")
    await asyncio.get_running_loop().run_in_executor(None, asking.wait)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=20).returncode == 0


def test_the_system_knows_this_machine():
    assert "127.0.0.1" in system_look_up("localhost")
    assert system_look_up("fe80::1%1") == ["fe80::1%1"]
