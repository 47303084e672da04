"""Clients who do everything a client can, at once, and write down what they ask and what they are told."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from random import Random

from tests.acceptance.harness.waiting import PATIENCE
from tests.acceptance.harness.wire import Wire
from tests.crash.powercut import claims
from tests.crash.powercut.claims import Claim, args_of
from tests.crash.powercut.judge import TICK
from tests.crash.powercut.trace import Marks

from tqbroker.v1 import admin_pb2, job_pb2, queue_pb2, schedule_pb2, workflow_pb2
from tqbroker_broker.records import State

TASK, WORKED, PARKED, OTHER = "tasks.work", "default", "parked", "other"
"""Workers take from WORKED only: in the other queues jobs wait until somebody cancels or moves them."""

UNIQUE = job_pb2.Traits(
    unique=job_pb2.Unique(until=job_pb2.UNIQUE_UNTIL_FINISHED, conflict=job_pb2.UNIQUE_CONFLICT_REJECT)
)


class Board:
    """What clients and workers of one recording know in common."""

    def __init__(self, wire: Wire, marks: Marks) -> None:
        self.wire = wire
        self.ended: deque[bytes] = deque()
        """Jobs without a workflow whose outcome was acknowledged."""
        self.alone: set[bytes] = set()
        """Jobs that were submitted without one."""
        self.retries: Counter[bytes] = Counter()
        self.said: Counter[bytes] = Counter()
        """Of each job, whoever has it: one worker at a time."""
        self._marks = marks

    def write(self, *said: Claim) -> None:
        """Marks in the log. What is asked is written before the request, what is told after the reply."""
        self._marks.write(claims.encode(said))


class Client:
    """One thread: `steps` requests, drawn from a seed."""

    def __init__(self, board: Board, seed: int, number: int) -> None:
        self._board = board
        self._queue, self._admin = board.wire.queue, board.wire.admin
        self._random = Random(f"{seed} {number}")
        self._number = number
        self._parked: list[bytes] = []
        self._plans: list[tuple[str, int]] = []
        self._steps: list[tuple[int, Callable[[], None]]] = [
            (30, self._one), (20, self._batch), (8, self._later), (14, self._workflow), (8, self._park),
            (6, self._cancel), (6, self._move), (8, self._unique), (6, self._plan), (2, self._unplan),
            (5, self._forget),
        ]  # fmt: skip

    def run(self, steps: int) -> None:
        """To the end, or to the first error."""
        weights = [weight for weight, _ in self._steps]
        for _, step in self._random.choices(self._steps, weights, k=steps):
            step()

    def _ids(self, count: int) -> list[bytes]:
        return [self._random.randbytes(16) for _ in range(count)]

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def _one(self) -> None:
        self._submit(self._ids(1), priority=self._random.choice((0, 0, 5)))

    def _batch(self) -> None:
        self._submit(self._ids(self._random.randint(2, 12)))

    def _later(self) -> None:
        self._submit(self._ids(1), countdown_ms=self._random.randint(20, 300))

    def _park(self) -> None:
        self._parked += self._submit(self._ids(3), queue=PARKED)

    def _unique(self) -> None:
        key, (job,) = self._random.randbytes(16), self._ids(1)
        self._submit([job], queue=PARKED, traits=UNIQUE, unique_keys=[key])
        self._board.write(claims.Keyed(key, job))

    def _submit(self, ids: list[bytes], **options: object) -> list[bytes]:
        self._board.write(claims.Asked(ids))
        self._board.alone.update(ids)
        response = self._queue.Enqueue(queue_pb2.EnqueueRequest(batches=[batch(ids, **options)]), timeout=PATIENCE)
        assert response.stored == len(ids), response
        self._board.write(claims.Stored(ids))
        return ids

    def _cancel(self) -> None:
        if self._parked:
            job = self._parked.pop()
            response = self._queue.Cancel(queue_pb2.CancelRequest(ids=column([job])), timeout=PATIENCE)
            assert list(response.effects) == [queue_pb2.CANCEL_EFFECT_CANCELLED], response
            self._board.write(claims.Ended(job, State.CANCELLED))

    def _move(self) -> None:
        if self._parked:
            job = self._parked.pop()
            request = admin_pb2.EditJobsRequest(ids=column([job]), move=admin_pb2.Move(queue=OTHER))
            response = self._admin.EditJobs(request, timeout=PATIENCE)
            assert [edited.effect for edited in response.jobs] == ["moved"], response
            self._board.write(claims.Moved(job, OTHER))

    def _forget(self) -> None:
        if self._board.ended:
            job = self._board.ended.popleft()
            self._board.write(claims.Leaving(job))
            response = self._queue.Forget(queue_pb2.ForgetRequest(ids=column([job])), timeout=PATIENCE)
            assert response.forgotten == 1, response
            self._board.write(claims.Gone(job))

    # -- workflows -----------------------------------------------------------------------------------------------------

    def _workflow(self) -> None:
        """A group, a chord or a chain: some jobs, and perhaps one that waits for all, and one that waits for it."""
        members = self._ids(self._random.randint(2, 8))
        rest = self._ids(self._random.randint(0, 2))
        joins = [join(1)]
        nodes = [workflow_pb2.NodeBatch(jobs=batch(members), member_of=[1])]
        for number, job in enumerate(rest, 1):
            of = [number + 1] if number < len(rest) else []
            joins += map(join, of)
            nodes.append(workflow_pb2.NodeBatch(jobs=batch([job]), after=number, member_of=of))
        self._board.write(claims.Asked(members + rest))
        part = workflow_pb2.WorkflowPart(workflow=self._ids(1)[0], last=True, joins=joins, nodes=nodes)
        response = self._queue.SubmitWorkflow(queue_pb2.SubmitWorkflowRequest(part=part), timeout=PATIENCE)
        assert response == queue_pb2.SubmitWorkflowResponse(), response
        self._board.write(claims.Stored(members + rest))

    # -- schedules -----------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """A new schedule, or a longer interval for one that is there. The first one fires soon."""
        if self._plans and self._random.random() < 0.3:
            name, every = self._plans.pop()
        else:
            name, every = f"plan-{self._number}-{self._random.getrandbits(40)}", 1000 if not self._number else 60_000
        job = job_pb2.JobBatch(task=TICK, format="json", args=[b"[[],{}]"])
        schedule = schedule_pb2.Schedule(name=name, every_ms=every + 1, job=job)
        self._admin.SetSchedules(admin_pb2.SetSchedulesRequest(put=[schedule]), timeout=PATIENCE)
        self._board.write(claims.Planned(name, every + 1))
        self._plans.append((name, every + 1))

    def _unplan(self) -> None:
        if self._plans:
            name, _ = self._plans.pop()
            self._board.write(claims.Removing(name))
            self._admin.SetSchedules(admin_pb2.SetSchedulesRequest(remove=[name]), timeout=PATIENCE)
            self._board.write(claims.Removed(name))


def batch(ids: list[bytes], **options: object) -> job_pb2.JobBatch:
    """Jobs whose arguments follow from their ids."""
    fields = {"task": TASK, "queue": WORKED, "format": "json", **options}
    return job_pb2.JobBatch(ids=column(ids), args=[args_of(job) for job in ids], **fields)  # type: ignore[arg-type]


def join(number: int) -> workflow_pb2.Join:
    """Something to wait for: the success of all members."""
    return workflow_pb2.Join(number=number, on=workflow_pb2.JOIN_ON_SUCCESS, shape=workflow_pb2.JOIN_SHAPE_LIST)


def column(ids: list[bytes]) -> job_pb2.Ids:
    """Ids as a request has them."""
    return job_pb2.Ids(uuids=b"".join(ids))


def run_clients(board: Board, seed: int, count: int, steps: int) -> None:
    """Runs so many clients at once to their ends. Fails with the first error of any."""
    errors: list[BaseException] = []

    def run(client: Client) -> None:
        try:
            client.run(steps)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(Client(board, seed, number),)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
