"""A schedule: a heap of items with due times. Items with the same time come out in the order in which they were put in."""

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class Agenda(Generic[T]):
    """A schedule of items. Its users bound it: an answer adds one item per message, everything else adds a handful."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, T]] = []
        self._count = 0

    def put(self, due: float, item: T, tag: str = "") -> None:
        """Schedule an item. :meth:`drop` removes all items with the same tag."""
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, tag, item))

    def drop(self, tag: str) -> None:
        """Remove all items with this tag."""
        self._heap = [entry for entry in self._heap if entry[2] != tag]
        heapq.heapify(self._heap)

    def pop(self, now: float) -> tuple[float, T] | None:
        """Remove and return the first due item, with its time; None if nothing is due."""
        if not self._heap or self._heap[0][0] > now:
            return None
        due, _, _, item = heapq.heappop(self._heap)
        return due, item

    def next_due(self) -> float | None:
        """The time at which the first item is due; None without items."""
        return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        """Remove all items."""
        self._heap.clear()
