"""One delivery to one outcome: decode, call, conclude. Whatever the task does, an outcome comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextvars import copy_context
from types import CoroutineType
from typing import Any

from tqbroker import context, hooks, states
from tqbroker._failpoint import hit
from tqbroker.app import App
from tqbroker.codec import decode, decode_call
from tqbroker.context import Request
from tqbroker.exceptions import WorkerLostError
from tqbroker.failures import exception_of
from tqbroker.ids import text_of
from tqbroker.request import Channel
from tqbroker.request_values import Details
from tqbroker.retrying import Ending
from tqbroker_worker.attempts import Attempt
from tqbroker_worker.delivery import Job, Success, jobs_of
from tqbroker_worker.endings import Endings
from tqbroker_worker.guard import Guard
from tqbroker_worker.handing import complete, in_front
from tqbroker_worker.jobs import Extra, Traits
from tqbroker_worker.limits import Bounds, TimeLimits
from tqbroker_worker.places import Place
from tqbroker_worker.plans import Plans
from tqbroker_worker.protocol import Ended, Failed, Verdict
from tqbroker_worker.slots import Slot, Slots

_NO_TRAITS, _NO_EXTRA, _NO_PLACE = Traits(), Extra(), Place()


class Executor:
    """Runs jobs of one app, in the thread or the loop of the caller.

    `worker` is the name that tasks see as `self.request.hostname`. With `show` results are also made readable, for
    the log. `channel` takes what running jobs say of themselves.
    """

    def __init__(
        self,
        app: App,
        worker: str,
        show: bool,
        *,
        slots: Slots | None = None,
        limits: TimeLimits | None = None,
        channel: Channel | None = None,
    ) -> None:
        self.slots = slots or Slots(lambda _number: None)
        self.limits = limits or TimeLimits(app.tasks)
        self.plans = Plans(app.tasks, self.limits)
        self.endings = Endings(self.plans, app.conf.result_format, show)
        self.app = app
        self._worker = worker
        self._channel = channel
        self._loops = threading.local()

    # -- in a thread --------------------------------------------------------------------------------------------------

    def run(self, job: Job, slot: Slot) -> Success | Ended | None:
        """Runs a job here; an `async def` task runs in an event loop that this thread keeps for such tasks.

        None when the slot was abandoned meanwhile: the outcome was told by somebody else.
        """
        return copy_context().run(self._run, job, slot)

    def _run(self, job: Job, slot: Slot) -> Success | Ended | None:
        """In a context that ends with the job: what it sets there, no other job sees."""
        attempt = Attempt(job)
        value: Any = None
        raised: BaseException | None = None
        try:
            value = slot.run(job, self._body, attempt, slot)
        except BaseException as error:  # SystemExit too: a task does not end its worker
            raised = error
        if slot.abandoned:
            return None
        return self.endings.outcome(attempt, value, raised)

    def _body(self, attempt: Attempt, slot: Slot) -> Any:
        """What the task returns."""
        bounds = self.prepare(attempt)
        plan, request = attempt.plan, attempt.request
        assert plan is not None
        assert request is not None
        if bounds.soft_ms or bounds.hard_ms:
            slot.limit(bounds.soft_ms, bounds.hard_ms)
        slot.request = request
        if self.slots.missed:
            self.slots.check(attempt.job, request)
        if plan.hooked:
            hooks.before(plan.task, request)
        args, kwargs = attempt.call
        value = plan.body(*args, **kwargs)
        return self._await(value, slot) if type(value) is CoroutineType else value

    def _await(self, coroutine: Coroutine[Any, Any, Any], slot: Slot) -> Any:
        runner: asyncio.Runner | None = getattr(self._loops, "runner", None)
        if runner is None:
            runner = self._loops.runner = asyncio.Runner()
        slot.guard = guard = Guard(coroutine, runner.get_loop())
        return runner.run(guard.run(), context=copy_context())  # the runner's own context is that of its first job

    def close(self) -> None:
        """Ends the event loop of this thread, if async tasks ever ran in it."""
        runner: asyncio.Runner | None = getattr(self._loops, "runner", None)
        if runner is not None:
            runner.close()
            del self._loops.runner

    # -- steps that all ways of running share -------------------------------------------------------------------------

    def prepare(self, attempt: Attempt) -> Bounds:
        """Decodes the call, and puts the request in place for the rest of this context."""
        job = attempt.job
        head = job.head
        plan = attempt.plan = self.plans.of(head.task)
        attempt.call = args, kwargs = decode_call(job.args, head.format)
        if job.extra is not None and job.extra.place is not None:
            args = self._handed(attempt)
        hit("child_before_run")
        bounds = plan.bounds if head.traits is None else self.limits.of(head)
        attempt.request = request = self._request(job, args, kwargs)
        if head.traits is not None or job.extra is not None or bounds.soft_ms or bounds.hard_ms:
            request.details = _details(attempt, bounds)
        if plan.task.own_call:
            request.entered = False
        context.push(plan.task, request)
        if job.lost and plan.task.acks_late is False:
            raise WorkerLostError(f"{head.task} has acks_late=False, and the worker that had this job was lost")
        return bounds

    def _handed(self, attempt: Attempt) -> tuple[Any, ...]:
        """The arguments of a job of a workflow with what it is handed in front of them."""
        (args, kwargs), plan = attempt.call, attempt.plan
        job = attempt.job = complete(attempt.job, self.app)
        assert plan is not None
        assert job.extra is not None
        assert job.extra.place is not None
        args = in_front(job.extra.place, plan.task, args, kwargs) + args
        attempt.call = args, kwargs
        return args

    def _request(self, job: Job, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        head = job.head
        return Request(
            job.id,
            head.task,
            args,
            kwargs,
            retries=job.retries,
            lost_leases=job.lost,
            hostname=self._worker,
            queue=head.queue,
            priority=head.priority,
            headers=decode(head.headers, head.format) if head.headers else None,
            fence=job.token,
            ignore_result=head.ignore_result,
            channel=self._channel,
        )

    def failed(self, message: Failed) -> None:
        """Runs hooks and signals of a job that the parent has ended itself."""
        for job in jobs_of(message.jobs):
            copy_context().run(self._failed, job, message)

    def _failed(self, job: Job, message: Failed) -> None:
        attempt = Attempt(job)
        try:
            self.prepare(attempt)
        except Exception:  # it failed for another reason first; who has no request has no hooks
            return
        state = states.REVOKED if message.verdict is Verdict.CANCELLED else states.FAILURE
        self.endings.tell(attempt, Ending(state, exception_of(message.failure)))


def _details(attempt: Attempt, bounds: Bounds) -> Details:
    traits = attempt.job.head.traits or _NO_TRAITS
    extra = attempt.job.extra or _NO_EXTRA
    place = extra.place or _NO_PLACE
    return Details(
        due_ms=extra.due_ms,
        expires_ms=extra.expires_ms,
        started_ms=attempt.started_ms,
        soft_ms=bounds.soft_ms,
        hard_ms=bounds.hard_ms,
        shadow=traits.shadow,
        stamps=traits.stamps,
        tenant=traits.tenant,
        ordering_key=traits.ordering_key,
        checkpoint=None if extra.checkpoint is None else decode(extra.checkpoint, extra.checkpoint_format),
        root=traits.root or place.root,
        parent=place.parent or traits.parent,
        group=text_of(place.group) if place.group else "",
        group_index=place.group_index,
        in_chord=place.in_chord,
    )
