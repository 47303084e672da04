"""Workflows that are added to the workflow of a running job: beside it, or in its place.

The one that is added is the guest. It keeps its number and the rows under it; the host has the count of its jobs.
"""

from __future__ import annotations

import logging

import msgspec

from tqbroker_broker.attempts import Ending, Verdict
from tqbroker_broker.records import Head, JobId, Time
from tqbroker_broker.storage.lmdb.annotating import drop_checkpoint
from tqbroker_broker.storage.lmdb.book import Lease
from tqbroker_broker.storage.lmdb.following import Follow, Followed
from tqbroker_broker.storage.lmdb.group import WAITING, Group
from tqbroker_broker.storage.lmdb.keys import EXPIRY, U64, first_number
from tqbroker_broker.storage.lmdb.rows import DAMAGED, DamagedRecordError, Note, pack_job, unpack_job
from tqbroker_broker.storage.lmdb.workflow_rows import GATE, OWN_PART, PART, SPAN, Nodes, WorkflowRow
from tqbroker_broker.workflow_decisions import replacement_missing, replacement_too_large

NO_DIGEST = bytes(16)

log = logging.getLogger("tqbroker.storage")

_encode = msgspec.msgpack.Encoder().encode


def merge(group: Group, number: int, guest: WorkflowRow, seq: int, job: JobId) -> None:
    """Makes one workflow of two. A job without workflow becomes the first of its guest's."""
    run = group.workflows.run(seq)
    top = group.workflows.top(run.nodes.workflow) if run is not None else None
    if top is None:
        _take_in(group, number, guest, seq, job)
    else:
        _add(group, number, guest, *top)


def _take_in(group: Group, number: int, guest: WorkflowRow, seq: int, job: JobId) -> None:
    row = group.store.job(group.txn, seq)
    head = _encode(row.head) if row is not None else b""
    group.workflows.put_run(seq, Nodes(1, number, (number, GATE), False, 0, 0, (), head))
    note = group.note(seq)
    note.node = True
    group.put_note(seq, note)
    lease = group.store.book.by_seq.get(seq) or group.adopted.get(seq)
    if lease is not None and lease.token not in group.ended:
        group.mark_noted(lease)
    span = SPAN.pack(seq, 1, number) + NO_DIGEST
    group.txn.put(PART.pack(number, OWN_PART), span, db=group.store.db["parts"])
    guest.root = job
    guest.total += 1
    guest.left += 1
    group.workflows.put_workflow(number, guest)


def _add(group: Group, number: int, guest: WorkflowRow, host_number: int, host: WorkflowRow) -> None:
    db = group.store.db["parts"]
    for part in range(1, guest.parts + 1):
        row = group.txn.get(PART.pack(number, part), db=db)
        if row is not None:
            host.parts += 1
            group.txn.put(PART.pack(host_number, host.parts), row, db=db)
    guest.into, guest.shift = host_number, host.joins
    host.joins += guest.joins
    host.total += guest.total
    host.left += guest.left
    group.workflows.put_workflow(number, guest)
    group.workflows.put_workflow(host_number, host)


def go_live(follow: Follow, number: int, workflow: WorkflowRow) -> None:
    """All of a workflow is here: what waited for nothing else goes on."""
    begin(follow, number, workflow)
    for run in follow.group.workflows.followers((number, GATE)):
        follow.release(run)


def begin(follow: Follow, number: int, workflow: WorkflowRow) -> None:
    """A workflow is live. One without jobs has ended with that."""
    workflow.live = True
    if not workflow.total:
        workflow.finished_ms = follow.now.wall_ms
        workflow.keep_ms = workflow.finished_ms + int(follow.group.store.config.result_ttl * 1000)
    follow.group.workflows.put_workflow(number, workflow)


# -- in the place of a job ---------------------------------------------------------------------------------------------


