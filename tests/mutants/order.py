"""Bugs in what is stored of new jobs, and in which of them goes first."""

from __future__ import annotations

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.answers import Stored
from tqbroker_broker.records import NewJobs
from tqbroker_broker.storage.lmdb import intake
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.lanes import Lane
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.memory.store import MemoryStore


@mutant("what becomes ready at a place that was passed already is not looked at again", breaks="P3")
def lost_cursor(plant: Plant) -> None:
    wake = Store.wake

    def only_forward(self: Store, lane: Lane, order: int) -> None:
        if lane.standing is None or lane.empty or order >= lane.head:
            wake(self, lane, order)

    plant(Store, "wake", only_forward)


@mutant("a job that is sent again is stored again", breaks="P2")
def resent_job_stored_again(plant: Plant) -> None:
    claim = intake._claim_ids

    def forgetful(group: Group, batch: NewJobs, keys: list[bytes]) -> dict[int, Stored]:
        claim(group, batch, keys)
        return {}

    plant(intake, "_claim_ids", forgetful)
    plant(MemoryStore, "digest", lambda self, job: None)
