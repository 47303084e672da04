"""Bugs in how stores are saved and put back."""

from __future__ import annotations

from pathlib import Path

import lmdb
from tests.mutants.registry import Plant, mutant

from tqbroker.saving import BackupTarget
from tqbroker_broker.storage.lmdb import copying, replacing
from tqbroker_broker.storage.lmdb.copying import Copier
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