def checked(group: Group, lease: Lease, ending: Ending) -> Ending:
    """The ending as it counts: nothing can take the place of a job that is not there, or too large."""
    if ending.verdict is not Verdict.REPLACED:
        return ending
    found = _held(group, ending.workflow)
    if found is None or not _is_whole(group, found):
        return ending._replace(verdict=Verdict.LOST, failure=replacement_missing(ending.workflow))
    run = group.workflows.run(lease.seq)
    top = group.workflows.top(run.nodes.workflow) if run is not None else None
    if top is None and group.note(lease.seq).node:
        return ending._replace(verdict=Verdict.FAILED, failure=DAMAGED)
    total = found[1].total + (top[1].total if top is not None else 1)
    limit = group.store.config.max_workflow_jobs
    if total > limit:
        return ending._replace(verdict=Verdict.FAILED, failure=replacement_too_large(total, limit))
    return ending


def _held(group: Group, workflow_id: bytes) -> tuple[int, WorkflowRow] | None:
    """A workflow that waits for the outcome that names it."""
    row = group.txn.get(workflow_id, db=group.store.db["workflow_ids"])
    workflow = group.workflows.workflow(first_number(row)) if row is not None else None
    if row is None or workflow is None or not workflow.complete or not workflow.taker:
        return None
    return (first_number(row), workflow) if not (workflow.live or workflow.dropping) else None


def _is_whole(group: Group, found: tuple[int, WorkflowRow]) -> bool:
    """Whether what is to take the place of a job can be read."""
    number, guest = found
    try:
        unpack_job(group.txn.get(U64.pack(number), db=group.store.db["takers"]) or b"")
    except DamagedRecordError:
        log.error("what was to take the place of a job in workflow number %s does not match its checksum", number)
        return False
    return group.workflows.run(guest.taker) is not None


def replace(group: Group, lease: Lease, note: Note, workflow: bytes, now: Time) -> Followed:
    """The held workflow is live, and the job goes on as the node of it that takes over."""
    found = _held(group, workflow)
    assert found is not None, "looked at before"
    number, guest = found
    if note.annotated:
        drop_checkpoint(group, lease.seq)
    note.bare, note.due_ms, note.order = False, 0, 0
    group.put_note(lease.seq, note)
    merge(group, number, guest, lease.seq, lease.id)
    head = _put_body(group, number, lease.seq)
    _put_place(group, guest.taker, lease.seq, head)
    group.count(head.queue, WAITING, 1)
    follow = Follow(group, now)
    go_live(follow, number, guest)
    return follow.done


def _put_body(group: Group, number: int, seq: int) -> Head:
    """Body, arguments and times of the job are new; where it came from and its unique key stay."""
    db, key = group.store.db, U64.pack(number)
    taker, before = unpack_job(group.txn.get(key, db=db["takers"]) or b""), group.store.job(group.txn, seq)
    group.txn.delete(key, db=db["takers"])
    if before is None:
        return taker.head
    structs = msgspec.structs
    traits = structs.replace(taker.head.traits, unique=before.head.traits.unique)
    head = structs.replace(taker.head, traits=traits, parent=before.head.parent, root=before.head.root)
    job = before._replace(head=head, args=taker.args, due_ms=taker.due_ms, expires_ms=taker.expires_ms)
    group.txn.put(U64.pack(seq), pack_job(job), db=db["jobs"])
    if job.expires_ms:
        group.plan(EXPIRY, job.expires_ms, U64.pack(seq))
    return head


def _put_place(group: Group, taker: int, seq: int, head: Head) -> None:
    """The job stands where the node stood that took over, and stays a member of its own joins."""
    workflows = group.workflows
    placed, before = workflows.run(taker), workflows.run(seq)
    assert placed is not None, "a workflow that can be held has a node that takes over"
    assert before is not None, "every job of a workflow has a place"
    for member in placed.nodes.members:
        workflows.put_member(member, seq)
    own = workflows.single(before, seq)
    for run in (placed, own):
        workflows.remove_run(run)
    nodes, members = placed.nodes, (*own.nodes.members, *placed.nodes.members)
    nodes = msgspec.structs.replace(nodes, workflow=own.nodes.workflow, members=members, head=_encode(head))
    workflows.put_run(seq, nodes)
