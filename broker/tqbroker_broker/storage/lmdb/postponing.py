"""What follows ends that were too many for one commit: it comes in the next ones, also after a restart."""

from __future__ import annotations

from tqbroker_broker.lifecycle import keep_until
from tqbroker_broker.storage import Unavailable
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.keys import AGENDA, TURNS, U64, first_number
from tqbroker_broker.storage.lmdb.workflow_rows import GATE, JoinState
from tqbroker_broker.storage.lmdb.workflow_writer import Ended


def put_off(group: Group) -> None:
    """The ends whose consequences have no room in this commit: they are on the agenda, by the seqs of their jobs."""
    group.plan(TURNS, 0, b"".join(U64.pack(end.seq) for end in group.workflows.ended))
    group.workflows.ended.clear()


def take_up(group: Group, packed: bytes, most: int) -> int:
    """The next of these ends are to be counted in this commit; the others stay put off. Returns how many are taken."""
    seqs = [first_number(packed[at : at + U64.size]) for at in range(0, len(packed), U64.size)]
    ends = [end for seq in seqs if (end := _end_of(group, seq)) is not None]
    group.workflows.ended.extend(ends[most:])
    if group.workflows.ended:
        put_off(group)
    group.workflows.ended.extend(ends[:most])
    return len(group.workflows.ended)


def _end_of(group: Group, seq: int) -> Ended | None:
    """How a job ended that has ended because of another."""
    store, txn = group.store, group.txn
    final, job, run = store.final(txn, seq), store.job(txn, seq), group.workflows.run(seq)
    if final is None or run is None:
        return None
    ttl_ms = job.head.result_ttl_ms if job is not None else 0
    keep_ms = keep_until(final.state, final.finished_ms, ttl_ms, store.config)
    join = group.workflows.join(run.nodes.after) if run.nodes.after[1] != GATE else None
    spared = join is not None and join.state == JoinState.SPARED
    return Ended(seq, final.state, keep_ms, 0, job.id if job is not None else b"", spared, final.value)


def check_settled(group: Group) -> None:
    """Raises Unavailable while ends are still to be counted: what waits for them must not wait again meanwhile."""
    cursor = group.txn.cursor(group.store.db["agenda"])
    if cursor.set_range(TURNS) and AGENDA.unpack(cursor.key())[0] == TURNS:
        raise Unavailable("a workflow with very many jobs is ending just now: try again in a second")
