"""The storage seam: what an engine must do, and the choice of one by URL.

Everything above this line speaks in verbs of a job's life; group commit, leases, and the orders of ready and delayed
jobs are the engine's own affair. Nothing above may know whether a lease costs a write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

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
from tqbroker_broker.questions import Change, EditAnswer, Effect, EventPage, Filter, Page
from tqbroker_broker.records import JobId, NewJobs, Time
from tqbroker_broker.rules import LimitRule, LimitState, QueueRule
from tqbroker_broker.schedules import Fire, FireAnswer, ScheduleState
from tqbroker_broker.workflows import Inputs, Members, NodePage, Part, PartAnswer, WorkflowPage, WorkflowState

if TYPE_CHECKING:
    from tqbroker_broker.config import StorageConfig


CRASH_FILE = "CRASH"
"""The word that a broker leaves in its data directory when something below it, or its storage, has ended it."""


class StorageError(Exception):
    """Something the store could not do. The message is for the operator."""


class Unavailable(StorageError):
    """Not done: nothing was changed; the same call may succeed later."""


class StoreFull(Unavailable):
    """Not done: the store is above its high-water mark and takes no new work until some is finished."""


class NoRoom(Unavailable):
    """Not done: the disk has no room for this beside the store."""


class Ambiguous(StorageError):
    """Perhaps done: call again with the same ids or tokens."""


class Fenced(StorageError):
    """This epoch is over: another broker has the store, or a commit failed. Stop serving."""


class CannotOpen(StorageError):
    """The store cannot be opened; the message says why and what to do."""


class NameTaken(StorageError):
    """Another live process has joined under this worker name."""


class QueueInUse(StorageError):
    """The queue has jobs that are not finished, so it cannot be removed."""


class Engine(Protocol):
    """The verbs of a job's life, batched.

    Every write returns only when it is durable, answers item by item in input order, and is safe to repeat. `now` is
    passed in. Three errors cross: Ambiguous, Unavailable (with StoreFull), Fenced.
    """

    durability: str
    """What "durable" means here, in words for the operator."""

    on_events: Callable[[], None]
    """Called on the event loop when events were added to the log; the caller of `events` sets it."""

    async def open(self, now: Time) -> Opened:
        """Checks and opens the store, raises the epoch durably. Raises CannotOpen."""
        ...

    async def close(self) -> None:
        """Finishes the commit under way and releases the store."""
        ...

    def beat(self, now: Time) -> float:
        """Called about once a second: notices when the broker itself stalled, and extends every lease by that.

        Returns the seconds by which leases were extended (0.0 when all is well).
        """
        ...

    # -- workers ---------------------------------------------------------------------------------------------------

    async def join(self, worker: str, instance: bytes, held: Sequence[Held], now: Time) -> Joined:
        """A worker's stream opened: it is in the durable list from now on, and keeps those of `held` still its own.

        The same instance resumes its leases; another instance under the name is the old worker back, holding nothing.
        Leases of the worker that are not in `held` go back to their queue, uncounted when the same instance came back
        and as lost ones when it is a new process. Raises NameTaken when the name's other instance is connected.
        """
        ...

    def part(self, worker: str, instance: bytes, now: Time) -> None:
        """The worker's stream broke. It has the grace to come back before its leases are lost."""
        ...

    async def leave(self, worker: str, instance: bytes, now: Time) -> frozenset[str]:
        """The worker goes for good: off the durable list; what it still held returns uncounted. Gives woken queues."""
        ...

    def extend(self, worker: str, instance: bytes, now: Time) -> None:
        """Keeps all leases of this worker alive for another TTL; without effect after `part`, until it joins again."""
        ...

    def spare(self, worker: str, instance: bytes, now: Time) -> None:
        """This worker keeps its leases for the grace at least, whether or not its stream broke.

        For one that is back and has not joined yet, or whose outcomes wait to be stored. Without effect on one that has
        not joined since the start.
        """
        ...

    def marks(self, worker: str) -> dict[int, Mark]:
        """The leases of this worker whose jobs somebody cancelled, by token, with what was asked for."""
        ...

    def workers(self) -> list[WorkerRow]:
        """Every worker in the durable list."""
        ...

    def recovery_left(self, now: Time) -> float:
        """Seconds until jobs from before the start are handed out although a worker is missing; 0.0 when over."""
        ...

    # -- the life of a job -------------------------------------------------------------------------------------------

    async def enqueue(self, batches: Sequence[NewJobs], now: Time) -> list[Enqueued]:
        """Stores jobs, each seeing what those before it have left. Raises StoreFull.

        Three questions in this order. A known id: DUPLICATE with the same digest, else CONFLICT. A unique key that
        another job holds (`lifecycle.holds_key`, a leased job being RUNNING): KEPT or NOT_UNIQUE; REPLACE cancels a
        holder that is SCHEDULED or QUEUED and that no awaited worker may have, anything else is NOT_UNIQUE. A queue
        with `max_length` jobs QUEUED or SCHEDULED, a job to be replaced not counted: QUEUE_FULL; with DROP_OLDEST the
        oldest job QUEUED over all lanes, not to be cancelled and in no awaited worker's hands for all we know, becomes
        FAILED; if there is none it is QUEUE_FULL. A job that takes a key over has it, whatever becomes of its holder.
        """
        ...

    def has_ready(self, queues: Sequence[str], now: Time) -> bool:
        """Whether `lease` may have a job of these queues for anybody, or say when a rate admits more.

        Costs next to nothing, so that nobody is asked for in vain; True when that does not tell.
        """
        ...

    async def lease(self, wants: Sequence[Want], now: Time) -> HandedOut:
        """Hands out jobs, for each want in turn.

        The highest priority goes first, over all queues of the want. Each queue that has a job of that priority for the
        worker names one: of the tenant whose turn it is (`shares.Shares`) the oldest head among the lanes that nothing
        holds. The oldest of those named is handed out, and only its tenant's turn is used. A job that has expired or is
        to be cancelled is never handed out, but may count as the head of its lane until `expire` has ended it.

        A lane is held while its queue is paused; while a lease of its queue has its ordering key; while a limit of its
        jobs (`limits.limit_names`, `limits.rule_for`) has as many leases under that concrete name as it may, or no room
        in the window of a rate (`windows.Window`; the spend is durable before the job is handed out). While workers are
        awaited after a start, all lanes with an ordering key or under a concurrency are held.
        """
        ...

    async def finish(
        self, worker: str, successes: Sequence[Successes], endings: Sequence[Ending], now: Time
    ) -> Finished:
        """Stores outcomes: lease gone, result, counts, retry, history, all in one commit.

        `lifecycle.after_attempt` says where a job goes, `past_attempt` and `kept_attempts` what its history keeps. A
        lost job keeps its place; one that is retried at once or put back goes to the end of its lane.

        REPLACED makes the held workflow live: its nodes join the workflow of the job, which gets one if it has none;
        the node that takes over gives the job its head, arguments and the join it waits for. Counters begin anew, the
        job's own memberships, id and progress stay. Without such a workflow it is LOST.
        """
        ...

    async def release(self, worker: str, tokens: Sequence[int], now: Time) -> frozenset[str]:
        """Unstarted jobs go back to their place, uncounted. Returns the woken queues; unknown tokens are ignored."""
        ...

    async def annotate(self, worker: str, annotations: Sequence[Annotation], now: Time) -> dict[int, Refusal]:
        """Stores progress and checkpoints of running attempts. Says of each token that is not the worker's why not.

        Raises StoreFull when the outcomes of all running jobs might have no room any more.
        """
        ...

    async def cancel(self, ids: Sequence[JobId], now: Time, *, terminate: bool = False) -> CancelAnswer:
        """Cancels waiting jobs; marks running and recovering ones durably. A mark is raised, never lowered."""
        ...

    async def edit(self, ids: Sequence[JobId], change: Change, now: Time) -> EditAnswer:
        """What an operator orders: redrives, reschedules, moves or drops jobs, each if its state allows it.

        UNKNOWN without a job; RUNNING when it is leased, or an awaited worker may have it; WRONG_STATE when the change
        is not for its state, or a cancel mark waits to end it. The lengths of queues bound nothing here.
        """
        ...

    async def forget(self, ids: Sequence[JobId], now: Time) -> int:
        """Drops results and bodies of final jobs; the ids stay remembered. Returns how many were dropped."""
        ...

    # -- rules -------------------------------------------------------------------------------------------------------

    async def put_queue(self, queue: str, rule: QueueRule | None, now: Time) -> None:
        """Sets a queue's rule durably; None removes it. Raises QueueInUse when there are jobs that are not final."""
        ...

    def queue_rules(self) -> dict[str, QueueRule]:
        """The rules that are not the default."""
        ...

    async def put_limits(
        self, rules: Sequence[LimitRule], remove: Sequence[str], now: Time, *, operator: bool = True
    ) -> None:
        """Sets and removes limits durably. An app's (not `operator`) changes nothing that an operator has set.

        A rule without concurrency and rates admits everything; an operator's stays nevertheless, against the app's.
        """
        ...

    def limits(self) -> list[LimitState]:
        """Every limit, by name."""
        ...

    # -- workflows -----------------------------------------------------------------------------------------------------

    async def submit(self, part: Part, now: Time) -> PartAnswer:
        """Stores a part of a workflow, all of it or nothing. Raises StoreFull.

        With its last part a workflow is live, unless it is held: nodes that wait for no join are SCHEDULED or QUEUED in
        that commit, all others WAITING. Before it, all are WAITING. A node whose id is known is CONFLICT, one whose
        unique key is held NOT_UNIQUE; nodes that wait for no join count against `max_length` and are QUEUE_FULL, with
        DROP_OLDEST too; a refused job leaves nothing to those after it. Followers come after their members. An upload
        is dropped `upload_ttl` after its newest part; its ids are free then. Until it is live its jobs only wait: they
        do not expire, and a cancel is PENDING.

        `beside` adds a complete workflow of one part to that of a running job, which gets one if it has none: its
        nodes belong to that then, and those marked become members of the open joins of LIST shape of that job.

        When a job that is a member of joins ends, by whatever verb, `turn` says what follows in the same
        commit. RELEASE: the followers become QUEUED at the end of their lane, or SCHEDULED; lengths of queues bound
        nothing; inputs above `max_inputs_size` FAIL them (`inputs_too_large`). BREAK: they end as the member did, with
        `follower_failure` (with `Copies`), as deep as it goes; SPARE: CANCELLED without failure. When more than
        `group_limit` jobs end so, `expire` may go on with those beyond; no node is redriven meanwhile (Unavailable).
        This is settled after each item of a verb, by `finish` and `join` after all, from near to far: first first, its
        joins in the order of `member_of`, their followers in the order they were sent. Followers that have ended by
        themselves are left alone, and members count (`counts`) also when their join is decided. A join is
        decided once, unless `edit` opens it again. A node that was FAILED by itself may be redriven: what ended because
        of it waits again, without a moment to expire, once no other member is in the way (one that ended without
        success, or was dropped so): till then that member is the cause. Error callbacks that were released stay so.

        Nothing of a workflow is dropped before all of it has ended, and all of it at once when the latest moment has
        come until which any of its jobs was to be kept. `forget` and Drop leave its jobs alone (HELD) unless all have
        ended; nothing is redriven in a workflow that is being dropped (UNKNOWN), nor a part taken (OUT_OF_ORDER).
        """
        ...

    async def inputs(self, job: JobId, first: int) -> Inputs | None:
        """Values that a job is handed, from an index on, about 1 MiB of them; None when it is handed none.

        `lease` hands them over with the job when they and 64 bytes for each take at most 1 MiB, else none of them.
        """
        ...

    async def workflows(self, states: frozenset[WorkflowState], cursor: bytes, limit: int) -> WorkflowPage:
        """Some workflows in these states (none: all); looks at a bounded number. Raises ValueError for a bad cursor."""
        ...

    async def nodes(self, workflow: bytes, cursor: bytes, limit: int) -> NodePage | None:
        """Some nodes of a workflow; None when there is no such. Raises ValueError for a bad cursor."""
        ...

    async def drop_workflow(self, workflow: bytes, now: Time) -> Effect:
        """Drops a workflow with all its jobs: WRONG_STATE while some have not ended. `expire` does the work."""
        ...

    async def group(self, group: bytes, first: int, limit: int) -> Members | None:
        """Some members of a group of a live workflow, or of one that was saved; None when there is no such."""
        ...

    async def save_group(self, group: bytes, ids: Sequence[JobId], now: Time) -> None:
        """Remembers a list of jobs for `result_ttl`, in place of what was saved under this id. Raises StoreFull."""
        ...

    async def delete_group(self, group: bytes) -> bool:
        """Forgets a group that was saved. Returns whether there was one."""
        ...

    # -- schedules -----------------------------------------------------------------------------------------------------

    def schedules(self) -> list[ScheduleState]:
        """Every schedule, by name."""
        ...

    async def put_schedules(self, put: Sequence[ScheduleState], remove: Sequence[str], now: Time) -> None:
        """Stores schedules as they are given, and removes those of these names, in one commit."""
        ...

    async def fire(self, fires: Sequence[Fire], now: Time) -> list[FireAnswer]:
        """Submits what schedules plan, each firing once: job, ledger and next moment in one commit.

        One that is not stored any more with this `born_ms`, or paused, is `gone`; a moment at or before its `last_ms`
        is passed over. `schedules.may_fire` decides with the states of its `recent` jobs; what it forbids, and what a
        full queue or a unique key refuses, counts as skipped.
        """
        ...

    # -- upkeep: bounded slices, harmless when repeated ---------------------------------------------------------------

    async def due(self, now: Time, limit: int) -> Due:
        """Moves at most `limit` scheduled jobs whose time has come into their queues."""
        ...

    async def expire(self, now: Time, limit: int) -> Expired:
        """One slice of endings by time: lost workers' leases, jobs past their expiry, results past their retention.

        What a recovery kept for workers that a slice gives up is for the next one: until then they are on the list.
        """
        ...

    # -- reading -------------------------------------------------------------------------------------------------------

    async def get(
        self,
        ids: Sequence[JobId],
        *,
        with_args: bool = False,
        with_attempts: bool = False,
        with_children: bool = False,
    ) -> list[Job]:
        """What is known of these ids, in order; a never-seen id is UNKNOWN."""
        ...

    async def ended(self, ids: Sequence[JobId]) -> list[Job]:
        """What is known of those of these ids that are final or UNKNOWN, in order. Costs little for the others."""
        ...

    async def scan(self, wanted: Filter, cursor: bytes, limit: int, *, with_args: bool = False) -> Page:
        """Jobs that match, from a cursor of the same filter on (empty: from the start); looks at a bounded number.

        At least one that matches is in a page, however large, unless the page ends before it.
        """
        ...

    async def events(self, after: int, limit: int) -> EventPage:
        """The events with numbers above `after`: whole values until there are about `limit` events.

        The first value begins right after the cursor. Numbers have no gaps and the order of the commits; the events of
        one job stand in their order (`lifecycle.events_of`). STARTED may come with the next commit.
        """
        ...

    async def stats(self) -> Stats:
        """Counts by queue and state, and the fill of the store."""
        ...

    async def snapshot(self, now: Time) -> Snapshot:
        """A consistent copy of the store: every commit before the call is in it, none after is in part.

        One at a time, beside everything else. It ends when its caller goes away. Raises Unavailable, NoRoom.
        """
        ...


# Scheme of the storage URL -> "module:class". Engines are imported only when chosen.
ENGINES = {
    "lmdb": "tqbroker_broker.storage.lmdb.engine:LmdbEngine",
    "memory": "tqbroker_broker.storage.memory:MemoryEngine",
}


def create_engine(url: str, config: StorageConfig) -> Engine:
    """The engine for `lmdb:PATH` or `memory:`, not opened yet."""
    scheme, _, rest = url.partition(":")
    if scheme not in ENGINES:
        raise CannotOpen(f"unknown storage {url!r}: use one of {', '.join(f'{s}:' for s in ENGINES)}")
    module, _, name = ENGINES[scheme].partition(":")
    engine: Engine = getattr(import_module(module), name)(rest, config)
    return engine
