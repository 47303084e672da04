"""Whose turn it is among the tenants of one queue and priority: weighted round robin."""

from __future__ import annotations

from collections.abc import Container, Iterator


class Turns:
    """The round of tenants that have jobs waiting; a restart forgets it.

    The first in the round with something for the worker that asks is next. Who has had as many jobs as its weight goes
    to the end of the round; who is passed over, because it has nothing for this worker or its limits are full, keeps
    its place. A tenant that gets a waiting job joins at the end; one without any leaves.
    """

    def __init__(self) -> None:
        self._had: dict[str, int] = {}
        """In the order of the round: how many jobs of its present turn each has had."""

    def __contains__(self, tenant: str) -> bool:
        return tenant in self._had

    def __len__(self) -> int:
        return len(self._had)

    def __iter__(self) -> Iterator[str]:
        """The tenants in the order of the round."""
        return iter(self._had)

    def join(self, tenant: str) -> None:
        """The tenant has a waiting job: it is in the round, at the end if it was not yet."""
        self._had.setdefault(tenant, 0)

    def leave(self, tenant: str) -> None:
        """The tenant has no waiting job any more."""
        self._had.pop(tenant, None)

    def first(self, ready: Container[str]) -> str | None:
        """The first tenant of the round that is among those with something to hand out."""
        return next((tenant for tenant in self._had if tenant in ready), None)

    def took(self, tenant: str, weight: int) -> None:
        """One job of this tenant was handed out; `weight` (at least 1) is how many its turn has."""
        self._had[tenant] += 1
        if self._had[tenant] >= weight:
            del self._had[tenant]
            self._had[tenant] = 0
