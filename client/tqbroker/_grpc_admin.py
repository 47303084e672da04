"""An operator's calls over the connection that this process has to the broker."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import grpc

from tqbroker._grpc_backup import backup
from tqbroker._grpc_connection import Connection, Stubs
from tqbroker._grpc_errors import again, operational, understood
from tqbroker.admin_messages import (
    edit_request,
    edited,
    events,
    filter_message,
    limit_info,
    limit_message,
    queue_request,
    queue_rule,
    replies,
)
from tqbroker.ids import Key, text_of
from tqbroker.messages import job_info
from tqbroker.operations import (
    Backup,
    Change,
    Edited,
    Event,
    EventKind,
    EventsLost,
    JobFilter,
    LimitInfo,
    LimitRule,
    QueueChange,
    QueueRule,
    Replies,
)
from tqbroker.saving import BackupTarget
from tqbroker.schedule_messages import preview, schedule_message, schedule_state
from tqbroker.schedule_values import Declared, Preview, ScheduleState
from tqbroker.transport import JobInfo
from tqbroker.v1 import admin_pb2 as pb
from tqbroker.workflow_info import JoinState, Node, WorkflowInfo, WorkflowOrder, WorkflowState, WorkflowView
from tqbroker.workflow_messages import join_state, node, workflow_info

PAGE = 500
"""Jobs in one answer of a list."""

MOST_EDITED = 1000
"""Jobs that one call of an order looks at."""

MOST_IDS = 2000
"""Ids in one call of an order."""

_PAUSE = 0.2
"""Seconds before a watch that broke is opened again."""


class GrpcOperator:
    """What an operator can ask and order. `timeout` is in seconds for each call; OperationalError when it has passed.

    Lists and orders over many jobs are cut into calls of bounded size; what came before a broken one stays done.
    """

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def job(self, key: Key) -> JobInfo:
        """One job with everything known of it; its phase is UNKNOWN when the id was never seen."""
        answer = self._ask("GetJob", pb.GetJobRequest(id=text_of(key)))
        with self._understood():
            return job_info(answer.job)

    def jobs(self, wanted: JobFilter, most: int | None = None, *, with_args: bool = False) -> Iterator[JobInfo]:
        """Jobs that match, the oldest first, at most so many."""
        request = pb.ListJobsRequest(filter=filter_message(wanted), with_args=with_args)
        left = most
        while left is None or left > 0:
            request.limit = PAGE if left is None else min(left, PAGE)
            answer = self._ask("ListJobs", request)
            with self._understood():
                jobs = list(map(job_info, answer.jobs))
            yield from jobs
            if left is not None:
                left -= len(answer.jobs)
            if not answer.cursor:
                return
            request.cursor = answer.cursor

    def edit(self, wanted: JobFilter | Sequence[Key], change: Change, *, dry_run: bool = False) -> Iterator[Edited]:
        """Changes jobs by filter or by id, and says of each looked at what was done."""
        if isinstance(wanted, JobFilter):
            yield from self._edit(edit_request(wanted, change, dry_run=dry_run))
            return
        for start in range(0, len(wanted), MOST_IDS):
            some = list(wanted[start : start + MOST_IDS])
            yield from self._edit(edit_request(some, change, dry_run=dry_run), already=start)

    def _edit(self, request: pb.EditJobsRequest, already: int = 0) -> Iterator[Edited]:
        request.limit = MOST_EDITED
        request.already = already
        while True:
            answer = self._ask("EditJobs", request)
            jobs = edited(answer)
            yield from jobs
            if not answer.cursor:
                return
            request.cursor = answer.cursor
            request.already += sum(bool(job.effect) for job in jobs)

    # -- rules --------------------------------------------------------------------------------------------------------

    def queue_rules(self) -> dict[str, QueueRule]:
        """The rule of every queue."""
        answer = self._ask("ListQueues", pb.ListQueuesRequest())
        return {queue.name: queue_rule(queue.rule) for queue in answer.queues}

    def set_queue(self, queue: str, change: QueueChange) -> QueueRule:
        """Changes a queue's rule; gives it as it is now."""
        return queue_rule(self._ask("SetQueue", queue_request(queue, change)).rule)

    def delete_queue(self, queue: str) -> None:
        """Removes a queue that has no job that is not finished."""
        self._ask("DeleteQueue", pb.DeleteQueueRequest(queue=queue))

    def limits(self) -> list[LimitInfo]:
        """Every limit, by name."""
        return [limit_info(info) for info in self._ask("ListLimits", pb.ListLimitsRequest()).limits]

    def set_limits(self, rules: Sequence[LimitRule], remove: Sequence[str] = ()) -> None:
        """Sets and removes limits."""
        self._ask("SetLimits", pb.SetLimitsRequest(set=map(limit_message, rules), remove=remove))

    # -- workflows ----------------------------------------------------------------------------------------------------

    def workflows(self, states: Collection[WorkflowState] = (), most: int | None = None) -> Iterator[WorkflowInfo]:
        """Workflows in one of these states (none named: in any), the oldest first, at most so many."""
        request = pb.ListWorkflowsRequest(states=[int(state) for state in states])  # type: ignore[misc]
        left = most
        while left is None or left > 0:
            request.limit = PAGE if left is None else min(left, PAGE)
            answer = self._ask("ListWorkflows", request)
            with self._understood():
                workflows = list(map(workflow_info, answer.workflows))
            yield from workflows
            if left is not None:
                left -= len(answer.workflows)
            if not answer.cursor:
                return
            request.cursor = answer.cursor

    def workflow(self, id: bytes, most: int | None = None) -> WorkflowView:  # noqa: A002 - the word of the wire
        """One workflow with its jobs, at most so many. OperationalError with reason NOT_FOUND when there is none."""
        request = pb.GetWorkflowRequest(id=id)
        nodes: list[Node] = []
        joins: dict[int, JoinState] = {}
        while True:
            request.limit = PAGE if most is None else min(most - len(nodes), PAGE)
            answer = self._ask("GetWorkflow", request)
            with self._understood():
                nodes += map(node, answer.nodes)
                joins.update((join.join.number, join) for join in map(join_state, answer.joins))
                workflow = workflow_info(answer.workflow)
            if not answer.cursor or (most is not None and len(nodes) >= most):
                return WorkflowView(workflow, nodes, joins)
            request.cursor = answer.cursor

    def edit_workflow(
        self,
        id: bytes,  # noqa: A002
        order: WorkflowOrder,
        *,
        terminate: bool = False,
        signal: str = "",
    ) -> int:
        """Cancels, retries or deletes a whole workflow, and says how many jobs were changed by that.

        `terminate` and `signal` are of a CANCEL: running jobs are stopped by force.
        """
        request = pb.EditWorkflowRequest(id=id, terminate=terminate, signal=signal)
        request.order = pb.WorkflowOrder.ValueType(int(order))
        return int(self._ask("EditWorkflow", request).changed)

    # -- schedules ----------------------------------------------------------------------------------------------------

    def schedules(self) -> list[ScheduleState]:
        """Every schedule, by name."""
        states: list[ScheduleState] = []
        while True:
            after = states[-1].schedule.name if states else ""
            answer = self._ask("ListSchedules", pb.ListSchedulesRequest(after=after))
            states += [schedule_state(info) for info in answer.schedules]
            if not answer.more:
                return states

    def set_schedules(
        self,
        put: Sequence[Declared] = (),
        app: str = "",
        remove: Sequence[str] = (),
        pause: Sequence[str] = (),
        resume: Sequence[str] = (),
    ) -> None:
        """Changes schedules, all or none. With `app`, `put` is all that the app of this name declares."""
        request = pb.SetSchedulesRequest(
            put=map(schedule_message, put), app=app, remove=remove, pause=pause, resume=resume
        )
        self._ask("SetSchedules", request)

    def run_schedule(self, name: str, key: bytes) -> None:
        """Submits a job of a schedule now, with this id."""
        self._ask("RunSchedule", pb.RunScheduleRequest(name=name, id=key))

    def preview_schedule(self, which: str | Declared, after_ms: int = 0, count: int = 5) -> Preview:
        """When a schedule would fire, from a moment on (0: now)."""
        request = pb.PreviewScheduleRequest(after_unix_ms=after_ms, count=count)
        if isinstance(which, str):
            request.name = which
        else:
            request.schedule.CopyFrom(schedule_message(which))
        return preview(self._ask("PreviewSchedule", request))

    # -- workers ------------------------------------------------------------------------------------------------------

    def control(
        self, command: str, arguments: Mapping[str, Any], destination: Sequence[str] = (), timeout: float = 1.0
    ) -> Replies:
        """Asks workers, all or those named, and waits `timeout` seconds for their answers."""
        request = pb.ControlRequest(
            command=command,
            arguments=json.dumps(dict(arguments)).encode(),
            destination=destination,
            timeout_ms=round(timeout * 1000),
        )
        answer = self._ask("Control", request, timeout + self._timeout)
        with self._understood():
            return replies(answer)

    # -- the store ----------------------------------------------------------------------------------------------------

    def backup(self, target: BackupTarget, timeout: float = 3600.0) -> Backup:
        """Writes a copy of the store, in `timeout` seconds. After OperationalError, CannotSaveError there is none."""
        return backup(self._connection, target, timeout, self._timeout)

    # -- events -------------------------------------------------------------------------------------------------------

    def events(
        self, after: int = 0, kinds: Sequence[EventKind] = (), *, follow: bool = False, seconds: float | None = None
    ) -> Iterator[Event | EventsLost]:
        """The events after a number; with `follow` also those to come, over restarts of the broker, for `seconds`.

        OperationalError when the broker does not answer at first; with `follow` later outages are waited through.
        """
        self._connection.reach(self._timeout)
        wanted = [kind.value for kind in kinds]
        end = math.inf if seconds is None else time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            request = pb.WatchEventsRequest(after=after, kinds=wanted, follow=follow)  # type: ignore[arg-type]
            try:
                call = self._connection.watch(_watch, request, None if left == math.inf else left)
                for answer in call:
                    if answer.lost_before:
                        yield EventsLost(answer.lost_before)
                    with self._understood():
                        page = [event for columns in answer.events for event in events(columns)]
                    yield from page
                    after = answer.cursor
            except grpc.RpcError as error:
                if time.monotonic() >= end:
                    return
                if not follow or not again(error):
                    raise operational(error, self._connection.address, self._timeout) from None
            if not follow:
                return
            time.sleep(_PAUSE)

    def _understood(self) -> AbstractContextManager[None]:
        return understood(self._connection.address)

    def _ask(self, call: str, request: Any, timeout: float | None = None) -> Any:
        return self._connection.ask(lambda stubs: getattr(stubs.admin, call), request, timeout or self._timeout)


def _watch(stubs: Stubs) -> Any:
    return stubs.admin.WatchEvents
