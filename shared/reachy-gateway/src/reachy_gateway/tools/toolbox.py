"""The toolbox: every tool that a gateway has, its own and those of a folder. It runs calls."""

import asyncio
import importlib.util
import inspect
import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from reachy_gateway.tools import body
from reachy_gateway.tools.port import Context, Tool, ToolError, checked, flaws, refusal, result
from reachy_gateway.tools.robot_status import RobotStatus
from reachy_gateway.tools.what_time_is_it import WhatTimeIsIt
from reachy_gateway.voice import CallOutcome
from reachy_link.messages import BodyOffer

log = logging.getLogger(__name__)

OWN: Final[tuple[Tool[Any], ...]] = (WhatTimeIsIt(), RobotStatus())
"""The gateway's own tools. They wait for nothing, and run on the event loop."""
DEBUG_MAX: Final = 500
"""How many characters of the arguments and the result a log line shows."""
INSIDE_MAX: Final = 32
"""How many calls one thread may have running. Further ones are refused."""
Answer = tuple[dict[str, Any], CallOutcome]
"""What the model is told, and how the call ended."""


class Toolbox:
    """All tools by name.

    Args:
        foreign: Tools that are not the gateway's own. Nobody knows what they do, so each runs in a thread of its own. A tool
            that blocks delays only its own callers.

    Raises:
        ValueError: If a tool cannot be offered, or two tools have the same name.
    """

    def __init__(self, foreign: Iterable[Tool[Any]] = ()) -> None:
        self._tools: dict[str, Tool[Any]] = {tool.name: tool for tool in OWN}
        self._threads: dict[str, _Thread] = {}
        self._broken: set[str] = set()
        """Tools whose fault has been logged."""
        for tool in foreign:
            if wrong := flaws(tool):
                raise ValueError(f"{type(tool).__name__}: {'; '.join(wrong)}")
            if tool.name in self.names:
                raise ValueError(f"{type(tool).__name__}: there is a tool {tool.name} already")
            self._tools[tool.name] = tool
            self._threads[tool.name] = _Thread(tool.name)

    @property
    def names(self) -> frozenset[str]:
        """The names that a persona may list."""
        return frozenset((*self._tools, *body.NAMES))

    def of(
        self, names: Iterable[str] | None, offer: BodyOffer | None = None, first: Collection[str] = ()
    ) -> tuple[Tool[Any], ...]:
        """The tools of a robot with these names. Unknown names are left out.

        Args:
            names: The tools to give; None gives those of the robot's body.
            offer: What the robot's body can do; None without a body.
            first: Gestures that are offered before others.
        """
        there = self._tools | ({tool.name: tool for tool in body.tools_of(offer, first)} if offer else {})
        return tuple(there[name] for name in (body.NAMES if names is None else names) if name in there)

    async def call(self, tool: Tool[Any], args: Mapping[str, Any], context: Context) -> Answer:
        """Run a call until it ends in any way. If this is cancelled, the call stops as soon as the tool lets it."""
        name = tool.name
        thread = self._threads.get(name)
        run = partial(self._run, tool, args, context)
        began = time.monotonic()
        answer = await (thread.run(run) if thread else run())
        if log.isEnabledFor(logging.DEBUG):
            shown = ascii(f"{dict(args)!r} -> {answer[0]!r}"[:DEBUG_MAX])
            log.debug("%s: %s %s in %.3f s", context.robot, name, shown, time.monotonic() - began)
        return answer

    async def _run(self, tool: Tool[Any], args: Mapping[str, Any], context: Context) -> Answer:
        """Check the arguments and call the tool. Any exception becomes an answer in words."""
        try:
            arguments = checked(tool, args)
        except ToolError as error:
            return refusal(error.words, retryable=error.retryable), "invalid"
        except BaseException as error:  # noqa: BLE001 - a foreign validator may raise anything
            return self._broke(tool, error)
        try:
            return result(await tool.call(arguments, context)), "done"
        except ToolError as error:
            return refusal(error.words, retryable=error.retryable), "error"
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - even SystemExit, which would end the thread and with it the tool
            return self._broke(tool, error)

    def _broke(self, tool: Tool[Any], error: BaseException) -> Answer:
        tell = log.debug if tool.name in self._broken else log.error
        self._broken.add(tool.name)
        tell("the tool %s is broken (further faults are only counted)", tool.name, exc_info=error)
        return refusal("the tool is broken; its owner finds the reason in the log", retryable=False), "fault"


