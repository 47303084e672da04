"""The verbs of the seam, each a call into the room that does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tqbroker_broker import workflows
from tqbroker_broker.aging import Aging
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
from tqbroker_broker.lifecycle import FINAL, next_epoch, stall
from tqbroker_broker.questions import Change, EditAnswer, Effect, EventPage, Filter, Page
from tqbroker_broker.records import JobId, NewJobs, State, Time
from tqbroker_broker.rules import LimitRule, LimitState, QueueRule
from tqbroker_broker.schedules import Fire, FireAnswer, ScheduleState
from tqbroker_broker.storage import Unavailable
from tqbroker_broker.storage.memory.admission import Admission
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.finals import Finals
from tqbroker_broker.storage.memory.firing import Firing
from tqbroker_broker.storage.memory.handout import Handout
from tqbroker_broker.storage.memory.inputs import Inputs
from tqbroker_broker.storage.memory.intake import Intake
from tqbroker_broker.storage.memory.joins import Joins
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.membership import Membership
from tqbroker_broker.storage.memory.merging import Merging
from tqbroker_broker.storage.memory.orders import Orders
from tqbroker_broker.storage.memory.outcomes import Outcomes
from tqbroker_broker.storage.memory.overview import Overview
from tqbroker_broker.storage.memory.places import Places
from tqbroker_broker.storage.memory.reading import Reading
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.settings import Settings
from tqbroker_broker.storage.memory.store import MemoryStore
from tqbroker_broker.storage.memory.submission import Submission
from tqbroker_broker.storage.memory.upkeep import Upkeep
from tqbroker_broker.workflows import Members, NodePage, Part, PartAnswer, WorkflowPage, WorkflowState


def _nobody_listens() -> None:
    return


class MemoryEngine:
    """The seam's reference: no bytes, no threads, no cleverness. A second engine over one `store` is a restart.

    `rest` (of the URL) is not used. `store` is what an earlier engine left; by default a new one.
    """

    durability = "none: everything is lost when the broker stops"

    def __init__(self, rest: str, config: StorageConfig, *, store: MemoryStore | None = None) -> None:
        self.store = store = store or MemoryStore()
        self.on_events: Callable[[], None] = _nobody_listens
        self._config = config
        self._last_beat: float | None = None
        self._book = book = Book()
        self._recovery = recovery = Recovery()
        self._log = log = EventLog(store, config, lambda: self.on_events())
        finals, self._inputs = Finals(store, book, config), (inputs := Inputs(store))
        joins = Joins(store, finals, inputs, log, config)
        merging = Merging(store, finals, joins, config)
        attempts = Attempts(store, finals, joins, merging, recovery, log, config)
        self._admission = Admission(store, book, recovery)
        self._aging = aging = Aging(max(config.result_ttl, config.dedup_window), store.held)
        self._upkeep = Upkeep(store, book, recovery, attempts, self._admission, aging, log, config)
        self._membership = Membership(store, book, recovery, attempts, self._admission, self._upkeep, log, config)
        self._intake = Intake(store, attempts, recovery, log)
        self._firing = Firing(store, attempts, self._intake)
        self._submission = Submission(store, book, self._intake, joins, merging, config)
        self._reading = Reading(store, book, recovery, attempts, self._admission)
        self._overview = Overview(store, self._reading, config)
        places = Places(store, inputs)
        self._handout = Handout(store, book, recovery, self._admission, places, log)
        self._outcomes = Outcomes(store, book, attempts)
        self._orders = Orders(store, book, recovery, attempts, aging, log, config)
        self._settings = Settings(store)

    async def open(self, now: Time) -> Opened:
        self._book.epoch = self.store.epoch = next_epoch(self.store.epoch, now.wall_ms)
        self._recovery.awaited.update(self.store.workers)
        self._recovery.listed.update(self.store.workers)
        self._recovery.ends = now.mono + self._config.lease_ttl
        self._recovery.last_number = self.store.number
        self._admission.open(now)
        self._aging.see(now)
        return Opened(self.store.id, self.store.epoch, sorted(self.store.workers))

    async def close(self) -> None:
        return

    def beat(self, now: Time) -> float:
        stalled = stall(now.mono - self._last_beat) if self._last_beat is not None else 0.0
        self._last_beat = now.mono
        self._admission.now = now
        self._recovery.ends += stalled
        for connection in self._book.connections.values():
            connection.deadline += stalled
        return stalled

    # -- workers ---------------------------------------------------------------------------------------------------

    async def join(self, worker: str, instance: bytes, held: Sequence[Held], now: Time) -> Joined:
        joined = self._membership.join(worker, instance, held, now)
        self._log.commit(now.wall_ms)
        return joined

    def part(self, worker: str, instance: bytes, now: Time) -> None:
        self._membership.part(worker, instance, now)

    async def leave(self, worker: str, instance: bytes, now: Time) -> frozenset[str]:
        woken = self._membership.leave(worker, instance)
        self._log.commit(now.wall_ms)
        return woken

    def extend(self, worker: str, instance: bytes, now: Time) -> None:
        self._membership.extend(worker, instance, now)

    def spare(self, worker: str, instance: bytes, now: Time) -> None:
        self._membership.spare(worker, instance, now)

    def marks(self, worker: str) -> dict[int, Mark]:
        return self._membership.marks(worker)

    def workers(self) -> list[WorkerRow]:
        return self._membership.workers()

    def recovery_left(self, now: Time) -> float:
        return self._recovery.left(now.mono)

    # -- the life of a job -------------------------------------------------------------------------------------------

    async def enqueue(self, batches: Sequence[NewJobs], now: Time) -> list[Enqueued]:
        answers = self._intake.enqueue(batches, now)
        self._log.commit(now.wall_ms)
        return answers

    def has_ready(self, queues: Sequence[str], now: Time) -> bool:
        return self._handout.has_ready(queues)

    async def lease(self, wants: Sequence[Want], now: Time) -> HandedOut:
        handed_out = self._handout.lease(wants, now)
        self._log.commit(now.wall_ms)
        return handed_out

    async def finish(
        self, worker: str, successes: Sequence[Successes], endings: Sequence[Ending], now: Time
    ) -> Finished:
        finished = self._outcomes.finish(worker, successes, endings, now)
        self._log.commit(now.wall_ms)
        return finished

    async def release(self, worker: str, tokens: Sequence[int], now: Time) -> frozenset[str]:
        return self._outcomes.release(worker, tokens)

    async def annotate(self, worker: str, annotations: Sequence[Annotation], now: Time) -> dict[int, Refusal]:
        return self._outcomes.annotate(worker, annotations)

    async def cancel(self, ids: Sequence[JobId], now: Time, *, terminate: bool = False) -> CancelAnswer:
        answer = self._orders.cancel(ids, Mark.TERMINATE if terminate else Mark.ASKED, now)
        self._log.commit(now.wall_ms)
        return answer

    async def edit(self, ids: Sequence[JobId], change: Change, now: Time) -> EditAnswer:
        answer = self._orders.edit(ids, change, now)
        self._log.commit(now.wall_ms)
        return answer

    async def forget(self, ids: Sequence[JobId], now: Time) -> int:
        return self._orders.forget(ids, now)

    # -- rules -------------------------------------------------------------------------------------------------------

    async def put_queue(self, queue: str, rule: QueueRule | None, now: Time) -> None:
        self._settings.put_queue(queue, rule)

    def queue_rules(self) -> dict[str, QueueRule]:
        return dict(self.store.rules)

    async def put_limits(
        self, rules: Sequence[LimitRule], remove: Sequence[str], now: Time, *, operator: bool = True
    ) -> None:
        self._settings.put_limits(rules, remove, operator=operator)

    def limits(self) -> list[LimitState]:
        return self._admission.states()

    # -- workflows -------------------------------------------------------------------------------------------------

    async def submit(self, part: Part, now: Time) -> PartAnswer:
        answer = self._submission.submit(part, now)
        self._log.commit(now.wall_ms)
        return answer

    async def inputs(self, job: JobId, first: int) -> workflows.Inputs | None:
        return self._inputs.page(job, first)

    async def workflows(self, states: frozenset[WorkflowState], cursor: bytes, limit: int) -> WorkflowPage:
        return self._overview.workflows(states, cursor, limit)

    async def nodes(self, workflow: bytes, cursor: bytes, limit: int) -> NodePage | None:
        return self._overview.nodes(workflow, cursor, limit)

    async def drop_workflow(self, workflow: bytes, now: Time) -> Effect:
        return self._overview.drop_workflow(workflow)

    async def group(self, group: bytes, first: int, limit: int) -> Members | None:
        return self._overview.group(group, first, limit)

    async def save_group(self, group: bytes, ids: Sequence[JobId], now: Time) -> None:
        self._overview.save_group(group, ids, now)

    async def delete_group(self, group: bytes) -> bool:
        return self._overview.delete_group(group)

    # -- schedules -------------------------------------------------------------------------------------------------

    def schedules(self) -> list[ScheduleState]:
        return self._firing.schedules()

    async def put_schedules(self, put: Sequence[ScheduleState], remove: Sequence[str], now: Time) -> None:
        self._firing.put(put, remove)

    async def fire(self, fires: Sequence[Fire], now: Time) -> list[FireAnswer]:
        answers = self._firing.fire(fires, now)
        self._log.commit(now.wall_ms)
        return answers

    # -- upkeep ----------------------------------------------------------------------------------------------------

    async def due(self, now: Time, limit: int) -> Due:
        return self._upkeep.due(now, limit)

    async def expire(self, now: Time, limit: int) -> Expired:
        expired = self._upkeep.expire(now, limit)
        self._log.commit(now.wall_ms)
        return expired

    # -- reading ---------------------------------------------------------------------------------------------------

    async def get(
        self,
        ids: Sequence[JobId],
        *,
        with_args: bool = False,
        with_attempts: bool = False,
        with_children: bool = False,
    ) -> list[Job]:
        get = partial(self._reading.get, with_args=with_args, with_attempts=with_attempts, with_children=with_children)
        return [get(job) for job in ids]

    async def ended(self, ids: Sequence[JobId]) -> list[Job]:
        return [job for job in map(self._reading.get, ids) if job.state in FINAL or job.state is State.UNKNOWN]

    async def scan(self, wanted: Filter, cursor: bytes, limit: int, *, with_args: bool = False) -> Page:
        return self._reading.scan(wanted, cursor, limit, with_args=with_args)

    async def events(self, after: int, limit: int) -> EventPage:
        return self._log.read(after, limit)

    async def stats(self) -> Stats:
        return self._reading.stats()

    async def snapshot(self, now: Time) -> Snapshot:
        raise Unavailable(
            "this store is in memory only (memory:) and cannot be backed up: use lmdb: for what must last"
        )
