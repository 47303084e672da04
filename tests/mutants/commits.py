"""Bugs in how a change gets to the disk."""

from __future__ import annotations

from typing import Any

import lmdb
from tests.mutants.registry import Plant, mutant

from tqbroker_broker.storage.lmdb.commit import Committer, Try


@mutant("a change is answered when it is written down, before it is on the disk", breaks="P1")
def reply_before_commit(plant: Plant) -> None:
    launch = Committer._launch

    def hasty(self: Committer, attempt: Try) -> None:
        launch(self, attempt)
        for op in attempt.ops:
            if not op.future.done():
                op.future.set_result(op.answer)

    plant(Committer, "_launch", hasty)


@mutant("nothing is ever flushed", breaks="P1")
def no_flush(plant: Plant) -> None:
    _open_with(plant, sync=False)


@mutant("a commit is flushed as a whole when it is done, instead of the data before the meta page", breaks="P1")
def sync_after_commit(plant: Plant) -> None:
    commit = Committer._commit

    def late(self: Committer, attempt: Try) -> None:
        commit(self, attempt)
        self._env.sync(True)

    _open_with(plant, sync=False)
    plant(Committer, "_commit", late)


@mutant("the meta page, which makes a commit valid, is flushed with the next commit", breaks="P1")
def no_metasync(plant: Plant) -> None:
    _open_with(plant, metasync=False)


def _open_with(plant: Plant, **flags: bool) -> None:
    real = lmdb.open

    def weak(*args: Any, **options: Any) -> lmdb.Environment:
        return real(*args, **{**options, **flags})

    plant(lmdb, "open", weak)
