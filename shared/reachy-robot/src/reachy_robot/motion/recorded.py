"""Recorded moves, in the JSON that the SDK's recorder writes. Pure.

::

    {"time": [s, ...], "set_target_data": [{"head": 4 x 4, "antennas": [right, left], "body_yaw": rad}, ...]}

Sounds beside a recording are not played: the robot may be talking.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from reachy_robot.motion.limits import is_in_box
from reachy_robot.motion.moves import Move
from reachy_robot.motion.pose import NEUTRAL, Pose, pose_of

BYTES_MAX: Final = 2 * 1024 * 1024
SECONDS_MAX: Final = 60.0
SECONDS_MIN: Final = 0.1
SAMPLES_MAX: Final = 12_000
"""200 samples a second."""
ROTATION_ERROR: Final = 0.02
"""How far the rows of a head's rotation may be from length 1 and from right angles."""
SLACK: Final = 0.5
"""A move may go this far beyond the box, in degrees and mm, without a remark."""


class RecordingError(ValueError):
    """A file that is no recorded move; the message says why."""


def _rows(head: Any) -> Any:
    """Split a flat list of sixteen numbers into four rows."""
    flat = isinstance(head, list) and len(head) == 16 and not isinstance(head[0], list)  # noqa: PLR2004
    return [head[n : n + 4] for n in range(0, 16, 4)] if flat else head


_Row = Annotated[list[float], Field(min_length=4, max_length=4)]


class _Target(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    head: Annotated[list[_Row], BeforeValidator(_rows), Field(min_length=4, max_length=4)]
    antennas: Annotated[list[float], Field(min_length=2, max_length=2)]
    body_yaw: float | None = None


class _Recording(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    time: list[float] = Field(min_length=2, max_length=SAMPLES_MAX)
    set_target_data: list[_Target] = Field(min_length=2, max_length=SAMPLES_MAX)


def recorded(text: bytes) -> tuple[Move, bool]:
    """Read a move from a file's content, and whether it goes beyond the robot's limits: there it is held back.

    Raises:
        RecordingError: If the content is no recorded move.
    """
    if len(text) > BYTES_MAX:
        raise RecordingError(f"it has more than {BYTES_MAX >> 20} MB")
    try:
        told = _Recording.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise RecordingError(f"{where}: {problem['msg']}" if where else problem["msg"]) from None
    times, targets = told.time, told.set_target_data
    if len(times) != len(targets):
        raise RecordingError(f"it has {len(times)} times and {len(targets)} targets")
    if any(later < earlier for earlier, later in pairwise(times)):
        raise RecordingError("its times do not ascend")
    seconds = times[-1] - times[0]
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise RecordingError(f"it lasts {seconds:.1f} s; {SECONDS_MIN} to {SECONDS_MAX:.0f} can be played")
    for n, target in enumerate(targets):
        if not _is_rotation(target.head):
            raise RecordingError(f"set_target_data.{n}.head: no pose")
    poses = [pose_of(it.head, it.body_yaw or 0.0, *it.antennas) for it in targets]
    too_far = not all(is_in_box(pose, SLACK) for pose in poses)
    return Move(_Curve(times, [pose.plus(NEUTRAL, -1.0) for pose in poses]), seconds), too_far


def _is_rotation(head: list[list[float]]) -> bool:
    rows = [row[:3] for row in head[:3]]
    products = [sum(a * b for a, b in zip(rows[i], rows[j], strict=True)) for i, j in ((0, 1), (0, 2), (1, 2))]
    lengths = [sum(a * a for a in row) - 1 for row in rows]
    return all(abs(value) <= ROTATION_ERROR for value in products + lengths)


class _Curve:
    """The difference to neutral, interpolated linearly between two samples."""

    def __init__(self, times: Sequence[float], offsets: Sequence[Pose]) -> None:
        self._times = times
        self._offsets = offsets

    def __call__(self, t: float) -> Pose:
        """The difference this many seconds after the beginning. Beyond its ends, the first and the last sample hold."""
        at = self._times[0] + t
        n = bisect_right(self._times, at)
        if n in (0, len(self._times)):
            return self._offsets[0 if n == 0 else -1]
        before, after = self._times[n - 1], self._times[n]
        return self._offsets[n - 1].toward(self._offsets[n], (at - before) / (after - before))
