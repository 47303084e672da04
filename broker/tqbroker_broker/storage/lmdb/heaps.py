"""A heap whose items can be moved and taken out: what is out of date in it is dropped when it comes to the top."""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Generic, Protocol, TypeVar


class Standing(Protocol):
    """What can stand in one heap at a time. `standing` is the key under which it does, None when it does not."""

    standing: Any

    def __lt__(self, other: Any, /) -> bool: ...


K = TypeVar("K", int, str)
T = TypeVar("T", bound=Standing)

FEW = 16
"""Entries out of date that are never worth a clean-up."""


class Heap(Generic[K, T]):
    """The lowest key first. Keys of one item may change; a heap of n items never has more than about 2n entries."""

    __slots__ = ("_entries", "count")

    def __init__(self) -> None:
        self._entries: list[tuple[K, T]] = []
        self.count = 0

    def put(self, item: T, key: K) -> None:
        """The item stands under this key now."""
        if item.standing == key:
            return
        if item.standing is None:
            self.count += 1
        item.standing = key
        if not self._entries:
            self._entries = [(key, item)]  # takes a quarter of the memory of one appended, which counts for tenants
            return
        heappush(self._entries, (key, item))
        if len(self._entries) > 2 * self.count + FEW:
            self._clean()

    def take_out(self, item: T) -> None:
        """The item does not stand here any more."""
        if item.standing is not None:
            item.standing = None
            self.count -= 1

    def top(self) -> T | None:
        """The item with the lowest key."""
        entries = self._entries
        while entries:
            key, item = entries[0]
            if item.standing == key:
                return item
            heappop(entries)
        return None

    def replace_top(self, item: T, key: K) -> None:
        """What `top` gave stands under a higher key now."""
        if item.standing != key:
            item.standing = key
            heapreplace(self._entries, (key, item))

    def behind_top(self) -> K | None:
        """A key that no other item than the one on top is below; None when there is no other."""
        entries = self._entries
        if len(entries) < 2:
            return None
        return entries[1][0] if len(entries) == 2 else min(entries[1][0], entries[2][0])

    def _clean(self) -> None:
        """Drops what is out of date."""
        kept: list[tuple[K, T]] = []
        seen: set[int] = set()
        for key, item in self._entries:
            if item.standing == key and id(item) not in seen:
                seen.add(id(item))
                kept.append((key, item))
        heapify(kept)
        self._entries = kept
