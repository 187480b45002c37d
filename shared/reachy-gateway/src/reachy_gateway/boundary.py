"""What a fault does not get out of."""

from collections.abc import Callable


class Boundary:
    """A block in which a fault is caught, whatever it is: it surrounds all that is one robot's, or one operator's.

    A class, as a generator would cost as much as what is done within.

    Args:
        on_fault: Told of it.
    """

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._on_fault = on_fault

    def __enter__(self) -> None:
        """It begins."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        """It ends; true if a fault was caught."""
        if not isinstance(error, Exception):
            return False
        self._on_fault(error)
        return True
