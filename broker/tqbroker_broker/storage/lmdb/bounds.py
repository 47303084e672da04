"""The oldest of many: for each item an order that nothing of it is before, and the item with the lowest."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")

FEW = 16
"""Entries out of date that are never worth a clean-up."""


class Bounds(Generic[T]):
    """Lower bounds, kept over commits: they may be too low, and are put right when they come to the top."""

    __slots__ = ("_entries", "_numbers", "_orders")

    def __init__(self, orders: Mapping[T, int]) -> None:
        self._orders = dict(orders)
        self._numbers = count()
        self._rebuild()

    def lower(self, item: T, order: int) -> None:
        """Something of this item may be at this order."""
        known = self._orders.get(item)
        if known is None or order < known:
            self._put(item, order)

    def top(self) -> tuple[int, T] | None:
        """The lowest bound and its item."""
        while self._entries:
            order, _, item = self._entries[0]
            if self._orders.get(item) == order:
                return order, item
            heappop(self._entries)
        return None

    def lift(self, item: T, order: int) -> None:
        """What `top` gave has nothing before this order."""
        heappop(self._entries)
        self._put(item, order)

    def forget(self, item: T) -> None:
        """There is nothing of this item."""
        self._orders.pop(item, None)

    def _put(self, item: T, order: int) -> None:
        self._orders[item] = order
        heappush(self._entries, (order, next(self._numbers), item))
        if len(self._entries) > 2 * len(self._orders) + FEW:
            self._rebuild()

    def _rebuild(self) -> None:
        self._entries = [(order, next(self._numbers), item) for item, order in self._orders.items()]
        heapify(self._entries)
