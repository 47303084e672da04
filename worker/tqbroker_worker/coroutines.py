"""One job as an asyncio task: how it is run, cancelled and bounded inside of a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tqbroker import hooks
from tqbroker.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded
from tqbroker_worker.attempts import Attempt
from tqbroker_worker.delivery import Job, Success
from tqbroker_worker.execute import Executor
from tqbroker_worker.guard import Guard
from tqbroker_worker.handing import complete, is_long
from tqbroker_worker.limits import Bounds
from tqbroker_worker.protocol import Ended
from tqbroker_worker.slots import Slot


class Running:
    """A job in the running loop. `on_hard` is called when its hard limit is over; then its outcome is nobody's."""

    def __init__(self, executor: Executor, job: Job, on_hard: Callable[[Running], None]) -> None:
        self.job = job
        self.attempt = Attempt(job)
        self.task: asyncio.Task[Success | Ended | None] | None = None
        self.hard_ms = 0
        self._executor = executor
        self._on_hard = on_hard
        self._guard: Guard | None = None
        self._slot: Slot | None = None
        self._cancelled = False
        self._forced = False
        self._abandoned = False
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def in_thread(self) -> bool:
        """Whether it is a plain function that was started, in a thread."""
        return self._slot is not None

    async def run(self) -> Success | Ended | None:
        """Runs the job: an `async def` task in this loop, a plain function in a thread.

        None when its hard limit was over: the outcome was told by somebody else, and so were its hooks.
        """
        value: Any = None
        raised: BaseException | None = None
        try:
            value = await self._body()
        except BaseException as error:  # cancellation and SystemExit too
            raised = error
        finally:
            for timer in self._timers:
                timer.cancel()
        if self._abandoned:
            return None
        if isinstance(raised, asyncio.CancelledError) and self._forced:
            raised = TaskRevokedError("cancelled")
        return self._executor.endings.outcome(self.attempt, value, raised)

    def cancel(self, force: bool) -> None:
        """Somebody cancelled the job: its request says so, and with `force` it is stopped where it waits."""
        self._cancelled = True
        if self.attempt.request is not None:
            self.attempt.request.cancelled = True
        if force and not self._forced:
            self._forced = True
            if self._slot is not None:
                self._slot.interrupt(self.job.token, TaskRevokedError)
            elif self.task is not None:
                self.task.cancel()

    def strike(self, error: type[BaseException]) -> None:
        """Raises `error` in the body."""
        if self._slot is not None:
            self._slot.interrupt(self.job.token, error)
        elif self._guard is not None:
            self._guard.strike(error)

    async def _body(self) -> Any:
        attempt, executor = self.attempt, self._executor
        if attempt.job.extra is not None and is_long(attempt.job):
            attempt.job = await asyncio.to_thread(complete, attempt.job, executor.app)
        bounds = executor.prepare(attempt)
        plan, request = attempt.plan, attempt.request
        assert plan is not None
        assert request is not None
        request.cancelled = self._cancelled
        self._bound(bounds)
        if plan.hooked:
            hooks.before(plan.task, request)
        if not plan.task.is_async:
            return await asyncio.to_thread(self._in_thread)
        args, kwargs = attempt.call
        coroutine = plan.body(*args, **kwargs)
        if not self._timers:
            return await coroutine
        self._guard = Guard(coroutine, asyncio.get_running_loop())
        return await self._guard

    def _bound(self, bounds: Bounds) -> None:
        loop = asyncio.get_running_loop()
        self.hard_ms = bounds.hard_ms
        if bounds.soft_ms:
            self._timers.append(loop.call_later(bounds.soft_ms / 1000, self.strike, SoftTimeLimitExceeded))
        if bounds.hard_ms:
            self._timers.append(loop.call_later(bounds.hard_ms / 1000, self._over_hard))

    def _over_hard(self) -> None:
        self._abandoned = True
        self._on_hard(self)
        self.strike(TimeLimitExceeded)

    def _in_thread(self) -> Any:
        """A plain function, in a slot of its own so that it can be interrupted."""
        slot = self._slot = Slot()
        try:
            return slot.run(self.job, self._call)
        except StopIteration as error:  # which no future takes: who waits for it would wait for ever
            raise RuntimeError("the task raised StopIteration") from error

    def _call(self) -> Any:
        if self._forced:
            raise TaskRevokedError("cancelled")
        plan = self.attempt.plan
        assert plan is not None
        args, kwargs = self.attempt.call
        return plan.body(*args, **kwargs)
