"""Bugs of what is dropped in its time."""

from __future__ import annotations

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.storage.lmdb import annotating, history
from tqbroker_broker.storage.lmdb.group import Group


@mutant("what a dropped job has said of itself, and its earlier attempts, stay", breaks="I10")
def retention_forgets_rows(plant: Plant) -> None:
    def keep(group: Group, seq: int) -> None:
        return None

    plant(annotating, "drop", keep)
    plant(history, "drop", keep)
