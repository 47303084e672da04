"""Bugs in how stores are saved and put back."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.registry import Plant, mutant

from tqbroker.saving import BackupTarget
from tqbroker_broker.storage.lmdb import replacing
from tqbroker_broker.storage.lmdb.txn import Database, Txn


@mutant("a backup is written under its own name from the start", breaks="T27")
def backup_not_atomic(plant: Plant) -> None:
    begin = BackupTarget.__init__

    def direct(self: BackupTarget, path: Path) -> None:
        begin(self, path)
        self.partial = path

    plant(BackupTarget, "__init__", direct)


@mutant("a restored store keeps the id of the store that was backed up", breaks="P6")
def restore_keeps_the_id(plant: Plant) -> None:
    def keep(txn: Txn, meta: Database) -> bytes:
        return txn.get(b"store", db=meta) or b""

    plant(replacing, "_give_id", keep)
