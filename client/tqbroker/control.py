"""`app.control`: what Celery's users say to workers, under Celery's names. Every answer is complete or names who is
missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqbroker.ids import key_of
from tqbroker.inspection import Inspect, by_worker, named
from tqbroker.operations import Cancel, JobFilter, LimitRule, Replies
from tqbroker.rates import parse_rates
from tqbroker.signal_names import signal_name
from tqbroker.states import Phase, RevokeEffect

if TYPE_CHECKING:
    from tqbroker._grpc_admin import GrpcOperator
    from tqbroker.app import App

Names = str | Sequence[str] | None
_UNFINISHED = frozenset({Phase.SCHEDULED, Phase.QUEUED, Phase.RUNNING})


class Control:
    """Commands to workers and to the broker. `destination`: one worker's name or several; None means all.

    `timeout` is how long (seconds) to wait for workers' answers, which are returned in any case: `reply` is there for
    Celery's sake. OperationalError when the broker does not answer.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    @property
    def _operator(self) -> GrpcOperator:
        return self._app.operator

    # -- asking -------------------------------------------------------------------------------------------------------

    def inspect(self, destination: Names = None, timeout: float = 1.0) -> Inspect:
        """What workers know of themselves: `app.control.inspect().active()`."""
        return Inspect(self._app, named(destination), timeout)

    def ping(self, destination: Names = None, timeout: float = 1.0, reply: bool = True) -> list[dict[str, Any]]:
        """One `{name: {"ok": "pong"}}` for each worker that answered, and `{name: {"error": ...}}` for the others."""
        return _listed(self._send("ping", {}, destination, timeout))

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Names = None,
        reply: bool = False,
        timeout: float = 1.0,
    ) -> list[dict[str, Any]] | None:
        """Any command by name. With `reply` what each worker answered, `{name: {"error": ...}}` for those that failed.

        The command has reached the workers when this returns, also without `reply`.
        """
        answers = self._send(command, arguments or {}, destination, timeout)
        return _listed(answers) if reply else None

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def revoke(
        self, task_id: str | Iterable[str], terminate: bool = False, signal: str | int = "SIGTERM"
    ) -> dict[str, RevokeEffect]:
        """Cancels jobs by id, durably, also while no worker is there. Says for each what that did.

        A running job goes on unless `terminate` is set: then its process gets `signal`, its coroutine is cancelled, or
        an exception is raised in its thread. Raises ValueError for what is no signal.
        """
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        keys = [key_of(each) for each in ids]
        name = signal_name(signal) if terminate else ""
        timeout = self._app.conf.request_timeout
        effects = self._app.transport.cancel(keys, timeout, terminate=terminate, signal=name)
        return dict(zip(ids, effects, strict=True))

    def terminate(self, task_id: str | Iterable[str], signal: str | int = "SIGTERM") -> dict[str, RevokeEffect]:
        """`revoke` with `terminate=True`."""
        return self.revoke(task_id, terminate=True, signal=signal)

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, str | Iterable[str]], terminate: bool = False, signal: str | int = "SIGTERM"
    ) -> dict[str, str]:
        """Cancels every job that has one of the values of each stamp. Says for each what that did."""
        done: dict[str, str] = {}
        change = Cancel(terminate, signal_name(signal) if terminate else "")
        for stamps in _combinations(headers):
            wanted = JobFilter(phases=_UNFINISHED, stamps=stamps)
            done |= {job.id: job.effect or job.refusal for job in self._operator.edit(wanted, change)}
        return done

    def purge(self, queues: Names = None) -> int:
        """Cancels every job that waits in these queues (default: the app's default queue). How many there were."""
        names = named(queues) or [self._app.conf.task_default_queue]
        waiting = frozenset({Phase.QUEUED, Phase.SCHEDULED})
        edits = (self._operator.edit(JobFilter(phases=waiting, queue=name), Cancel()) for name in names)
        return sum(bool(job.effect) for edit in edits for job in edit)

    discard_all = purge

    # -- limits -------------------------------------------------------------------------------------------------------

    def rate_limit(self, task_name: str, rate_limit: Any, destination: Names = None, reply: bool = True) -> None:
        """How often jobs of a task may start, over all workers, from now on and over restarts: "10/s", None for any.

        Celery counts for each worker by itself. Raises ValueError for a `destination`, which could not be kept.
        """
        if destination:
            raise ValueError("a rate limit holds over all workers together: leave destination= out")
        self._operator.set_limits([self._rule_of(task_name)._replace(rates=parse_rates(rate_limit))])

    def max_concurrency(self, task_name: str, most: int | None) -> None:
        """How many jobs of a task may run at once over all workers; None for any number."""
        self._operator.set_limits([self._rule_of(task_name)._replace(concurrency=most or 0)])

    def _rule_of(self, task_name: str) -> LimitRule:
        name = f"task:{task_name}"
        return next((limit.rule for limit in self._operator.limits() if limit.rule.name == name), LimitRule(name))

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Names = None,
        timeout: float = 1.0,
        reply: bool = True,
    ) -> list[dict[str, Any]]:
        """Time limits (seconds) of a task, in the workers that run now. None takes a limit away."""
        arguments = {"task_name": task_name, "soft": soft, "hard": hard}
        return _listed(self._send("time_limit", arguments, destination, timeout))

    # -- workers ------------------------------------------------------------------------------------------------------

    def pool_grow(
        self, n: int = 1, destination: Names = None, timeout: float = 1.0, reply: bool = True
    ) -> list[dict[str, Any]]:
        """More slots, until the worker is restarted."""
        return _listed(self._send("pool_grow", {"n": n}, destination, timeout))

    def pool_shrink(
        self, n: int = 1, destination: Names = None, timeout: float = 1.0, reply: bool = True
    ) -> list[dict[str, Any]]:
        """Fewer slots; what runs in them is finished first."""
        return _listed(self._send("pool_shrink", {"n": n}, destination, timeout))

    def pool_restart(self, destination: Names = None, timeout: float = 1.0, reply: bool = True) -> list[dict[str, Any]]:
        """New child processes, which load the app anew; what runs is finished first."""
        return _listed(self._send("pool_restart", {}, destination, timeout))

    def autoscale(
        self,
        max: int,  # noqa: A002 - Celery's names
        min: int,  # noqa: A002
        destination: Names = None,
        timeout: float = 1.0,
        reply: bool = True,
    ) -> list[dict[str, Any]]:
        """New bounds for the slots of workers that were started with --autoscale."""
        return _listed(self._send("autoscale", {"max": max, "min": min}, destination, timeout))

    def add_consumer(
        self, queue: str, destination: Names = None, timeout: float = 1.0, reply: bool = True
    ) -> list[dict[str, Any]]:
        """Workers take jobs from this queue too."""
        return _listed(self._send("add_consumer", {"queue": queue}, destination, timeout))

    def cancel_consumer(
        self, queue: str, destination: Names = None, timeout: float = 1.0, reply: bool = True
    ) -> list[dict[str, Any]]:
        """Workers take no more jobs from this queue."""
        return _listed(self._send("cancel_consumer", {"queue": queue}, destination, timeout))

    def enable_events(
        self, destination: Names = None, timeout: float = 1.0, reply: bool = True
    ) -> list[dict[str, Any]]:
        """For Celery's sake: the broker records events always."""
        return _listed(self._send("enable_events", {}, destination, timeout))

    def disable_events(
        self, destination: Names = None, timeout: float = 1.0, reply: bool = True
    ) -> list[dict[str, Any]]:
        """For Celery's sake: the broker records events always."""
        return _listed(self._send("disable_events", {}, destination, timeout))

    def shutdown(self, destination: Names = None, timeout: float = 1.0, reply: bool = True) -> list[dict[str, Any]]:
        """Workers finish what they run and end, as after a first SIGTERM."""
        return _listed(self._send("shutdown", {}, destination, timeout))

    def _send(self, command: str, arguments: Mapping[str, Any], destination: Names, timeout: float) -> Replies:
        return self._operator.control(command, arguments, named(destination), timeout)


def _listed(answers: Replies) -> list[dict[str, Any]]:
    """As Celery gives them: one mapping a worker."""
    return [{name: said} for name, said in sorted(by_worker(answers).items())]


def _combinations(headers: Mapping[str, str | Iterable[str]]) -> Iterable[tuple[str, ...]]:
    """One value of each stamp, in every way."""
    found: list[tuple[str, ...]] = [()]
    for name, values in headers.items():
        each = [values] if isinstance(values, str) else list(values)
        found = [(*stamps, f"{name}={value}") for stamps in found for value in each]
    return found if headers else []
