"""Whose turn it is: the tenants of one queue and priority share it by their weights."""

from __future__ import annotations

from collections.abc import Iterable

FULL_TURN = 1 << 20
"""What one job costs a tenant of weight 1; one of weight w pays a w-th part of it."""

FORGET_ABOVE = 64
"""Tenants that are remembered before it is looked which of them can be forgotten."""


class Shares:
    """A clock that runs on jobs: each tenant's mark says up to when it has had its share.

    The lowest mark is next. A tenant that was away has no claim on what others had meanwhile: marks behind the clock
    count as the clock, so they need not be remembered.
    """

    __slots__ = ("_forget_above", "_marks", "clock")

    def __init__(self) -> None:
        self.clock = 0
        self._marks: dict[str, int] = {}
        self._forget_above = FORGET_ABOVE

    def copy(self) -> Shares:
        """The same, to go back to."""
        copy = Shares()
        copy.clock, copy._marks, copy._forget_above = self.clock, dict(self._marks), self._forget_above
        return copy

    def go_back(self, copy: Shares) -> None:
        """Is as it was when this copy was made."""
        self.clock, self._marks, self._forget_above = copy.clock, copy._marks, copy._forget_above

    def rank(self, tenant: str) -> int:
        """The lower, the earlier it is this tenant's turn; among equals the names decide."""
        return max(self._marks.get(tenant, 0), self.clock)

    def first(self, tenants: Iterable[str]) -> str:
        """Whose turn it is among these."""
        return min(tenants, key=lambda tenant: (self.rank(tenant), tenant))

    def took(self, tenant: str, weight: int, jobs: int = 1) -> None:
        """A tenant took its turn so many times in a row."""
        price = FULL_TURN if weight <= 1 else max(1, FULL_TURN // weight)
        paid = self.rank(tenant) + jobs * price
        self.clock = paid - price
        self._marks[tenant] = paid
        if len(self._marks) > self._forget_above:
            self._marks = {name: mark for name, mark in self._marks.items() if mark > self.clock}
            self._forget_above = max(FORGET_ABOVE, 2 * len(self._marks))
