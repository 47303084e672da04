"""Workers come, stay away, come back and leave; what they hold is theirs as long as they are heard of."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.answers import Joined
from tqbroker_broker.attempts import Held
from tqbroker_broker.lifecycle import DIED, lost_failure
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage import NameTaken
from tqbroker_broker.storage.lmdb.book import Book, Holder, Lease
from tqbroker_broker.storage.lmdb.endings import lose
from tqbroker_broker.storage.lmdb.following import follow
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.keys import NOTED, U64, order_of
from tqbroker_broker.storage.lmdb.lanes import Lane
from tqbroker_broker.storage.lmdb.rows import Note
from tqbroker_broker.storage.lmdb.store import Store


def check_name(book: Book, worker: str, instance: bytes) -> None:
    """Raises NameTaken when another process is connected under this name."""
    holder = book.holders.get(worker)
    if holder is not None and holder.connected and holder.instance != instance:
        raise NameTaken(
            f"another worker is connected under the name {worker!r}; give this one its own with --hostname (-n)."
        )


def join(group: Group, worker: str, instance: bytes, held: Sequence[Held], now: Time) -> Joined:
    """Lists the worker durably and settles what it holds."""
    store = group.store
    check_name(store.book, worker, instance)
    old = store.book.holders.get(worker)
    group.txn.put(worker.encode(), instance, db=store.db["workers"])
    group.joined.add(worker)
    if old is None or old.instance != instance:
        group.worker_event(EventKind.WORKER_ONLINE, now, worker)
    holder = Holder(worker, instance, now.mono + store.config.lease_ttl, connected=True)
    kept, lost = _settle(group, holder, old, held)
    woken, final = _unclaimed(group, old, instance, kept, now)
    followed = follow(group, now)
    group.effects.append(lambda: _seat(group, holder, old, kept))
    return Joined(lost, frozenset(woken | followed.woken), (*final, *followed.final))


def _settle(
    group: Group, holder: Holder, old: Holder | None, held: Sequence[Held]
) -> tuple[dict[int, Lease], list[int]]:
    """Which of the held leases are still the worker's, by token, and the tokens that are lost."""
    own = old.leases if old is not None and old.instance == holder.instance else {}
    kept: dict[int, Lease] = {}
    jobs: set[int] = set()
    lost: list[int] = []
    for each in held:
        if each.token in kept:
            continue
        lease = own.get(each.token)
        if lease is None or lease.token in group.ended or lease.id != each.id:
            lease = _adopt(group, holder, each)
        if lease is not None and lease.seq not in jobs:
            kept[each.token] = lease
            jobs.add(lease.seq)
        elif group.store.final_token(group.txn, each.id) != each.token:
            lost.append(each.token)
    return kept, lost


def _adopt(group: Group, holder: Holder, held: Held) -> Lease | None:
    """A lease from before the start, if its job still waits in its place and nobody else got it since.

    What is refused is so after another start, too: then the worker is on the list, and may be the first to come.
    """
    store, txn = group.store, group.txn
    seq = store.seq_of(txn, held.id)
    job = store.job(txn, seq) if seq is not None else None
    if seq is None or job is None:
        return None
    note, lane = store.note(txn, seq), group.lane(job.head)
    place = store.place(seq, lane, note)
    row = txn.get(place, db=store.db["lanes"])
    if row is None or held.token <= note.floor:
        return None
    other = store.book.by_seq.get(seq) or group.adopted.get(seq)
    if other is not None and other.token not in group.ended:
        if held.token < other.token:
            _put_floor(group, seq, note, held.token)
            group.mark_noted(other)
        return None
    if held.token >= store.book.first_token:
        return None
    if other is None and _may_resume(store, holder, lane):
        lease = Lease(held.token, seq, job.id, job.head, lane, place, row[8:] == NOTED, holder, note.cancel)
        group.adopt(lease, order_of(place))
        return lease
    _put_floor(group, seq, note, held.token)
    txn.put(place, U64.pack(seq) + NOTED, db=store.db["lanes"])
    group.claim(seq, lane, order_of(place))  # who is handed the job in this commit would not see its note
    group.ready(lane, order_of(place))
    return None


