"""Lease: jobs out. Reads only; what it records is in the book, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.attempts import HandedOut, Want
from tqbroker_broker.records import Time
from tqbroker_broker.storage.lmdb.columns import Columns
from tqbroker_broker.storage.lmdb.picking import Pick
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn

UNPAID_AGAIN = 0.05
"""Seconds until starts that could not be paid for in time are tried again."""


def has_ready(store: Store, queues: Sequence[str], now: Time) -> bool:
    """Whether a lane of these queues stands in the hand-out order, or what a hand-out does first may bring one there.

    What is known of lanes errs on one side only: one in which a job waits that may be handed out stands.
    """
    gates = store.levels.gates
    store.tick(now)
    if now.wall_ms < store.passed_over_ms or (gates.in_use and gates.next_ms() is not None):
        return True
    return bool(store.levels.of(queues))


def lease(store: Store, wants: Sequence[Want], now: Time, *, paid_only: bool = False) -> HandedOut | None:
    """Hands out what each want may have, in turn; with `paid_only` no start under a rate that is not paid for.

    None: nothing was handed out, because starts have to be paid for before: what the gates have as `spending`.
    """
    if now.wall_ms < store.passed_over_ms:
        store.passed_over_ms = 0
        store.look_again()
    gates, now_ms = store.levels.gates, store.tick(now)
    if gates.in_use:
        store.levels.open_gates(now_ms)
    txn, first_token = store.read(), store.book.next_token
    picks: list[Pick | None] = []
    try:
        for want in wants:
            picks.append(_pick(store, txn, want, now, paid_only))
    finally:
        store.done_reading()
    again_in = 0.0
    if gates.in_use:
        served = [pick for pick in picks if pick is not None]
        if any(gate.paid(now_ms) < 0 for gate in gates.spending):
            for pick in reversed(served):
                pick.take_back()
            store.book.next_token = first_token
            return None
        gates.settle(now_ms)
        again_in = _again_in(gates.next_ms(), now_ms, served)
    away = frozenset(want.worker for want, pick in zip(wants, picks, strict=True) if pick is None)
    return HandedOut([pick.columns.batches if pick is not None else [] for pick in picks], again_in, away)


def _pick(store: Store, txn: Txn, want: Want, now: Time, paid_only: bool) -> Pick | None:
    holder = store.book.holders.get(want.worker)
    if holder is None or not holder.connected or holder in store.shut:
        return None
    pick = Pick(store, txn, Columns(want, holder, store.capacity.deliverable(now.mono)), now, paid_only)
    pick.fill()
    return pick


def _again_in(next_ms: int | None, now_ms: int, picks: list[Pick]) -> float:
    """After how many seconds a limit admits more, if a worker waits for that."""
    if all(pick.columns.full for pick in picks):
        return 0.0
    if any(pick.unpaid for pick in picks):
        return UNPAID_AGAIN
    return max(1, next_ms - now_ms) / 1000 if next_ms is not None else 0.0
