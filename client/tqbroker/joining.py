"""The values of many jobs, as they are needed or as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tqbroker.async_result import AsyncResult
from tqbroker.exceptions import TimeoutError  # noqa: A004 - ours is a builtin TimeoutError too
from tqbroker.ids import text_of
from tqbroker.outcomes import ended, meta_of, value_of
from tqbroker.states import Phase
from tqbroker.watching import OnInterval, OnMessage, ends

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.ids import Key
    from tqbroker.transport import JobInfo


class Joining:
    """One wait for many jobs, on one stream. Iterating gives each job as it ends, and once."""

    def __init__(
        self,
        app: App,
        jobs: Sequence[AsyncResult[Any]],
        timeout: float | None,
        interval: float = 0.5,
        on_message: OnMessage | None = None,
        on_interval: OnInterval | None = None,
    ) -> None:
        self._app = app
        self._timeout = timeout
        self._on_message = on_message
        self._jobs = {job._key: job for job in jobs}
        self._infos: dict[Key, JobInfo] = {}
        self._stream = self._come(interval, on_interval)

    def __iter__(self) -> Iterator[JobInfo]:
        return self._stream

    def _come(self, interval: float, on_interval: OnInterval | None) -> Iterator[JobInfo]:
        for job in self._jobs.values():
            if job._final is not None:
                yield self._take(job._final)
        missing = self._missing()
        if missing:
            for info in ends(self._app, missing, self._timeout, interval, on_interval):
                yield self._take(info)
        self._all_there()

    async def arrive(self, propagate: bool) -> None:
        """Waits for all in asyncio. With `propagate` the first that failed raises at once."""
        known = [job._final for job in self._jobs.values() if job._final is not None]
        for info in known:
            self.checked(self._take(info), propagate)
        missing = self._missing()
        if missing:
            contact = self._app.conf.request_timeout
            async for info in self._app.async_transport.ends(missing, self._timeout, contact):
                self.checked(self._take(info), propagate)
        self._all_there()

    def value(self, result: Any, propagate: bool) -> Any:
        """The value of a job, of a group as a list, or of what was run in place; waits until it is there."""
        if isinstance(result, AsyncResult):
            while result._key not in self._infos:
                next(self._stream)
            return self.checked(self._infos[result._key], propagate)
        members = getattr(result, "results", None)
        if members is not None:
            return [self.value(each, propagate) for each in members]
        return result.get(propagate=propagate)

    def checked(self, info: JobInfo, propagate: bool) -> Any:
        """The value of a job that has ended; raises what it raised, or gives that as its value."""
        value = value_of(ended(info))
        if propagate and info.phase is not Phase.SUCCEEDED:
            value.add_note(
                f"raised by job {text_of(info.key)}, {info.task}, one of {len(self._jobs)} that were waited for"
            )
            raise value
        return value

    def _take(self, info: JobInfo) -> JobInfo:
        self._infos[info.key] = self._jobs[info.key]._keep(info)
        if self._on_message is not None:
            self._on_message(meta_of(info))
        return info

    def _missing(self) -> list[Key]:
        return [key for key in self._jobs if key not in self._infos]

    def _all_there(self) -> None:
        missing = self._missing()
        if missing:
            raise TimeoutError(
                f"{len(missing)} of {len(self._jobs)} jobs have not ended within {self._timeout:g} s, among them "
                f"{text_of(missing[0])}; they go on, ask again later"
            )