def _may_resume(store: Store, holder: Holder, lane: Lane) -> bool:
    """Whether a worker may go on with a job that nobody has.

    One that had been given up before the start may not: its jobs may have been in other hands since. Nor may one that
    comes when others have got what was kept for it until then: the ordering key, or the room under a limit.
    """
    if store.listed.get(holder.name) != holder.instance:
        return False
    return store.recovery_end is not None or not store.levels.is_taken(lane)


def _put_floor(group: Group, seq: int, note: Note, token: int) -> None:
    """This token and those before it do not count any more."""
    note.floor = token
    group.put_note(seq, note)


def _unclaimed(
    group: Group, old: Holder | None, instance: bytes, kept: dict[int, Lease], now: Time
) -> tuple[set[str], list[JobId]]:
    """What the book has for this worker but the worker does not: back to the queue, lost if its process is another.

    Returns the woken queues and the jobs that are final.
    """
    woken: set[str] = set()
    final: list[JobId] = []
    for token, lease in sorted(old.leases.items()) if old is not None else ():
        if token in kept or token in group.ended:
            continue
        if old is not None and old.instance == instance:
            give_back(group, lease)
            woken.add(lease.lane.queue)
        elif lose(group, lease, lost_failure(lease.holder.name, DIED), now):
            final.append(lease.id)
        else:
            woken.add(lease.lane.queue)
    return woken, final


def _seat(group: Group, holder: Holder, old: Holder | None, kept: dict[int, Lease]) -> None:
    """The worker is here: its leases move to its new seat, but for those that ended later in the same commit."""
    store = group.store
    leases = [lease for token, lease in kept.items() if token not in group.ended]
    for lease in leases:
        store.book.drop(lease)
        lease.holder = holder
    if old is not None:
        _clear(store, old)
    store.book.holders[holder.name] = holder
    for lease in leases:
        store.book.add(lease)
    store.settle_recovery()


def _clear(store: Store, holder: Holder) -> None:
    """Gives back what was leased to a seat while the commit that empties it was under way: it never left the broker."""
    for lease in list(holder.leases.values()):
        store.book.drop(lease)
        store.wake(lease.lane, order_of(lease.key))


def release(group: Group, worker: str, tokens: Sequence[int]) -> frozenset[str]:
    """Jobs that were not started go back to their place."""
    holder = group.store.book.holders.get(worker)
    leases = [holder.leases.get(token) for token in tokens] if holder is not None else []
    live = [lease for lease in leases if lease is not None and lease.token not in group.ended]
    for lease in live:
        give_back(group, lease)
    return frozenset(lease.lane.queue for lease in live)


def give_back(group: Group, lease: Lease) -> None:
    """Ends a lease whose job was not started: it keeps its place.

    Nothing needs to be written, but when the job is from before the start: no lease of then may win after this.
    """
    group.end(lease)
    if lease.seq < group.store.boot_order:
        _put_floor(group, lease.seq, group.store.note(group.txn, lease.seq), lease.token)
        group.mark_noted(lease)
    group.ready(lease.lane, order_of(lease.key))


def leave(group: Group, worker: str, instance: bytes, now: Time) -> frozenset[str]:
    """Takes a worker off the durable list; what it still held goes back."""
    holder = group.store.book.holders.get(worker)
    if holder is None or holder.instance != instance:
        return frozenset()
    return remove(group, holder, now)


def remove(group: Group, holder: Holder, now: Time) -> frozenset[str]:
    """Takes a holder off the list."""
    store = group.store
    group.txn.delete(holder.name.encode(), db=store.db["workers"])
    group.worker_event(EventKind.WORKER_OFFLINE, now, holder.name)
    store.shut.add(holder)
    group.shut.append(holder)
    left = [lease for token, lease in holder.leases.items() if token not in group.ended]
    for lease in left:
        give_back(group, lease)

    def unseat() -> None:
        if store.book.holders.get(holder.name) is holder:
            del store.book.holders[holder.name]
            _clear(store, holder)
            store.settle_recovery()

    group.effects.append(unseat)
    return frozenset(lease.lane.queue for lease in left)
