"""What time ends: workers are given up, jobs expire, results and ids age out. In bounded slices."""

from __future__ import annotations

from collections.abc import Callable

from tqbroker_broker.answers import Expired
from tqbroker_broker.lifecycle import SILENT, lost_failure
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.storage.lmdb import events, groups, holding, uniques, wrecks
from tqbroker_broker.storage.lmdb.dropping import Dropping
from tqbroker_broker.storage.lmdb.endings import drop_finished, end_waiting, lose, put_damaged
from tqbroker_broker.storage.lmdb.following import follow
from tqbroker_broker.storage.lmdb.group import FAILED, READY, Group
from tqbroker_broker.storage.lmdb.keys import (
    AGENDA,
    EXPIRY,
    HELD_BACK,
    KEYS,
    MARKS,
    MEMORY,
    RETENTION,
    SAVED,
    TURNS,
    U64,
    WORKFLOWS,
    WRECKS,
    first_number,
)
from tqbroker_broker.storage.lmdb.membership import remove
from tqbroker_broker.storage.lmdb.overdue import horizons, is_left_alone
from tqbroker_broker.storage.lmdb.postponing import take_up

# Rows a slice may look at for each job it may handle.
LOOKS = 2

# Commits whose events a slice may drop.
OLD_EVENTS = 500


class Slice:
    """One bounded piece of the work that `expire` does.

    `left` is how many jobs it may still handle, `looks` how many of one kind it may still look at: many need nothing.
    """

    def __init__(self, group: Group, now: Time, limit: int) -> None:
        self.group = group
        self.now = now
        self.left = limit
        self.looks = 0
        self.cleared = False
        self.when_ms = 0
        """The moment of the row under way."""
        self.midway = False
        """Whether the row looked at last was left in its middle."""
        self.final: list[JobId] = []
        self.woken: set[str] = set()
        self.lost: list[str] = []

    def end(self, seq: int, state: State) -> None:
        """Ends a job that waits, if it still does. A cancel mark wins over every other end."""
        store, txn = self.group.store, self.group.txn
        job = store.job(txn, seq)
        if job is None:
            return
        if state is State.EXPIRED and job.expires_ms != self.when_ms:  # it was redriven or replaced since
            return
        note = store.note(txn, seq)
        if state is State.CANCELLED and not note.cancel:  # a redrive has taken the mark away
            return
        if end_waiting(self.group, seq, job, note, State.CANCELLED if note.cancel else state, self.now):
            self.final.append(job.id)
            self.left -= 1
            self.follow()

    def follow(self) -> None:
        """Sees to what follows the ends of jobs in their workflows."""
        followed = follow(self.group, self.now)
        self.final += followed.final
        self.woken |= followed.woken


def expire(group: Group, now: Time, limit: int) -> Expired:
    """One slice: lost workers, marked jobs, jobs past their expiry, results past their retention, ids."""
    work = Slice(group, now, limit)
    _lose_workers(work)
    _end_damaged(work)
    events.trim(group.txn, group.store.db["events"], group.store.config, group.store.aging.wall_ms(now), OLD_EVENTS)
    _keep_held(group)
    cut = False
    for kind, until_ms in horizons(group.store, now):
        work.looks, work.midway = LOOKS * limit, False
        _work_off(work, kind, until_ms)
        cut = cut or work.looks <= 0
    return Expired(work.final, frozenset(work.woken), work.lost, work.cleared and cut)


def _keep_held(group: Group) -> None:
    """Stores by how much aging lags behind the wall clock, when that has changed."""
    store, held = group.store, group.store.aging.held
    if held == store.stored_held:
        return
    group.txn.put(HELD_BACK, holding.pack(held), db=store.db["meta"])
    group.effects.append(lambda: setattr(store, "stored_held", held))


def _lose_workers(work: Slice) -> None:
    """Silent workers lose their leases, and leave the list when they hold none any more."""
    group = work.group
    for holder in group.store.book.overdue(work.now.mono):
        if holder.name in group.joined:
            continue
        leases = [lease for token, lease in sorted(holder.leases.items()) if token not in group.ended]
        for lease in leases[: work.left]:
            if lose(group, lease, lost_failure(holder.name, SILENT), work.now):
                work.final.append(lease.id)
                work.follow()
            else:
                work.woken.add(lease.lane.queue)
        if len(leases) <= work.left:
            remove(group, holder, work.now)
            work.lost.append(holder.name)
        work.left -= min(len(leases), work.left)


def _end_damaged(work: Slice) -> None:
    """Takes jobs whose records cannot be read out of their lanes; what is left of them is kept for the operator."""
    group, store = work.group, work.group.store
    damaged = dict(store.damaged)
    for seq, (lane, place) in damaged.items():
        if group.txn.delete(place, db=store.db["lanes"]):
            group.touch(lane)
            job = put_damaged(group, seq, work.now)
            group.count(lane.queue, READY, -1)
            group.count(lane.queue, FAILED, 1)
            work.final += [job] if job is not None else []
            work.follow()

    def forget() -> None:
        for seq in damaged:
            store.damaged.pop(seq, None)

    group.effects.append(forget)


