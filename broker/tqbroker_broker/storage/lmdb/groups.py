"""Groups, by their ids: those of workflows, and lists of jobs that somebody wants to be remembered."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.keys import SAVED
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn
from tqbroker_broker.storage.lmdb.workflow_rows import JOIN, Saved, pack, unpack_saved
from tqbroker_broker.workflows import Members

log = logging.getLogger("tqbroker.storage")


def members(store: Store, group_id: bytes, first: int, limit: int) -> Members | None:
    """Some members of a group; what was saved goes before what a workflow has."""
    txn = store.read()
    try:
        kept = saved(store, txn, group_id)
        if kept is not None:
            return Members(kept.ids[first : first + limit], len(kept.ids))
        return _of_workflow(store, txn, group_id, first, limit)
    finally:
        store.done_reading()


def _of_workflow(store: Store, txn: Txn, group_id: bytes, first: int, limit: int) -> Members | None:
    row = txn.get(group_id, db=store.db["groups"])
    if row is None:
        return None
    workflows, key = store.workflows(txn), JOIN.unpack(row)
    workflow, join = workflows.workflow(key[0]), workflows.join(key)
    if workflow is None or join is None or not workflow.live:
        return None
    ids: list[JobId] = []
    for seqs in workflows.members(key, first):
        ids += [store.node_id(txn, seq) for seq in seqs[: limit - len(ids)]]
        if len(ids) >= limit:
            break
    return Members(ids, join.members)


def saved(store: Store, txn: Txn, group_id: bytes) -> Saved | None:
    """What was saved under an id; None if there is nothing, or it cannot be read any more."""
    row = txn.get(group_id, db=store.db["saved"])
    try:
        return unpack_saved(row) if row is not None else None
    except DamagedRecordError:
        log.error("the saved group %s does not match its checksum", group_id.hex())
        return None


def save(group: Group, group_id: bytes, ids: Sequence[JobId], now: Time) -> None:
    """Remembers a list of jobs, in place of what was saved before."""
    until_ms = now.wall_ms + int(group.store.config.result_ttl * 1000)
    group.txn.put(group_id, pack(Saved(until_ms, list(ids))), db=group.store.db["saved"])
    group.plan(SAVED, until_ms, group_id)


def delete(group: Group, group_id: bytes) -> bool:
    """Forgets it. Returns whether there was something."""
    return group.txn.delete(group_id, db=group.store.db["saved"])
