"""Joins and places that cannot be read any more: what would wait there for ever ends, as a dead letter that says so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import State, Time
from tqbroker_broker.storage.lmdb.endings import end_waiting, put_final
from tqbroker_broker.storage.lmdb.group import WAITING, Group
from tqbroker_broker.storage.lmdb.keys import U64, first_number
from tqbroker_broker.storage.lmdb.overdue import is_withheld
from tqbroker_broker.storage.lmdb.rows import DAMAGED, Final, JobRow, pack_failure
from tqbroker_broker.storage.lmdb.workflow_rows import JOIN, SPAN, Join, JoinState
from tqbroker_broker.workflows import On, Shape


def stranded(group: Group, wreck: bytes) -> Iterator[tuple[int, JobRow]]:
    """The jobs that cannot go on, or would go on without what they are to be handed.

    They follow the join that cannot be read; or that is the place of some jobs, so that nobody knows for whom they
    count: then it is they and all that waits in their workflow.
    """
    if len(wreck) == JOIN.size:
        seqs = chain.from_iterable(_run(group, first) for first in group.workflows.firsts(wreck))
    else:
        seqs = chain(_around(group, first_number(wreck)))
    for seq in seqs:
        job = group.store.job(group.txn, seq)
        if job is not None and not _is_out(group, seq):
            yield seq, job


def _around(group: Group, first: int) -> Iterator[int]:
    """Jobs without a place that can be read, and those that wait in the same workflow."""
    yield from _run(group, first)
    number = _home(group, first)
    for begin in group.workflows.firsts(U64.pack(number)) if number else ():
        yield from (
            seq for seq in _run(group, begin) if group.workflows.waits(seq) and not group.workflows.is_staged(seq)
        )


def _run(group: Group, first: int) -> Iterator[int]:
    """The jobs that begin with this one and share their place, whether or not that can be read."""
    run = group.workflows.run(first)
    if run is not None:
        yield from range(run.first, run.first + run.nodes.count)
        return
    cursor = group.txn.cursor(group.store.db["nodes"])
    end = first_number(cursor.key()) if cursor.set_range(U64.pack(first + 1)) else group.next_seq
    for seq in range(first, end):
        if not group.look_at_note(seq).node:
            return
        yield seq


def _home(group: Group, seq: int) -> int:
    """The workflow that a job was sent for, by the parts of all of them; 0 when none has it."""
    for _, row in group.txn.cursor(group.store.db["parts"]):
        home: int
        first, count, home = SPAN.unpack_from(row)
        if first <= seq < first + count:
            return home
    return 0


def _is_out(group: Group, seq: int) -> bool:
    """Whether a job has ended, or a worker has it, or may have it after a restart."""
    store, txn = group.store, group.txn
    lease = store.book.by_seq.get(seq) or group.adopted.get(seq)
    if lease is not None and lease.token not in group.ended:
        return True
    return txn.get(U64.pack(seq), db=store.db["final"]) is not None or is_withheld(store, txn, seq)


def end_stranded(group: Group, seq: int, job: JobRow, now: Time) -> bool:
    """Ends one of them; False when it has ended meanwhile."""
    if _is_out(group, seq):
        return False
    note = group.note(seq)
    if end_waiting(group, seq, job, note, State.FAILED, now, DAMAGED):
        return True
    note.alone = True
    group.put_note(seq, note)
    group.count(job.head.queue, WAITING, -1)
    put_final(group, seq, job.head, note, Final(State.FAILED, finished_ms=now.wall_ms, value=pack_failure(DAMAGED)))
    group.event(EventKind.FAILED, now, [job.id], job.head, failure=DAMAGED)
    return True


def clear(group: Group, wreck: bytes) -> None:
    """Nothing waits there any more. A join gets a row that says so."""
    group.workflows.wrecks.discard(wreck)
    if len(wreck) == JOIN.size:
        group.workflows.put_join(
            JOIN.unpack(wreck), Join(On.SUCCESS, Shape.LIST, state=JoinState.BROKEN, followed=True)
        )
