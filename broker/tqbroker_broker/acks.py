"""Which message of a stream is the last up to which everything is on the disk."""

from __future__ import annotations

from collections import deque


class Acks:
    """Message numbers in the order they came. Their commits may overtake each other; an acknowledgement may not."""

    def __init__(self) -> None:
        self.acked = 0
        self._open: deque[int] = deque()
        self._done: set[int] = set()

    def expect(self, number: int) -> None:
        """A message came. Numbers rise."""
        self._open.append(number)

    def done(self, number: int) -> None:
        """Everything in this message is on the disk, or was refused."""
        self._done.add(number)
        while self._open and self._open[0] in self._done:
            self.acked = self._open.popleft()
            self._done.discard(self.acked)
