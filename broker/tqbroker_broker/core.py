"""The heart: jobs in, jobs out, ends told. It knows neither the wire nor the disk, and asks others for the time.

Every verb goes to the engine first; when the change is durable the parts of the core hear of it: `dispatch` hands out
what became ready, `waiters` tell whoever waits, `agenda` plans the next tick. `workers` is the side of the workers,
`workflows` that of jobs which wait for each other.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence

from tqbroker._failpoint import hit
from tqbroker_broker.agenda import PAUSE, Agenda
from tqbroker_broker.answers import CancelAnswer, Cancelled, Due, Enqueued, Expired, Job, Opened, Stats
from tqbroker_broker.backups import Backups
from tqbroker_broker.clock import Clock
from tqbroker_broker.commands import Commands
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.dispatch import Dispatcher
from tqbroker_broker.feed import Feed
from tqbroker_broker.guard import Guard, settled
from tqbroker_broker.inflight import InFlight
from tqbroker_broker.orders import Orders
from tqbroker_broker.outcomes import Outcomes
from tqbroker_broker.records import JobId, NewJobs, State, Time
from tqbroker_broker.refusals import Busy, Stopping
from tqbroker_broker.scheduler import Scheduler
from tqbroker_broker.sessions import Sessions
from tqbroker_broker.storage import Engine, Fenced, Unavailable
from tqbroker_broker.waiters import Waiters, Watcher
from tqbroker_broker.workers import Workers
from tqbroker_broker.workflow_decisions import waits_for
from tqbroker_broker.workflow_verbs import WorkflowVerbs

log = logging.getLogger("tqbroker.broker")

SLICE = 2000
"""Jobs that one slice of upkeep may touch."""

READ_BYTES = 256 * 1024
"""Bytes that one slice of reading aims at."""

MAX_WATCHED = 2_000_000
"""Ids watched by all callers together."""


class Core:
    """One broker over one engine. `on_failure` is called once, when storage is lost and no OK may be said any more."""

    def __init__(
        self, engine: Engine, clock: Clock, config: BrokerConfig, on_failure: Callable[[Fenced], None]
    ) -> None:
        self.engine = engine
        self.config = config
        self.opened = Opened(b"", 0, [])
        self.started_ms = 0
        self.stopping = False
        self.sessions = Sessions()
        self.agenda = Agenda()
        self._guard = Guard(engine, clock, on_failure)
        self._guard.on_doubt = lambda: self.agenda.at_once(self.now())
        self._waiters = Waiters()
        self._dispatcher = Dispatcher(self._guard, self.sessions, self.agenda)
        self._inflight = InFlight(config.max_inflight_bytes)
        self.scheduler = Scheduler(self._guard, self._dispatcher, self._waiters, self.agenda, self._inflight)
        self.outcomes = Outcomes(self._guard, self._dispatcher, self._waiters, self.agenda)
        self.workers = Workers(
            self._guard, self.sessions, self._dispatcher, self._waiters, self.agenda, self.scheduler, self.outcomes
        )
        self.orders = Orders(self._guard, self._dispatcher, self.agenda, self._inflight)
        self.workflows = WorkflowVerbs(self._guard, self._dispatcher, self.agenda, self._inflight)
        self.commands = Commands(self.sessions)
        self.feed = Feed()
        self.backups = Backups(self._guard)

    def now(self) -> Time:
        """The time, as the core sees it."""
        return self._guard.now()

    @property
    def failed(self) -> bool:
        """Whether storage is lost."""
        return self._guard.failed

    async def open(self) -> Opened:
        """Opens the store. Raises CannotOpen."""
        now = self.now()
        self.opened = await self.engine.open(now)
        self.engine.on_events = self.feed.wake
        self.workers.store = self.opened.store
        self.scheduler.opened(now)
        self.started_ms = now.wall_ms
        return self.opened

    # -- jobs --------------------------------------------------------------------------------------------------------

    async def enqueue(self, batches: Sequence[NewJobs], size: int, now: Time) -> list[Enqueued]:
        """Stores jobs of `size` bytes in all and hands out what is ready. Raises Stopping, Busy, StoreFull.

        Not to be cancelled: others wait for what is stored, or for the end of what has to make room for it.
        """
        if self.stopping:
            raise Stopping("the broker is stopping and takes no new work: send again in a moment")
        self._inflight.enter(size)
        try:
            answers = await self._guard.do(self.engine.enqueue(batches, now))
            hit("after_commit_before_reply")
        finally:
            self._inflight.leave(size)
        for batch, answer in zip(batches, answers, strict=True):
            if batch.due_ms:
                self.agenda.due_at(batch.due_ms, now)
            if answer.final:
                self._waiters.ended(answer.final)
                self._dispatcher.wake_queues(answer.woken)
        self._dispatcher.wake_queues({batch.head.queue for batch in batches if not batch.due_ms})
        await self._dispatcher.run()
        return answers

    async def cancel(self, ids: Sequence[JobId], *, terminate: bool = False, signal: str = "") -> CancelAnswer:
        """Cancels waiting jobs, marks running ones and tells their workers, which stop them by force if `terminate`.

        It goes on when its caller goes away, so that whoever waits for these jobs hears of their end.
        """
        return await settled(self._cancel(ids, terminate, signal))

    async def _cancel(self, ids: Sequence[JobId], terminate: bool, signal: str) -> CancelAnswer:
        self._inflight.enter(0)
        try:
            answer = await self._guard.do(self.engine.cancel(ids, self.now(), terminate=terminate))
        finally:
            self._inflight.leave(0)
        effects = zip(ids, answer.effects, strict=True)
        ended = {job for job, effect in effects if effect is Cancelled.CANCELLED}.union(answer.final)
        self._waiters.ended(ended)
        if answer.final:  # of a chain that is cancelled as a whole all but the first have ended with the first
            effects = zip(ids, answer.effects, strict=True)
            answer = answer._replace(effects=[Cancelled.CANCELLED if job in ended else was for job, was in effects])
        for worker, tokens in answer.tokens.items():
            session = self.sessions.by_name.get(worker)
            if session is not None:
                session.cancel(tokens, terminate=terminate, signal=signal)
        return answer

    async def forget(self, ids: Sequence[JobId]) -> int:
        """Drops results of final jobs. Returns how many."""
        return await self._guard.do(self.engine.forget(ids, self.now()))

    async def get(
        self,
        ids: Sequence[JobId],
        *,
        with_args: bool = False,
        with_attempts: bool = False,
        with_children: bool = False,
    ) -> list[Job]:
        """What is known of a few ids."""
        wanted = {"with_args": with_args, "with_attempts": with_attempts, "with_children": with_children}
        return await self._guard.do(self.engine.get(ids, **wanted))

    async def ended(self, ids: Sequence[JobId]) -> list[Job]:
        """What is known of those of a few ids that have ended, or are not known."""
        return await self._guard.do(self.engine.ended(ids))

    async def read(
        self, ids: Sequence[JobId], *, with_args: bool = False, with_children: bool = False
    ) -> AsyncIterator[list[Job]]:
        """What is known of many ids, in slices small enough that large results do not pile up in memory."""
        start, count = 0, 16
        while start < len(ids):
            jobs = await self.get(ids[start : start + count], with_args=with_args, with_children=with_children)
            start += count
            size = sum(len(job.result) + len(job.args) + 17 * len(job.children) for job in jobs)
            count = min(count * 2, 512) if size < READ_BYTES else max(count // 4, 1)
            yield jobs

    def waits_for(self, job: Job) -> str:
        """What a WAITING job waits for, or why a QUEUED one is not handed out, in words; empty when it is just next."""
        if job.state is State.WAITING:
            return waits_for(job)
        if job.state is not State.QUEUED or job.head is None:
            return ""
        return "recovering" if job.recovering else job.held_by or self.sessions.lack(job.head)

    async def stats(self) -> Stats:
        """Counts by queue and state, and the fill of the store."""
        return await self._guard.do(self.engine.stats())

    # -- waiting -----------------------------------------------------------------------------------------------------

    def watch(self, watcher: Watcher, ids: Sequence[JobId]) -> None:
        """The watcher hears of the end of these ids. Raises Busy when too many are watched."""
        limit = self.config.max_watched
        if len(watcher.ids) + len(ids) > limit or len(self._waiters) + len(ids) > MAX_WATCHED:
            raise Busy(
                f"one call may watch {limit} ids at a time and all together {MAX_WATCHED}: unwatch some, or wait"
            )
        self._waiters.watch(watcher, ids)

    def unwatch(self, watcher: Watcher, ids: Sequence[JobId]) -> None:
        """The watcher does not care any more."""
        self._waiters.unwatch(watcher, ids)

    def unwatch_all(self, watcher: Watcher) -> None:
        """The watcher is gone."""
        self._waiters.leave(watcher)

    # -- time --------------------------------------------------------------------------------------------------------

    async def tick(self) -> float:
        """What time asks for, one slice of each kind. Returns the seconds until it wants to be called again.

        It wants to be called earlier when `agenda.on_earlier` is; `agenda.left` then says how much.
        """
        now = self.now()
        if self.agenda.takes_again(now):
            self._dispatcher.wake_all()
            await self._dispatcher.run()
        else:
            await self._upkeep(now)
        return self.agenda.left(self.now())

    async def _upkeep(self, now: Time) -> None:
        self.agenda.begin()
        self._guard.beat(now)
        more = await self.scheduler.run(now)
        due = await self._due(now)
        self.outcomes.spare()
        expired = await self._guard.do(self.engine.expire(now, SLICE))
        self._after_expire(expired)
        self._dispatcher.wake_all()  # a net under every other wake: recovery over, space free again, a caller cancelled
        self.agenda.plan(now, 0.0 if more or due.more or expired.more else self._recovery(now), due.next_ms)
        await self._dispatcher.run()
        self.agenda.passed()

    async def _due(self, now: Time) -> Due:
        """Moves what is due. When there is no room for that, `expire` makes some: the next tick tries again."""
        try:
            due = await self._guard.do(self.engine.due(now, SLICE))
        except Unavailable as error:
            log.warning("jobs that are due have to wait: %s", error)
            return Due(frozenset(), False, 0)
        self._waiters.ended(due.final)
        if due.woken:
            hit("in_due")
            self._dispatcher.wake_queues(due.woken)
        return due

    def _after_expire(self, expired: Expired) -> None:
        if expired.final or expired.woken or expired.lost_workers:
            hit("in_expire")
        self._waiters.ended(expired.final)
        self._dispatcher.wake_queues(expired.woken)
        self.workers.lost(expired.lost_workers)

    def _recovery(self, now: Time) -> float:
        return self.engine.recovery_left(now) or PAUSE

    # -- the end -----------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Takes no new work, hands out nothing, tells the workers, and waits for what is in flight."""
        self.stopping = self.workers.stopping = self.workflows.stopping = self.backups.stopping = True
        self._dispatcher.stopped = self.scheduler.stopped = True
        self.feed.close()
        for session in list(self.sessions.by_name.values()):
            session.stop()
        await self._inflight.quiet()
        for session in list(self.sessions.by_name.values()):
            await session.outcomes.quiet()

    async def close(self) -> None:
        """Releases the store."""
        await self.engine.close()
