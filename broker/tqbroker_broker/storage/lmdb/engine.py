"""The LMDB engine: the verbs of the seam, each handed to its module."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import error as StructError  # noqa: N812

import lmdb
import msgspec

from tqbroker._failpoint import hit
from tqbroker_broker.answers import (
    CancelAnswer,
    Due,
    Enqueued,
    Expired,
    Finished,
    Job,
    Joined,
    Mark,
    Opened,
    Snapshot,
    Stats,
    WorkerRow,
)
from tqbroker_broker.attempts import Annotation, Ending, HandedOut, Held, Refusal, Successes, Want
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import BEAT, COUNTER_BITS, stall
from tqbroker_broker.questions import Change, EditAnswer, Effect, EventPage, Filter, Page
from tqbroker_broker.records import JobId, NewJobs, Time
from tqbroker_broker.rules import LimitRule, LimitState, QueueRule
from tqbroker_broker.schedules import Fire, FireAnswer, ScheduleState
from tqbroker_broker.storage import CannotOpen, StoreFull, Unavailable
from tqbroker_broker.storage.lmdb import (
    annotating,
    cancelling,
    dropping,
    editing,
    endings,
    events,
    falling_due,
    firing,
    groups,
    handout,
    intake,
    membership,
    opening,
    outcomes,
    overdue,
    overview,
    rates,
    reading,
    rulebook,
    scanning,
    submitting,
    upkeep,
)
from tqbroker_broker.storage.lmdb.commit import FULL, SLOW_COMMIT, Committer
from tqbroker_broker.storage.lmdb.copying import Copier
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.keys import U64
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import reads
from tqbroker_broker.workflows import Inputs, Members, NodePage, Part, PartAnswer, WorkflowPage, WorkflowState

# A new epoch is stored when fewer tokens than this are left in the present one: more than one call can take.
TOKEN_MARGIN = 1 << 20


class LmdbEngine:
    """Storage in one LMDB environment under `path`; see keys.py for what lies where."""

    durability = "fsync: every commit is flushed to the disk before it is answered"

    def __init__(self, path: str, config: StorageConfig) -> None:
        self._directory = Path(path)
        self._config = config
        self._lock = -1
        self._last_beat: float | None = None
        self._stored_epoch = 0
        self.stopwatch = time.monotonic
        """Measures how long it took to pay for starts under a rate: they begin only then."""
        self.on_events: Callable[[], None] = lambda: None

    async def open(self, now: Time) -> Opened:
        self._lock = opening.prepare_directory(self._directory)
        try:
            opening.check_after_crash(self._directory)
            env = opening.open_environment(self._directory, self._config)
            try:
                identity, epoch = self._begin(env, now)
            except BaseException:
                env.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise
        store = self._store
        store.log.tell = lambda: self.on_events()
        store.book.begin(epoch)
        self._stored_epoch = epoch
        self._committer = Committer(env, lambda txn: Group(store, txn), self._config.group_limit, self._directory)
        self._copier = Copier(store)
        return Opened(identity, epoch, sorted(store.book.holders))

    def _begin(self, env: lmdb.Environment, now: Time) -> tuple[bytes, int]:
        """Reads what a start needs. Returns the store's id and the new epoch. Raises CannotOpen."""
        try:
            opening.check_format(env)
            store = self._store = Store(env, self._directory, self._config)
            identity, epoch = opening.begin_epoch(env, now)
            store.load(now)
            rulebook.load(store, now)
            firing.load(store)
            store.done_reading()
        except lmdb.Error as problem:
            raise CannotOpen(opening.cannot_write(self._directory, problem)) from problem
        except (msgspec.MsgspecError, UnicodeDecodeError, StructError) as problem:
            raise CannotOpen(
                f"what a start needs of {self._directory} cannot be read ({problem}): tqbroker verify says what is "
                "damaged; restore a backup."
            ) from problem
        return identity, epoch

    async def close(self) -> None:
        await self._copier.close()
        await self._committer.close()
        self._store.done_reading()
        self._store.env.close()
        os.close(self._lock)

    def beat(self, now: Time) -> float:
        self._committer.check()
        elapsed = now.mono - self._last_beat if self._last_beat is not None else 0.0
        self._last_beat = now.mono
        self._store.tick(now)
        stalled = max(stall(elapsed), self._committer.take_slow())  # a beat that waits for a slow commit is late itself
        if stalled:
            self._shift(stalled)
        return stalled

    def _shift(self, seconds: float) -> None:
        self._store.book.shift(seconds)
        if self._store.recovery_end is not None:
            self._store.recovery_end += seconds

    # -- workers -----------------------------------------------------------------------------------------------------

    async def join(self, worker: str, instance: bytes, held: Sequence[Held], now: Time) -> Joined:
        membership.check_name(self._store.book, worker, instance)
        return await self._committer.run(lambda group: membership.join(group, worker, instance, held, now))

    def part(self, worker: str, instance: bytes, now: Time) -> None:
        holder = self._store.book.holders.get(worker)
        if holder is not None and holder.instance == instance and not holder.awaited:
            holder.connected = False
            holder.deadline = min(holder.deadline, now.mono + self._config.grace)

    async def leave(self, worker: str, instance: bytes, now: Time) -> frozenset[str]:
        return await self._committer.run(lambda group: membership.leave(group, worker, instance, now))

    def extend(self, worker: str, instance: bytes, now: Time) -> None:
        holder = self._store.book.holders.get(worker)
        if holder is not None and holder.instance == instance and holder.connected:
            holder.deadline = now.mono + self._config.lease_ttl

    def spare(self, worker: str, instance: bytes, now: Time) -> None:
        holder = self._store.book.holders.get(worker)
        if holder is not None and holder.instance == instance and not holder.awaited:
            holder.deadline = max(holder.deadline, now.mono + max(self._config.grace, BEAT))

    def marks(self, worker: str) -> dict[int, Mark]:
        holder = self._store.book.holders.get(worker)
        return {token: lease.mark for token, lease in holder.leases.items() if lease.mark} if holder is not None else {}

    def workers(self) -> list[WorkerRow]:
        return [
            WorkerRow(h.name, h.instance, h.connected, len(h.leases), h.awaited)
            for _, h in sorted(self._store.book.holders.items())
        ]

    def recovery_left(self, now: Time) -> float:
        end = self._store.recovery_end
        return max(0.0, end - now.mono) if end is not None else 0.0

    # -- the life of a job -------------------------------------------------------------------------------------------

    async def enqueue(self, batches: Sequence[NewJobs], now: Time) -> list[Enqueued]:
        if self._store.capacity.is_full(now.mono):
            raise StoreFull(FULL)
        weight = sum(len(batch.ids) for batch in batches)
        return await self._committer.run(
            lambda group: intake.enqueue(group, batches, now), weight=weight, new_work=True
        )

    def has_ready(self, queues: Sequence[str], now: Time) -> bool:
        return handout.has_ready(self._store, queues, now)

    @reads
    async def lease(self, wants: Sequence[Want], now: Time) -> HandedOut:
        self._committer.check()
        epoch = (self._store.book.next_token + TOKEN_MARGIN) >> COUNTER_BITS
        if epoch > self._stored_epoch:
            await self._committer.run(lambda group: group.txn.put(b"epoch", U64.pack(epoch), db=self._store.db["meta"]))
            self._stored_epoch = epoch
        answer = handout.lease(self._store, wants, now) or await self._lease_paid(wants, now)
        self._store.log.start(wants, answer.batches, now)
        return answer

    async def _lease_paid(self, wants: Sequence[Want], now: Time) -> HandedOut:
        """Hands out after starts under a rate are on disk; those that it takes too long to pay for wait."""
        needs = self._store.levels.gates.unspend()
        began = self.stopwatch()
        with contextlib.suppress(Unavailable):
            await self._committer.run(lambda group: rates.pay(group, needs, now), weight=len(needs))
            hit("after_payment")
        took = self.stopwatch() - began
        later = Time(now.wall_ms + int(took * 1000), now.mono + took)
        answer = handout.lease(self._store, wants, later, paid_only=True)
        assert answer is not None, "what is paid for is handed out"
        return answer

    async def finish(
        self, worker: str, successes: Sequence[Successes], endings: Sequence[Ending], now: Time
    ) -> Finished:
        weight = len(endings) + sum(len(columns.tokens) for columns in successes)
        return await self._committer.run(
            lambda group: outcomes.finish(group, worker, successes, endings, now), weight=weight
        )

    async def release(self, worker: str, tokens: Sequence[int], now: Time) -> frozenset[str]:
        return await self._committer.run(lambda group: membership.release(group, worker, tokens), weight=len(tokens))

    async def annotate(self, worker: str, annotations: Sequence[Annotation], now: Time) -> dict[int, Refusal]:
        if not self._store.capacity.has_room(now.mono, sum(map(annotating.size_of, annotations))):
            raise StoreFull(FULL)
        return await self._committer.run(
            lambda group: annotating.annotate(group, worker, annotations), weight=len(annotations), new_work=True
        )

    async def cancel(self, ids: Sequence[JobId], now: Time, *, terminate: bool = False) -> CancelAnswer:
        mark = Mark.TERMINATE if terminate else Mark.ASKED
        return await self._committer.run(lambda group: cancelling.cancel(group, ids, mark, now), weight=len(ids))

    async def edit(self, ids: Sequence[JobId], change: Change, now: Time) -> EditAnswer:
        return await self._committer.run(lambda group: editing.edit(group, ids, change, now), weight=len(ids))

    async def forget(self, ids: Sequence[JobId], now: Time) -> int:
        return await self._committer.run(lambda group: endings.forget(group, ids, now), weight=len(ids))

    # -- rules -------------------------------------------------------------------------------------------------------

    async def put_queue(self, queue: str, rule: QueueRule | None, now: Time) -> None:
        await self._committer.run(lambda group: rulebook.put_queue(group, queue, rule))

    def queue_rules(self) -> dict[str, QueueRule]:
        return dict(self._store.queue_rules)

    async def put_limits(
        self, rules: Sequence[LimitRule], remove: Sequence[str], now: Time, *, operator: bool = True
    ) -> None:
        await self._committer.run(lambda group: rulebook.put_limits(group, rules, remove, operator=operator))

    def limits(self) -> list[LimitState]:
        return rulebook.limits(self._store)

    # -- workflows ---------------------------------------------------------------------------------------------------

    async def submit(self, part: Part, now: Time) -> PartAnswer:
        weight = sum(len(nodes.jobs.ids) for nodes in part.nodes)
        capacity = self._store.capacity
        with capacity.expecting(part):
            if capacity.is_full(now.mono):
                raise StoreFull(FULL)
            return await self._committer.run(
                lambda group: submitting.submit(group, part, now), weight=weight, new_work=True
            )

    @reads
    async def inputs(self, job: JobId, first: int) -> Inputs | None:
        return reading.inputs(self._store, job, first)

    @reads
    async def workflows(self, states: frozenset[WorkflowState], cursor: bytes, limit: int) -> WorkflowPage:
        return overview.workflows(self._store, states, cursor, limit)

    @reads
    async def nodes(self, workflow: bytes, cursor: bytes, limit: int) -> NodePage | None:
        return overview.nodes(self._store, workflow, cursor, limit)

    async def drop_workflow(self, workflow: bytes, now: Time) -> Effect:
        return await self._committer.run(lambda group: dropping.drop_workflow(group, workflow))

    @reads
    async def group(self, group: bytes, first: int, limit: int) -> Members | None:
        return groups.members(self._store, group, first, limit)

    async def save_group(self, group: bytes, ids: Sequence[JobId], now: Time) -> None:
        if self._store.capacity.is_full(now.mono):
            raise StoreFull(FULL)
        await self._committer.run(lambda txn: groups.save(txn, group, ids, now), weight=len(ids), new_work=True)

    async def delete_group(self, group: bytes) -> bool:
        return await self._committer.run(lambda txn: groups.delete(txn, group))

    # -- schedules ---------------------------------------------------------------------------------------------------

    def schedules(self) -> list[ScheduleState]:
        return [state for _, state in sorted(self._store.schedules.items())]

    async def put_schedules(self, put: Sequence[ScheduleState], remove: Sequence[str], now: Time) -> None:
        await self._committer.run(lambda group: firing.put(group, put, remove), weight=len(put) + len(remove))

    async def fire(self, fires: Sequence[Fire], now: Time) -> list[FireAnswer]:
        if self._store.capacity.is_full(now.mono):
            raise StoreFull(FULL)
        weight = sum(1 + len(fire.jobs) for fire in fires)
        return await self._committer.run(lambda group: firing.fire(group, fires, now), weight=weight, new_work=True)

    # -- upkeep ------------------------------------------------------------------------------------------------------

    @reads
    async def due(self, now: Time, limit: int) -> Due:
        self._committer.check()
        next_ms = falling_due.next_due(self._store)
        if not next_ms or next_ms > now.wall_ms:
            return Due(frozenset(), False, next_ms)
        return await self._committer.run(lambda group: falling_due.due(group, now, limit), weight=limit)

    @reads
    async def expire(self, now: Time, limit: int) -> Expired:
        self._committer.check()
        self._store.aging.see(now)
        if self._committer.elapsed() > SLOW_COMMIT or not overdue.needed(self._store, now):
            return Expired([], frozenset(), [], False)
        done = await self._committer.run(lambda group: upkeep.expire(group, now, limit), weight=limit)
        return done if done.more else done._replace(more=overdue.is_left(self._store, now))

    # -- reading -----------------------------------------------------------------------------------------------------

    @reads
    async def get(
        self,
        ids: Sequence[JobId],
        *,
        with_args: bool = False,
        with_attempts: bool = False,
        with_children: bool = False,
    ) -> list[Job]:
        return reading.get(self._store, ids, with_args, with_attempts, with_children)

    @reads
    async def ended(self, ids: Sequence[JobId]) -> list[Job]:
        return reading.ended(self._store, ids)

    @reads
    async def scan(self, wanted: Filter, cursor: bytes, limit: int, *, with_args: bool = False) -> Page:
        return scanning.scan(self._store, wanted, cursor, limit, with_args)

    @reads
    async def events(self, after: int, limit: int) -> EventPage:
        store = self._store
        try:
            return events.read(store.read(), store.db["events"], store.log.next, after, limit)
        finally:
            store.done_reading()

    @reads
    async def stats(self) -> Stats:
        return reading.stats(self._store)

    async def snapshot(self, now: Time) -> Snapshot:
        self._committer.check()
        return await self._copier.take(now)
