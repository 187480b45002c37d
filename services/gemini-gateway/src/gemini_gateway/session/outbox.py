"""The queue of items that wait to be sent on a connection. Pure."""

from collections import deque
from collections.abc import Collection
from dataclasses import replace

from gemini_gateway.session.decisions import Answer, Item, Mark, Prompt
from gemini_gateway.session.timing import BYTES_PER_S, MESSAGE_BYTES


class Outbox:
    """Holds mic audio with marks in it, the oldest first. Answers to calls, and then prompts, are sent before the audio.

    The marks of manual VAD alternate. On every connection the first one is a start. Answers belong to one connection only.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._items: deque[bytes | Mark] = deque()
        self._answers: deque[Answer] = deque()
        self.prompts: deque[Prompt] = deque()
        self._manual = False
        self._in_activity = False
        """Whether a start was taken whose end was not."""

    def __contains__(self, mark: Mark) -> bool:
        return mark in self._items

    def connect(self, *, manual: bool) -> None:
        """A connection is open. It knows nothing of what was sent on the last one."""
        self._answers.clear()
        self._manual = manual
        if self._in_activity and self._items and self._items[0] == "end":
            self._items.popleft()  # the whole turn except for this end went out on the last connection
        elif self._in_activity and manual:
            self._items.appendleft("start")
        self._in_activity = False

    def append(self, item: Item) -> None:
        """Queue an item."""
        if isinstance(item, Answer):
            self._answers.append(item)
        elif isinstance(item, Prompt):
            self.prompts.append(item)
        elif item == "end" and self._items and self._items[-1] == "start":
            self._items.pop()  # nothing was said between them
        else:
            self._items.append(item)
            self.bytes += len(item) if isinstance(item, bytes) else 0

    def take(self, *, held: bool, least_bytes: int) -> Item | None:
        """The next item to send; only answers if the rest is held. Waiting audio is joined up to ``MESSAGE_BYTES``."""
        if self._answers:
            return self._answers.popleft()
        if self.prompts and not held and not self._in_activity:  # inside the person's turn it would be part of that turn
            return replace(self.prompts.popleft(), marked=self._manual)
        if self.bytes < least_bytes and all(isinstance(item, bytes) for item in self._items):
            return None
        while self._items and not held:
            item = self._items.popleft()
            if isinstance(item, bytes):
                return self._with_more(item)
            if item != "stream_end":
                self._in_activity = item == "start"
            if self._manual is (item != "stream_end"):  # a mark of the other VAD mode is from before the persona changed
                return item
        return None

    def _with_more(self, pcm: bytes) -> bytes:
        """Join audio with the audio right behind it."""
        pieces, size = [pcm], len(pcm)
        while self._items and isinstance(more := self._items[0], bytes) and size + len(more) <= MESSAGE_BYTES:
            pieces.append(more)
            size += len(more)
            self._items.popleft()
        self.bytes -= size
        return pcm if len(pieces) == 1 else b"".join(pieces)

    def untaken(self, item: Item) -> None:
        """Take back an item that could not be sent."""
        if isinstance(item, Answer):
            self._answers.appendleft(item)
            return
        if isinstance(item, Prompt):
            self.prompts.appendleft(item)
            return
        if isinstance(item, bytes):
            self.bytes += len(item)
        elif item != "stream_end":
            self._in_activity = item == "end"
        self._items.appendleft(item)

    def forget_prompts(self, before: float) -> None:
        """Drop prompts that were asked for before this time: they would come too late."""
        while self.prompts and self.prompts[0].at < before:
            self.prompts.popleft()

    def withdraw(self, ids: Collection[str]) -> None:
        """Do not send answers to these calls."""
        kept = [Answer(tuple(one for one in answer.responses if one.id not in ids)) for answer in self._answers]
        self._answers = deque(answer for answer in kept if answer.responses)

    def trim(self, keep_s: float) -> int:
        """Drop the oldest mic audio beyond ``keep_s`` seconds. Returns how many bytes were dropped."""
        dropped = 0
        marks: list[bytes | Mark] = []
        while self.bytes > keep_s * BYTES_PER_S:
            item = self._items.popleft()
            if isinstance(item, bytes):
                self.bytes -= len(item)
                dropped += len(item)
            elif item == "end" and marks and marks[-1] == "start":
                marks.pop()  # no audio is left between them
            elif item != "stream_end":
                marks.append(item)
        self._items.extendleft(reversed(marks))
        return dropped