def _work_off(work: Slice, kind: bytes, until_ms: int) -> None:
    """Works off the agenda rows of one kind up to a moment, as far as the slice goes."""
    group = work.group
    cursor = group.txn.cursor(group.store.db["agenda"])
    found = cursor.set_range(group.store.resume.pop(kind, kind))
    while found and work.left > 0:
        key, packed = cursor.item()
        row_kind, when_ms, _ = AGENDA.unpack(key)
        if row_kind != kind or when_ms > until_ms:
            return
        if work.looks <= 0:
            group.store.resume[kind] = key
            return
        work.when_ms = when_ms
        rest = HANDLERS[kind](work, packed)
        _rewrite(work, key, packed, rest)
        if work.midway:
            group.store.resume[kind] = key + b"\x00"
            return
        found = cursor.set_range(key + b"\x00") and cursor.key() > key  # on a damaged page there is no order


def _rewrite(work: Slice, key: bytes, packed: bytes, rest: bytes) -> None:
    """Stores what is left of an agenda row."""
    db = work.group.store.db["agenda"]
    if not rest:
        work.group.txn.delete(key, db=db)
    elif rest != packed:
        work.group.txn.put(key, rest, db=db)
    work.cleared = work.cleared or len(rest) < len(packed)


def _each(work: Slice, packed: bytes, handle: Callable[[int], bool]) -> bytes:
    """Handles the seqs of an agenda row while the slice has room; returns those that are to stay on the agenda.

    Those that were not looked at come first, so that the next round gets to them however many of the others stay.
    """
    kept = bytearray()
    for at in range(0, len(packed), U64.size):
        if work.left <= 0 or work.looks <= 0:
            work.midway = True
            return packed[at:] + bytes(kept)
        work.looks -= 1
        key = packed[at : at + U64.size]
        if not handle(first_number(key)):
            kept += key
    return bytes(kept)


def _end_unless_held(work: Slice, packed: bytes, state: State) -> bytes:
    """Ends the jobs that nobody holds or may hold; the others stay on the agenda, in case they wait again."""
    group = work.group

    def handle(seq: int) -> bool:
        lease = group.store.book.by_seq.get(seq) or group.adopted.get(seq)
        is_held = lease is not None and lease.token not in group.ended
        if is_held or is_left_alone(group.store, group.txn, group.workflows, seq):
            return False
        work.end(seq, state)
        return True

    return _each(work, packed, handle)


def _handle_turns(work: Slice, packed: bytes) -> bytes:
    """Ends whose consequences had no room in their commit. As many end because of them, or more."""
    work.left -= take_up(work.group, packed, work.left)
    before = len(work.final)
    work.follow()
    work.left -= len(work.final) - before
    return b""


def _handle_wrecks(work: Slice, packed: bytes) -> bytes:
    """One join or place of a workflow that cannot be read any more."""
    for seq, job in wrecks.stranded(work.group, packed):
        if work.left <= 0:
            return packed
        if wrecks.end_stranded(work.group, seq, job, work.now):
            work.final.append(job.id)
            work.left -= 1
            work.follow()
    wrecks.clear(work.group, packed)
    return b""


def _handle_marks(work: Slice, packed: bytes) -> bytes:
    return _end_unless_held(work, packed, State.CANCELLED)


def _handle_expiry(work: Slice, packed: bytes) -> bytes:
    return _end_unless_held(work, packed, State.EXPIRED)


def _handle_retention(work: Slice, packed: bytes) -> bytes:
    def handle(seq: int) -> bool:
        if not work.group.look_at_note(seq).node:  # redriven since, and with a workflow now: it goes with that
            work.left -= drop_finished(work.group, seq, work.now, early=False)
        return True

    return _each(work, packed, handle)


def _handle_workflows(work: Slice, packed: bytes) -> bytes:
    """One workflow."""
    dropping = Dropping(work.group, first_number(packed), work.now, work.left)
    if not dropping.is_due():
        return b""
    gone = dropping.run()
    work.final += dropping.gone
    work.left = dropping.left
    return b"" if gone else packed


def _handle_saved(work: Slice, packed: bytes) -> bytes:
    """One id under which a group was saved, unless it was saved again."""
    group = work.group
    saved = groups.saved(group.store, group.txn, packed)
    if saved is not None and saved.until_ms <= group.store.aging.wall_ms(work.now):
        group.txn.delete(packed, db=group.store.db["saved"])
        work.left -= 1
    return b""


def _handle_memory(work: Slice, packed: bytes) -> bytes:
    """One id."""
    gone = work.group.txn.delete(packed, db=work.group.store.db["ids"])
    work.group.remembered -= gone
    work.left -= gone
    return b""


def _handle_keys(work: Slice, packed: bytes) -> bytes:
    """One unique key, unless a later job has taken it."""
    work.left -= uniques.remove(work.group, packed[: -U64.size], first_number(packed[-U64.size :]))
    return b""


HANDLERS = {
    TURNS: _handle_turns,
    WRECKS: _handle_wrecks,
    MARKS: _handle_marks,
    EXPIRY: _handle_expiry,
    RETENTION: _handle_retention,
    WORKFLOWS: _handle_workflows,
    SAVED: _handle_saved,
    KEYS: _handle_keys,
    MEMORY: _handle_memory,
}
