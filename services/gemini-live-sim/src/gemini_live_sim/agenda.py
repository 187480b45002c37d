"""What is to happen when: a heap of things with times, in order, first come first served at the same time."""

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class Agenda(Generic[T]):
    """Bounded by its users: an answer adds an item per message, everything else a handful."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, T]] = []
        self._count = 0

    def put(self, due: float, item: T, tag: str = "") -> None:
        """Plan an item; the tag is for taking a group of them back."""
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, tag, item))

    def drop(self, tag: str) -> None:
        """Take back everything with this tag."""
        self._heap = [entry for entry in self._heap if entry[2] != tag]
        heapq.heapify(self._heap)

    def pop(self, now: float) -> tuple[float, T] | None:
        """Take the first item that is due, with its time."""
        if not self._heap or self._heap[0][0] > now:
            return None
        due, _, _, item = heapq.heappop(self._heap)
        return due, item

    def next_due(self) -> float | None:
        """When the first item is due."""
        return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
