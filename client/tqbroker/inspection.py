"""`app.control.inspect()`: what workers and the broker know, under Celery's names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tqbroker import codec
from tqbroker.ids import text_of
from tqbroker.operations import JobFilter, Replies
from tqbroker.states import Phase

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.transport import JobInfo

MISSING = "no answer from this worker: `tqbroker workers` shows whether it is connected"

MOST_LISTED = 10_000
"""Scheduled and revoked jobs that are listed at most; `tqbroker jobs list` pages through all."""


BROKER = "broker"
"""Stands for a worker's name where no worker has what is listed."""


class Inspect:
    """Questions to workers. Each answer maps a worker's name to what it said.

    An answer is complete: a worker that was asked and did not answer within `timeout` seconds, or could not, is there
    with `{"error": why}`.
    """

    def __init__(self, app: App, destination: Sequence[str], timeout: float) -> None:
        self._app = app
        self._destination = list(destination)
        self._timeout = timeout

    def active(self) -> dict[str, Any]:
        """Jobs that run now."""
        return self._ask("active")

    def reserved(self) -> dict[str, Any]:
        """Jobs that workers hold and have not started."""
        return self._ask("reserved")

    def registered(self, *taskinfoitems: str) -> dict[str, Any]:
        """Names of the tasks each worker can run; with option names, as "tasks.add [rate_limit=10/s]"."""
        return self._ask("registered", taskinfoitems=list(taskinfoitems))

    registered_tasks = registered

    def stats(self) -> dict[str, Any]:
        """Figures of each worker."""
        return self._ask("stats")

    def ping(self) -> dict[str, Any]:
        """Whether they answer: `{name: {"ok": "pong"}}`."""
        return self._ask("ping")

    def active_queues(self) -> dict[str, Any]:
        """The queues each worker takes jobs from."""
        return self._ask("active_queues")

    def query_task(self, *ids: str) -> dict[str, Any]:
        """What workers do with these jobs: `{id: ["active", {...}]}` for those they hold."""
        return self._ask("query_task", ids=list(ids))

    def conf(self, with_defaults: bool = False) -> dict[str, Any]:
        """Settings of each worker's app, without secrets."""
        return self._ask("conf", with_defaults=with_defaults)

    def report(self) -> dict[str, Any]:
        """Versions and settings, for a bug report."""
        return self._ask("report")

    def stacks(self) -> dict[str, Any]:
        """What every thread of every child does now."""
        return self._ask("stacks")

    def scheduled(self) -> dict[str, Any]:
        """Jobs that are not due yet, each once. The broker holds them, so they are listed under the first worker that
        takes their queue, and those that no worker takes under "broker", unless certain workers are asked."""
        takers = self.active_queues()
        held: dict[str, Any] = {name: said if _is_error(said) else [] for name, said in takers.items()}
        taken = {name: {queue["name"] for queue in takers[name]} for name in sorted(held) if held[name] == []}
        wanted = JobFilter(phases=frozenset({Phase.SCHEDULED}))
        for job in self._app.operator.jobs(wanted, MOST_LISTED, with_args=True):
            name = next((name for name, queues in taken.items() if job.queue in queues), BROKER)
            if name != BROKER or not self._destination:
                item = {"eta": _iso(job.due_ms), "priority": job.priority, "request": _request(job)}
                held.setdefault(name, []).append(item)
        return held

    def revoked(self) -> dict[str, Any]:
        """Ids of jobs that were cancelled or expired and are still kept: every worker has the same, as the broker
        tells them. Where no worker is, they are listed under "broker"."""
        held = self.ping()
        wanted = JobFilter(phases=frozenset({Phase.CANCELLED, Phase.EXPIRED}))
        ids = [text_of(job.key) for job in self._app.operator.jobs(wanted, MOST_LISTED)]
        if not held and ids and not self._destination:
            return {BROKER: ids}
        return {name: said if _is_error(said) else list(ids) for name, said in held.items()}

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return by_worker(self._app.operator.control(command, arguments, self._destination, self._timeout))


def _is_error(said: Any) -> bool:
    return isinstance(said, dict) and said.keys() == {"error"}


def named(destination: str | Sequence[str] | None) -> list[str]:
    """Names as a list; none means everybody."""
    return [destination] if isinstance(destination, str) else list(destination or ())


def by_worker(answers: Replies) -> dict[str, Any]:
    """What each worker said; `{"error": why}` for those that did not."""
    errors = {**dict.fromkeys(answers.missing, MISSING), **answers.errors}
    return answers.values | {name: {"error": why} for name, why in errors.items()}


def _request(job: JobInfo) -> dict[str, Any]:
    args, kwargs = codec.decode_call(job.args, job.format or codec.DEFAULT_FORMAT) if job.args else ((), {})
    return {
        "id": text_of(job.key),
        "name": job.task,
        "type": job.task,
        "args": args,
        "kwargs": kwargs,
        "retries": job.retries,
        "delivery_info": {"routing_key": job.queue, "queue": job.queue, "priority": job.priority},
    }


def _iso(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).isoformat()
