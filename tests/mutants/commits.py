"""Bugs in how a change gets to the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
from tests.mutants.registry import Plant, mutant

from tqbroker_broker.storage.lmdb.commit import Committer, Try
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.txn import Txn


@mutant("a change is answered when it is written down, before it is on the disk", breaks="P1")
def reply_before_commit(plant: Plant) -> None:
    launch = Committer._launch

    def hasty(self: Committer, attempt: Try) -> None:
        launch(self, attempt)
        _answer(attempt)

    plant(Committer, "_launch", hasty)


@mutant("a change whose commit takes longer than a second is answered before it is on the disk", breaks="P1")
def reply_after_a_second(plant: Plant) -> None:
    launch = Committer._launch

    def impatient(self: Committer, attempt: Try) -> None:
        launch(self, attempt)
        self._loop.call_later(1.0, _answer, attempt)

    plant(Committer, "_launch", impatient)


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


@mutant("while a commit is under way nobody gets an answer of any kind", breaks="P5")
def commit_holds_up_everything(plant: Plant) -> None:
    launch, commit, done = Committer._launch, Committer._commit, threading.Semaphore(0)

    def wait(self: Committer, attempt: Try) -> None:
        launch(self, attempt)
        done.acquire()

    def tell(self: Committer, attempt: Try) -> None:
        try:
            commit(self, attempt)
        finally:
            done.release()

    plant(Committer, "_launch", wait)
    plant(Committer, "_commit", tell)


@mutant("each change has a commit of its own, so that callers wait for those of all who came before", breaks="I10")
def nothing_shares_a_commit(plant: Plant) -> None:
    create = Committer.__init__

    def alone(
        self: Committer, env: lmdb.Environment, new_group: Callable[[Txn], Group], limit: int, directory: Path
    ) -> None:
        create(self, env, new_group, 1, directory)

    plant(Committer, "__init__", alone)


@mutant("what was committed is kept in memory for ever", breaks="I10")
def commits_kept(plant: Plant) -> None:
    done, kept = Committer._done, list[object]()

    def hoard(self: Committer) -> None:
        kept.append((self._current, bytearray(b"x" * 16_384)))
        done(self)

    plant(Committer, "_done", hoard)


def _answer(attempt: Try) -> None:
    for op in attempt.ops:
        if not op.future.done():
            op.future.set_result(op.answer)


def _open_with(plant: Plant, **flags: bool) -> None:
    real = lmdb.open

    def weak(*args: Any, **options: Any) -> lmdb.Environment:
        return real(*args, **{**options, **flags})

    plant(lmdb, "open", weak)
