"""Bugs in what becomes of errors of the disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.answers import Finished
from tqbroker_broker.outcomes import Outcomes
from tqbroker_broker.storage import Ambiguous, Unavailable
from tqbroker_broker.storage.lmdb import capacity
from tqbroker_broker.storage.lmdb.commit import Committer, Try
from tqbroker_broker.storage.lmdb.fullness import Fullness


@mutant("a disk without room counts as one that has failed", breaks="P12")
def full_is_fatal(plant: Plant) -> None:
    plant(Fullness, "is_full", lambda self, error: False)


@mutant("an outcome for which there is no room is dropped", breaks="P12")
def full_drops_outcomes(plant: Plant) -> None:
    async def careless(self: Outcomes, worker: str, verb: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await self._guard.do(verb())
        except Unavailable:
            return Finished({}, [], frozenset())

    plant(Outcomes, "_store", careless)


@mutant("pages that are freed while somebody reads for long count as room", breaks="P12")
def old_reader_overlooked(plant: Plant) -> None:
    plant(capacity, "_oldest_reader", lambda env, newest: newest)


@mutant("after a commit has failed the broker goes on with the next one", breaks="P13")
def commit_error_ignored(plant: Plant) -> None:
    def go_on(self: Committer, attempt: Try, error: BaseException) -> None:
        self._refuse(attempt.ops, Ambiguous(f"storage failed during the commit: {error}"))
        self._start()

    plant(Committer, "_fail", go_on)