class _Thread:
    """An event loop in a thread of its own, which starts at the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inside = 0
        """Calls that have not ended in the thread, whether or not somebody still waits for them."""

    async def run(self, call: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Run a call in the thread. If this is cancelled, the call is cancelled in the thread, too."""
        if self._inside >= INSIDE_MAX:
            return refusal("the tool is still busy with earlier calls", retryable=True), "error"
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name=f"tool {self._name}", daemon=True).start()
        self._inside += 1
        ours, loop = asyncio.get_running_loop(), self._loop
        answer: asyncio.Future[Answer] = ours.create_future()
        begun: list[asyncio.Task[Answer]] = []

        async def wanted() -> Answer:
            if answer.cancelled():  # it was cancelled while it waited for a call that blocked the thread
                raise asyncio.CancelledError
            return await call()

        def begin() -> None:
            begun.append(loop.create_task(wanted()))
            begun[0].add_done_callback(lambda task: ours.call_soon_threadsafe(self._ended, task, answer))

        def stop() -> None:
            begun[0].cancel()

        loop.call_soon_threadsafe(begin)
        try:
            return await answer
        except asyncio.CancelledError:
            loop.call_soon_threadsafe(stop)
            raise

    def _ended(self, task: "asyncio.Task[Answer]", answer: "asyncio.Future[Answer]") -> None:
        self._inside -= 1
        if answer.done():
            return
        if task.cancelled():  # the tool cancelled itself
            answer.cancel()
        elif error := task.exception():
            answer.set_exception(error)
        else:
            answer.set_result(task.result())


def read(folder: Path | None) -> tuple[list[Tool[Any]], list[str]]:
    """The tools in a folder's files, and everything that is wrong with them.

    A file is Python code that runs when it is read. The operator controls the folder, as well as the gateway's code.
    """
    if folder is None:
        return [], []
    if not folder.is_dir():
        return [], [f"GATEWAY_TOOLS_DIR: {folder} is no folder"]
    tools: list[Tool[Any]] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith("_"):
            found, wrong = _of_file(path)
            tools += found
            problems += [f"GATEWAY_TOOLS_DIR: {path}: {why}"[:500] for why in wrong]
    names = [tool.name for tool in tools] + [tool.name for tool in OWN]
    problems += [f"GATEWAY_TOOLS_DIR: two tools are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
    return tools, problems


def _of_file(path: Path) -> tuple[list[Tool[Any]], list[str]]:
    name = f"reachy_tools.{path.stem}"
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None  # noqa: S101 - the name ends in .py
        assert spec.loader is not None  # noqa: S101 - the same
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # pydantic looks up names in annotations there
        spec.loader.exec_module(module)
        kinds = [
            kind
            for kind in vars(module).values()
            if inspect.isclass(kind) and issubclass(kind, Tool) and kind.__module__ == name
        ]
        whole = [kind for kind in kinds if not inspect.isabstract(kind)]
        tools: list[Tool[Any]] = [kind() for kind in whole]
        problems = [f"{type(tool).__name__}: {why}" for tool in tools for why in flaws(tool)]
        plain = [kind for kind in whole if not inspect.iscoroutinefunction(kind.call)]
        problems += [f"{kind.__name__}: call: write `async def call`" for kind in plain]
    except BaseException as error:  # noqa: BLE001 - even SystemExit, which would end the gateway without a message
        return [], [f"cannot be read: {type(error).__name__}: {error}"]
    if not tools:
        return [], [f"{kind.__name__}: the method call is missing" for kind in kinds] or ["no class in it is derived from Tool"]
    return ([] if problems else tools), problems
