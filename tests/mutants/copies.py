"""Bugs in how stores are saved and put back."""

from __future__ import annotations

from pathlib import Path

import lmdb
from tests.mutants.registry import Plant, mutant

from tqbroker.saving import BackupTarget
from tqbroker_broker.storage.lmdb import copying, replacing
from tqbroker_broker.storage.lmdb.copying import Copier
from tqbroker_broker.storage.lmdb.opening import COMPACTING, DATA_FILE
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Database, begin


@mutant("a backup is written under its own name from the start", breaks="I9")
def backup_not_atomic(plant: Plant) -> None:
    begin = BackupTarget.__init__

    def direct(self: BackupTarget, path: Path) -> None:
        begin(self, path)
        self.partial = path

    plant(BackupTarget, "__init__", direct)


@mutant("a restored store keeps the id of the store that was backed up", breaks="P6")
def restore_keeps_the_id(plant: Plant) -> None:
    def keep(txn: lmdb.Transaction[bytes], meta: Database) -> bytes:
        return txn.get(b"store", db=meta) or b""

    plant(replacing, "_give_id", keep)


@mutant("a backup is the store as it was when the broker began", breaks="I1")
def backup_is_old(plant: Plant) -> None:
    create = Copier.__init__

    def begin_early(self: Copier, store: Store) -> None:
        create(self, store)
        old = begin(store.env)
        plant(copying, "begin", lambda env: old)

    plant(Copier, "__init__", begin_early)


@mutant("a restored copy has the name of the store before it is one of its own", breaks="P6")
def restored_too_early(plant: Plant) -> None:
    make = replacing._make_it_new

    def hasty(path: Path, now_ms: int) -> bytes:
        path.with_name(DATA_FILE).hardlink_to(path)
        return make(path, now_ms)

    plant(replacing, "_make_it_new", hasty)


@mutant("a compaction takes the store away before the compacted copy has its name", breaks="P1")
def store_gone_before_its_copy(plant: Plant) -> None:
    flush = replacing._flush

    def hasty(path: Path) -> None:
        flush(path)
        if path.name == COMPACTING:
            path.with_name(DATA_FILE).unlink()

    plant(replacing, "_flush", hasty)
