"""Bugs in what becomes of errors of the disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.answers import Finished
from tqbroker_broker.storage import Unavailable
from tqbroker_broker.storage.lmdb.fullness import Fullness
from tqbroker_broker.workers import Workers


@mutant("a disk without room counts as one that has failed", breaks="P12")
def full_is_fatal(plant: Plant) -> None:
    plant(Fullness, "is_full", lambda self, error: False)


@mutant("an outcome for which there is no room is dropped", breaks="P12")
def full_drops_outcomes(plant: Plant) -> None:
    async def careless(self: Workers, worker: str, verb: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await self._guard.do(verb())
        except Unavailable:
            return Finished({}, [], frozenset())

    plant(Workers, "_store", careless)
