"""Bugs of what is dropped in its time."""

from __future__ import annotations

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.records import Time
from tqbroker_broker.storage.lmdb import annotating, history
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn, begin


@mutant("what a dropped job has said of itself, and its earlier attempts, stay", breaks="I10")
def retention_forgets_rows(plant: Plant) -> None:
    def keep(group: Group, seq: int) -> None:
        return None

    plant(annotating, "drop", keep)
    plant(history, "drop", keep)


@mutant("a read transaction of the start is never ended, so that no freed page is used again", breaks="I10")
def reader_left_open(plant: Plant) -> None:
    load = Store.load
    left: list[Txn] = []

    def reading(self: Store, now: Time) -> None:
        load(self, now)
        left.append(begin(self.env))

    plant(Store, "load", reading)
