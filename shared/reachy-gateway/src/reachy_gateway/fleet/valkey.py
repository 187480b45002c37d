"""The store is a Valkey or a Redis server, which speak the same protocol. Only this module uses redis-py.

redis-py's defaults would block a gateway for 12 s if the store is stopped, and for 4 s if its port is closed. So nothing here
waits longer than :data:`TIMEOUT_S`, and nothing is retried automatically.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from itertools import repeat
from pathlib import Path
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from reachy_gateway.fleet.place import Place
from reachy_gateway.fleet.port import Beat, Entry, Letter, Pulse, StoreError, Versioned

TIMEOUT_S: Final = 0.3
"""The limit for a dial, for a free connection and for an answer, each."""
CALL_S: Final = 0.6
"""The limit for a whole call. A slow connection may take a part of it for each step."""
TOGETHER_MAX: Final = 200
"""How many calls are sent together."""
ROBOT_TTL_MS: Final = 7_200_000
"""As long as Google keeps a session that can be resumed."""
DAY_TTL_MS: Final = 3 * 86_400_000
PING_S: Final = 2.0
"""If nothing came to the inbox for so long, the store is asked whether it is there."""
DIGITS_MAX: Final = 16
"""The most digits of a version. Thirteen digits hold the milliseconds of the next centuries."""
FIELDS_MAX: Final = 20_000
"""The most fields of a day's sums or of a shelf: robots that spent money, or keys with a decision."""
SCRIPTS: Final = ("swap", "keep", "book", "present", "newer", "fields", "drop")
QUOTED: Final = "()',\""  # redis-py puts these around the store's error about one command of a pipeline
SHELVES: Final = "shelves"
"""The channel on which all gateways hear that something was put on a shelf."""


_Word = str | bytes | int
_Command = tuple[_Word, ...]
"""The name of a script of ours, or a command, and the arguments."""


