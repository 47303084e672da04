"""Bugs in what stands on the disk."""

from __future__ import annotations

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.storage.lmdb import endings, rows
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.rows import JobRow, Note


@mutant("a row is believed whatever its checksum says", breaks="I9")
def crc_not_checked(plant: Plant) -> None:
    plant(rows, "check", lambda row, seq=0: row)


@mutant("the counts of a queue drift from its jobs", breaks="I8")
def count_drifts(plant: Plant) -> None:
    count = Group.count

    def forgetful(self: Group, queue: str, column: int, change: int) -> None:
        count(self, queue, column, change - (change > 1))

    plant(Group, "count", forgetful)


@mutant("a cancelled job is left in its lane", breaks="I9")
def index_left_behind(plant: Plant) -> None:
    take = endings.take_waiting

    def careless(group: Group, seq: int, job: JobRow, note: Note) -> bool:
        place = group.store.place(seq, group.lane(job.head), note)
        row = group.txn.get(place, db=group.store.db["lanes"])
        taken = take(group, seq, job, note)
        if row is not None:
            group.txn.put(place, row, db=group.store.db["lanes"])
        return taken

    plant(endings, "take_waiting", careless)
