"""The tools that run for one robot. Each is a task of its own beside the conversation."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from gemini_gateway.session.decisions import Run
from reachy_gateway.provider.money import Money
from reachy_gateway.tools.port import Context, Tool, refusal
from reachy_gateway.tools.toolbox import Answer, Toolbox
from reachy_gateway.voice import CallOutcome, RobotView, Unseen

log = logging.getLogger(__name__)


class ToolHost(Protocol):
    """The port through which tools use the gateway."""

    toolbox: Toolbox

    def local_time(self) -> datetime:
        """The gateway's local time, with its time zone."""

    def budget_left(self, robot: str) -> Money | None:
        """What the robot may still spend today; None without a budget."""


class RunningTools:
    """One robot's running tools.

    Args:
        view: Answers a tool's questions about the robot.
        on_ended: Called when a call has ended, with the session's key of the call.
    """

    def __init__(
        self, robot: str, host: ToolHost, view: RobotView, on_ended: Callable[[int, dict[str, Any], CallOutcome], None]
    ) -> None:
        self._robot = robot
        self._host = host
        self._view = view
        self._on_ended = on_ended
        self._tasks: dict[int, asyncio.Task[Answer]] = {}

    def run(self, run: Run, tools: Sequence[Tool[Any]]) -> None:
        """Call the tool that the session has named."""
        host, robot = self._host, self._robot
        tool = next(tool for tool in tools if tool.name == run.name)
        context = Context(robot, host.local_time(), self._view.vitals(), host.budget_left(robot), self._view)
        call = host.toolbox.call(tool, run.args, context)
        task = self._tasks[run.key] = asyncio.get_running_loop().create_task(call, name=f"{run.name} for {robot}")
        task.add_done_callback(partial(self._ended, run.key))

    def stop(self, key: int) -> None:
        """Cancel a call whose result nobody wants any more."""
        if task := self._tasks.get(key):
            task.cancel()

    def close(self) -> None:
        """The robot has left: report no more results, and hold no reference to the robot."""
        self._view = Unseen()
        self._on_ended = lambda *_: None

    def _ended(self, key: int, task: "asyncio.Task[Answer]") -> None:
        del self._tasks[key]
        if task.cancelled():
            self._on_ended(key, refusal("the tool was stopped", retryable=True), "cancelled")
        elif error := task.exception():
            log.error("a bug in this program ended a call of a tool", exc_info=error)
            self._on_ended(key, refusal("the tool is broken", retryable=False), "fault")
        else:
            self._on_ended(key, *task.result())