class Valkey:
    """The store of one fleet; several fleets can share a server. The only implementation of ``fleet.port.Store``.

    Args:
        place: The store's address.
        fleet: A text that tells one fleet's keys from another's.

    Raises:
        OSError: If the root certificate cannot be read.
    """

    def __init__(self, place: Place, fleet: str) -> None:
        self._place = place
        self._prefix = f"rl:{fleet}:"
        self._shas: dict[str, str] = {}
        options: dict[str, Any] = {
            "db": place.db,
            "username": place.user,
            "password": place.password,
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "retry": Retry(NoBackoff(), 0),
            "driver_info": None,
            "protocol": 2,
        }
        if place.path:
            options |= {"connection_class": UnixDomainSocketConnection, "path": place.path}
        else:
            options |= {"connection_class": SSLConnection if place.tls else Connection, "host": place.host, "port": place.port}
        if place.root_cert:
            options["ssl_ca_data"] = Path(place.root_cert).read_text(encoding="ascii")
        self._client, self._box = (Redis(connection_pool=BlockingConnectionPool(1, TIMEOUT_S, **options)) for _ in range(2))
        self._waiting: list[tuple[Sequence[_Command], asyncio.Future[list[Any]]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._look_up = _LookUp(place.host, place.port) if place.host else None
        self._closed = False

    async def read(self, robot: str) -> Entry | None:
        """What is remembered of a robot."""
        found, (seconds, micros) = await self._ask(("HGETALL", self._robot(robot)), ("TIME",))
        if not found:
            return None
        with self._told():
            age_s = seconds + micros / 1e6 - float(found[b"at"])
            return Entry(found[b"token"].decode(), found[b"owner"].decode(), found[b"sealed"], max(0.0, age_s))

    async def swap(self, robot: str, was: str, entry: Entry, tell: Letter | None) -> int | None:
        """Replace the entry that has the token ``was``, and send a letter."""
        letter = (self._prefix + tell.inbox, tell.sealed) if tell else ("", "")
        [receivers] = await self._ask(("swap", self._robot(robot), was, *_fields(entry), *letter))
        return None if receivers < 0 else int(receivers)

    async def beat(self, beat: Beat) -> Pulse:
        """Tell and ask everything in one call."""
        commands: list[_Command] = [("keep", self._robot(robot), *_fields(entry)) for robot, entry in beat.keep.items()]
        if book := beat.book:
            rows = [word for pair in book.nano_usd.items() for word in pair]
            commands.append(("book", self._day(book.day), book.ledger, book.after, book.upto, DAY_TTL_MS, *rows))
        if beat.presence:
            commands.append(("present", self._prefix + "gateways", beat.inbox, beat.presence, 1))
        if beat.day:
            commands.append(("fields", self._day(beat.day), FIELDS_MAX))
        answers = iter(await self._ask(*commands) if commands else ())
        with self._told():
            kept = {robot: next(answers) == 1 for robot in beat.keep}
            booked = int(next(answers)) if beat.book else None
            present = list(next(answers)) if beat.presence else []
            sums = _pairs(next(answers)) if beat.day else {}
            spent = {name.decode().removeprefix("robot:"): int(n) for name, n in sums.items() if name.startswith(b"robot:")}
            return Pulse(kept, booked, spent, present)

    async def leave(self, inbox: str) -> None:
        """Remove a gateway that stops."""
        await self._ask(("present", self._prefix + "gateways", inbox, "", 0))

    async def post(self, letter: Letter) -> None:
        """Send a letter to a gateway that reads its inbox."""
        await self._ask(("PUBLISH", self._prefix + letter.inbox, letter.sealed))

    async def newest(self, shelf: str) -> dict[str, Versioned]:
        """All things on a shelf, by name."""
        [found] = await self._ask(("fields", self._shelf(shelf), FIELDS_MAX))
        return {name.decode(errors="replace"): thing for name, text in _pairs(found).items() if (thing := _versioned(text))}

    async def put(self, shelf: str, things: Mapping[str, Versioned]) -> None:
        """Put things on a shelf that are newer than what is there, and tell every gateway."""
        words = [word for name, thing in things.items() for word in (name, thing.version, thing.sealed)]
        await self._ask(("newer", self._shelf(shelf), self._prefix + SHELVES, shelf, *words))

    async def drop(self, shelf: str, things: Mapping[str, Versioned]) -> None:
        """Remove things from a shelf that have not changed meanwhile."""
        words = [word for name, thing in things.items() for word in (name, b"%d:%s" % (thing.version, thing.sealed))]
        await self._ask(("drop", self._shelf(shelf), *words))

    async def letters(self, inbox: str) -> AsyncIterator[tuple[str, bytes]]:
        """The letters as they arrive, until the connection to the store is lost."""
        shelves = (self._prefix + SHELVES).encode()
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        with self._told():
            if self._look_up:
                await self._look_up.done()
            box = self._box.pubsub()
            try:
                await box.subscribe(self._prefix + inbox, self._prefix + SHELVES)
                waiting = 0
                while True:
                    if task and task.cancelling() > before:
                        raise asyncio.CancelledError  # redis-py lost it, because it sends with Python 3.11's wait_for
                    message = await box.get_message(timeout=PING_S)
                    if message is None:
                        waiting += 1
                        if waiting > 1:
                            raise RedisTimeoutError("it does not answer")
                        await box.ping()
                        continue
                    waiting = 0
                    if message["type"] == "subscribe" and message["data"] == 2:  # noqa: PLR2004 - both channels
                        yield "", b""
                    elif message["type"] == "message":
                        on_shelf = message["channel"] == shelves
                        yield (message["data"].decode(errors="replace"), b"") if on_shelf else ("", message["data"])
            finally:
                await box.aclose()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Close the connections. Whoever asks later gets a connection that is closed as soon as it has been used."""
        self._closed = True
        if self._asking:
            self._asking.cancel()
            await asyncio.wait([self._asking], timeout=CALL_S)
        for client in (self._client, self._box):
            await client.aclose(close_connection_pool=True)

    # --- names --------------------------------------------------------------------------------------------------------

    def _robot(self, robot: str) -> str:
        return f"{self._prefix}robot:{robot}"

    def _day(self, day: str) -> str:
        return f"{self._prefix}day:{day}"

    def _shelf(self, shelf: str) -> str:
        return f"{self._prefix}shelf:{shelf}"

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, *commands: _Command) -> list[Any]:
        """The answers to commands. Commands of concurrent callers go together; alone each would cost ten times as much."""
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[Any]] = loop.create_future()
        self._waiting.append((commands, answers))
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._ask_all(), name="asking the store")
        with self._told():
            async with asyncio.timeout(CALL_S):
                return await answers

    async def _ask_all(self) -> None:
        """Send waiting commands until nobody waits any more."""
        while self._waiting:
            asked, self._waiting = self._waiting[:TOGETHER_MAX], self._waiting[TOGETHER_MAX:]
            asked = [(commands, answers) for commands, answers in asked if not answers.done()]  # their callers have given up
            try:
                found = iter(await self._answers([command for commands, _ in asked for command in commands]))
            except (RedisError, OSError, ValueError, LookupError, StoreError) as error:
                found = repeat(error)
            refused = False
            for commands, answers in asked:
                own = [next(found) for _ in commands]
                errors = [it for it in own if isinstance(it, Exception)]
                refused = refused or bool(errors)
                if answers.done():
                    continue
                if errors:
                    answers.set_exception(self._in_words(errors[0]))
                else:
                    answers.set_result(own)
            # A server that is no longer the primary refuses; its name may lead to another server by now.
            if refused or self._closed:
                await self._client.connection_pool.disconnect()

    async def _answers(self, commands: Sequence[_Command]) -> list[Any]:
        """The store's answers. A store that was restarted is given the scripts again."""
        if self._look_up and not self._shas:
            await self._look_up.done()
        for last in (False, True):
            await self._load()
            async with self._client.pipeline(transaction=False) as pipeline:
                for name, *args in commands:
                    if name in SCRIPTS:
                        pipeline.evalsha(self._shas[name], 1, *args)
                    else:
                        pipeline.execute_command(name, *args)
                found = list(await pipeline.execute(raise_on_error=False))
            if last or not any(isinstance(it, NoScriptError) for it in found):
                return found
            self._shas.clear()
        raise AssertionError

    async def _load(self) -> None:
        """Give the scripts to the store."""
        if self._shas:
            return
        async with self._client.pipeline(transaction=False) as pipeline:
            for name in SCRIPTS:
                pipeline.script_load(_text(name))
            shas = await pipeline.execute()
        self._shas = dict(zip(SCRIPTS, (sha.decode() if isinstance(sha, bytes) else sha for sha in shas), strict=True))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the client's exceptions into a :class:`StoreError` with words for a person."""
        try:
            yield
        except (RedisError, OSError, ValueError, LookupError, StoreError) as error:
            self._shas.clear()
            raise self._in_words(error) from None

    def _in_words(self, error: Exception) -> StoreError:
        match error:
            case StoreError():
                return error
            case AuthenticationError():
                return StoreError(f"the store at {self._place} refuses the password: {error}")
            case RedisTimeoutError() | TimeoutError():
                return StoreError(f"the store at {self._place} does not answer within {CALL_S} s")
        words = str(error)
        _, command, told = words.rpartition(" of pipeline caused error: ")  # leave out the command
        return StoreError(f"the store at {self._place}: {told.strip(QUOTED) if command else words}")


def _text(name: str) -> str:
    return (files("reachy_gateway.fleet") / "scripts" / f"{name}.lua").read_text(encoding="ascii")


def _fields(entry: Entry) -> tuple[str, str, bytes, int]:
    return entry.token, entry.owner, entry.sealed, ROBOT_TTL_MS


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Pairs of fields and values, which come in one flat list."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _versioned(text: bytes) -> Versioned | None:
    version, colon, sealed = text.partition(b":")
    return Versioned(int(version), sealed) if colon and version.isdigit() and len(version) <= DIGITS_MAX else None


class _LookUp:
    """Looks a name up in a thread that nobody waits for, one look-up at a time.

    redis-py would use the event loop's own threads. If the name servers are silent, all of these would be blocked, and
    Gemini's name could not be looked up any more.
    """

    def __init__(self, host: str, port: int) -> None:
        self._where = host, port
        self._under_way: asyncio.Future[str] | None = None

    async def done(self) -> None:
        """Wait until the name is known. The system then also knows it for the dial.

        Raises:
            StoreError: If the look-up fails.
            TimeoutError: If it takes too long.
        """
        loop = asyncio.get_running_loop()
        if self._under_way is None or self._under_way.done():
            future: asyncio.Future[str] = loop.create_future()
            try:
                threading.Thread(target=self._work, args=(loop, future), name="look-up of the store", daemon=True).start()
            except RuntimeError as error:  # the system cannot start another thread
                raise StoreError(f"the store's name cannot be looked up now: {error}") from None
            self._under_way = future
        async with asyncio.timeout(TIMEOUT_S):
            trouble = await asyncio.shield(self._under_way)
        if trouble:
            raise StoreError(trouble)

    def _work(self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[str]") -> None:
        host, port = self._where
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            trouble = ""
        except (OSError, UnicodeError) as error:
            trouble = f"the store's name, {host}, cannot be looked up: {error}"
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(future.set_result, trouble)
