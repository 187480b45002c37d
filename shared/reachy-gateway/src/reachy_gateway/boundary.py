"""A block that stops faults from spreading."""

from collections.abc import Callable


class Boundary:
    """A block that catches every exception inside it. It surrounds all code of one robot, or of one operator.

    This is a class, because a generator would cost as much as the code inside the block.

    Args:
        on_fault: Called with the exception.
    """

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._on_fault = on_fault

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        """End the block. Returns true if an exception was caught."""
        if not isinstance(error, Exception):
            return False
        self._on_fault(error)
        return True
