"""How full the store is, and what there is still room for: new jobs, deliveries, what running jobs say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lmdb

from tqbroker_broker.storage.lmdb.txn import begin
from tqbroker_broker.workflows import Part

if TYPE_CHECKING:
    from tqbroker_broker.storage.lmdb.store import Store

# The fill of the store is looked at again this often (seconds), and at every commit once it is nearly full.
FILL_INTERVAL = 0.25
NEARLY_FULL = 0.7
# Share of the store that LMDB needs for the pages it copies while the old ones are not free yet.
COPY_SHARE = 0.05
# Bytes an outcome may take besides its result: at worst a page of its own.
OUTCOME_SPACE = 4096
# Bytes that the end of a job takes which ends because of another: its outcome with a short failure, an event, its join.
FOLLOWER_SPACE = 1024
# Bytes that a job of a workflow takes besides its arguments, whoever waits for whom.
JOB_SPACE = 512
# Bytes of pages that one commit replaces: of about ten databases those from the root to a leaf, which are five at most.
COMMIT_SPACE = 256 << 10
OLD_READER = 64
"""Commits since the beginning of a read transaction after which it counts as one that lasts: a backup."""


class Capacity:
    """The room in one store. While somebody reads for long, no page that is freed meanwhile can be used again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = (0, 0)
        self._known_commits = 0
        self._known_at = -FILL_INTERVAL
        self._pinned = False
        self._expected = 0

    def fill(self, mono: float | None = None, owed: int = 0) -> tuple[int, int]:
        """Used bytes and the bytes there could be: the map, or what the disk still has for it. No time: look now.

        `owed` are bytes that will be used: with them it may be nearly full.
        """
        used, size = self._known
        store = self._store
        news = store.commits != self._known_commits
        if mono is None or mono - self._known_at >= FILL_INTERVAL or (news and used + owed > size * NEARLY_FULL):
            self._known_at = mono if mono is not None else self._known_at
            self._known_commits = store.commits
            self._known = self._look()
        return self._known

    def _look(self) -> tuple[int, int]:
        store = self._store
        txn = begin(store.env)
        stats = [txn.stat(db) for db in store.db.values()]
        txn.abort()
        pages = sum(s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"] for s in stats)
        info, page = store.env.info(), stats[0]["psize"]
        ever = info["last_pgno"] + 1
        self._pinned = info["last_txnid"] - _oldest_reader(store.env, info["last_txnid"]) > OLD_READER
        disk = os.statvfs(store.directory)
        room = ever * page + disk.f_bavail * disk.f_frsize
        return (ever if self._pinned else pages) * page, min(info["map_size"], room)

    @contextmanager
    def expecting(self, part: Part) -> Iterator[None]:
        """In the block it is on its way in, and its jobs count already.

        Of many that come at once the jobs that wait would owe more than there is before the first of them counts, and
        then nothing would be handed out any more, by which there could be room again.
        """
        space = part.waiting * FOLLOWER_SPACE
        for nodes in part.nodes:
            space += sum(map(len, nodes.jobs.args)) + len(nodes.jobs.ids) * JOB_SPACE
        self._expected += space
        try:
            yield
        finally:
            self._expected -= space

    def is_full(self, mono: float) -> bool:
        """Whether the store is above its high-water mark, or would be if all jobs ended now that wait or soon will."""
        owed = self._store.waiting * FOLLOWER_SPACE + self._expected
        used, size = self.fill(mono, owed)
        if self._pinned:
            owed += COMMIT_SPACE * len(self._store.book.by_seq)
        return used + owed > size * self._store.config.high_water

    def deliverable(self, mono: float) -> int:
        """How many more jobs may be out before the reserve would not cover their results."""
        used, size = self.fill(mono)
        spare = size - used - int(size * COPY_SHARE) - self._store.waiting * FOLLOWER_SPACE
        return max(0, spare // self._outcome_space - len(self._store.book.by_seq))

    def has_room(self, mono: float, more: int) -> bool:
        """Whether so many bytes leave room for the outcomes of all jobs that are out.

        Less is kept free for copies than when jobs are handed out, so that some can go on when no more are.
        """
        used, size = self.fill(mono)
        spare = size - used - int(size * COPY_SHARE / 2) - more - self._store.waiting * FOLLOWER_SPACE
        return spare >= self._outcome_space * len(self._store.book.by_seq)

    @property
    def _outcome_space(self) -> int:
        return self._store.config.max_result_size + OUTCOME_SPACE + (COMMIT_SPACE if self._pinned else 0)


def _oldest_reader(env: lmdb.Environment, newest: int) -> int:
    """The transaction that the oldest reader sees; `newest` when nobody reads. LMDB has it as a table of text only."""
    seen = [line.split()[2] for line in env.readers().splitlines()[1:] if len(line.split()) == 3]
    return min((int(txn) for txn in seen if txn.isdigit()), default=newest)
