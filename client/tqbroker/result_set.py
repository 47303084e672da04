"""ResultSet: many results as one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from tqbroker.async_result import AsyncResult
from tqbroker.blocking import refuse_to_block
from tqbroker.current import the_app
from tqbroker.handle import Handle
from tqbroker.ids import text_of
from tqbroker.joining import Joining
from tqbroker.outcomes import meta_of
from tqbroker.result_tree import leaves, units
from tqbroker.signal_names import signal_name
from tqbroker.states import FINAL, Phase, RevokeEffect
from tqbroker.watching import OnInterval, OnMessage, then

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.transport import JobInfo

Callback = Callable[[str, Any], object]


class ResultSet(Handle):
    """Results in their order, each of a job, of a group, or of a call that was run in place.

    However many there are, they are asked for at once and waited for on one stream. `app` is that of the first job
    among them, or the current one, unless it is given.
    """

    supports_native_join = True
    """Celery asks whether a result store can answer for many at once: always."""

    def __init__(self, results: Iterable[Any], app: App | None = None) -> None:
        self.results: list[Any] = list(results)
        self._app = app
        self._ids: set[str] = set()
        """Ids of `results`, made anew when they are not as many: the list may be changed by hand."""

    @property
    def app(self) -> App:
        """The app that knows the broker."""
        if self._app is None:
            jobs = leaves(self.results)
            self._app = jobs[0].app if jobs else the_app()
        return self._app

    # -- which ones ---------------------------------------------------------------------------------------------------

    def add(self, result: Any) -> None:
        """Adds a result at the end, unless it is there."""
        self.update([result])

    def remove(self, result: Any) -> None:
        """Takes out a result, given as such or by its id. Raises KeyError when it is not there."""
        wanted = result if isinstance(result, str) else result.id
        for index, each in enumerate(self.results):
            if each.id == wanted:
                del self.results[index]
                self._ids.clear()
                return
        raise KeyError(wanted)

    def discard(self, result: Any) -> None:
        """Takes out a result, if it is there."""
        if any(each.id == (result if isinstance(result, str) else result.id) for each in self.results):
            self.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Adds those that are not there."""
        if len(self._ids) != len(self.results):
            self._ids = {each.id for each in self.results}
        for each in results:
            if each.id not in self._ids:
                self._ids.add(each.id)
                self.results.append(each)

    def clear(self) -> None:
        """Takes all out."""
        self.results.clear()

    # -- where they stand ---------------------------------------------------------------------------------------------

    def successful(self) -> bool:
        """Whether each has ended with a return value."""
        return all(phase is Phase.SUCCEEDED for phase in self._phases())

    def failed(self) -> bool:
        """Whether one has failed."""
        return any(phase is Phase.FAILED for phase in self._phases())

    def waiting(self) -> bool:
        """Whether one has not ended."""
        return not self.ready()

    def ready(self) -> bool:
        """Whether all have ended, however they did."""
        return all(phase in FINAL for phase in self._phases())

    def completed_count(self) -> int:
        """How many have ended with a return value."""
        return sum(phase is Phase.SUCCEEDED for phase in self._phases())

    # -- their values -------------------------------------------------------------------------------------------------

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: OnMessage | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: OnInterval | None = None,
    ) -> list[Any]:
        """Waits for all and returns their values in order; with `callback` it gets each, as id and value, instead.

        Raises what the first in order raised that failed, with a note that says which it was (with `propagate=False`
        the exception is its value); TimeoutError when one has not ended after `timeout` seconds. Other errors and
        `disable_sync_subtasks` are as in AsyncResult.get; `on_message` hears of each end, as a dict.
        """
        joining = self._joining(timeout, interval, on_message, on_interval, disable_sync_subtasks)
        values = []
        for each in self.results:
            value = joining.value(each, propagate)
            if callback is None:
                values.append(value)
            else:
                callback(each.id, value)
        return values

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: OnMessage | None = None,
        on_interval: OnInterval | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[Any]:
        """`join`, but the first failure that is seen raises at once, and `callback` hears of values as they come."""
        joining = self._joining(timeout, interval, on_message, on_interval, disable_sync_subtasks)
        for info in joining:
            if callback is not None:
                callback(text_of(info.key), joining.checked(info, propagate))
            elif info.phase is not Phase.SUCCEEDED:
                joining.checked(info, propagate)
        return [] if callback is not None else [joining.value(each, propagate) for each in self.results]

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: OnMessage | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: OnInterval | None = None,
    ) -> list[Any]:
        """`join_native`."""
        return self.join_native(
            timeout, propagate, interval, callback, no_ack, on_message, on_interval, disable_sync_subtasks
        )

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> list[Any]:
        """`get` for asyncio."""
        joining = Joining(self.app, leaves(self.results), timeout)
        await joining.arrive(propagate)
        return [joining.value(each, propagate) for each in self.results]

    def __await__(self) -> Generator[Any, None, list[Any]]:
        return self.aget().__await__()

    def iterate(self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5) -> Iterator[Any]:
        """The values of the jobs as they end."""
        joining = self._joining(timeout, interval, None, None, True)
        for info in joining:
            yield joining.checked(info, propagate)

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: OnMessage | None = None,
        on_interval: OnInterval | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """(id, outcome) of the jobs as they end; the outcome is a dict as Celery's: status, result, traceback, ..."""
        for info in self._joining(timeout, interval, on_message, on_interval, True):
            meta = meta_of(info)
            yield meta["task_id"], meta

    def maybe_throw(self, callback: Callback | None = None, propagate: bool = True) -> None:
        """Raises what the first in order raised that has failed so far. Waits for nothing."""
        infos = self._known()
        for each in units(self.results):
            if isinstance(each, AsyncResult):
                each._look(infos[each._key], callback, propagate)
            else:
                each.get(propagate=propagate)

    def then(
        self,
        callback: Callable[[Self], object],
        on_error: Callable[[Exception], object] | None = None,
        weak: bool = False,
    ) -> None:
        """Calls `callback` with this set once all have ended; see AsyncResult.then."""
        then(self, leaves(self.results), callback, on_error)

    # -- what to do with them -----------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Drops the stored outcomes of the jobs that have ended."""
        jobs = leaves(self.results)
        self.app.transport.forget([each._key for each in jobs], self.app.conf.request_timeout)
        for each in jobs:
            each._final = None

    def revoke(
        self,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        wait: bool = True,
        timeout: float | None = None,
    ) -> list[RevokeEffect]:
        """Cancels the jobs durably, and returns what that did to each; see AsyncResult.revoke."""
        name = signal_name(signal) if terminate else ""
        keys = [each._key for each in leaves(self.results)]
        seconds = self.app.conf.request_timeout if timeout is None else timeout
        return self.app.transport.cancel(keys, seconds, terminate=terminate, signal=name)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _joining(
        self,
        timeout: float | None,
        interval: float,
        on_message: OnMessage | None,
        on_interval: OnInterval | None,
        refuse: bool,
    ) -> Joining:
        jobs = leaves(self.results)
        if refuse and jobs:
            refuse_to_block()
        for each in jobs[:1]:
            each._refuse_unsent()
        return Joining(self.app, jobs, timeout, interval, on_message, on_interval)

    def _known(self) -> dict[Any, JobInfo]:
        """What is known of the jobs, asked for at once."""
        jobs = leaves(self.results)
        infos = {each._key: each._final for each in jobs if each._final is not None}
        missing = list(dict.fromkeys(each._key for each in jobs if each._key not in infos))
        if missing:
            infos.update((info.key, info) for info in self.app.transport.get(missing, self.app.conf.request_timeout))
        for each in jobs:
            each._keep(infos[each._key])
        return infos

    def _phases(self) -> Iterator[Phase]:
        infos = self._known()
        for each in units(self.results):
            if isinstance(each, AsyncResult):
                info = infos[each._key]
                yield Phase.CANCELLED if info.forgotten else info.phase
            else:
                yield Phase.SUCCEEDED if each.successful() else Phase.FAILED

    def _instead_of_pickling(self) -> str:
        return "send the ids of its results, and write app.AsyncResult(id) there"

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Any:
        return self.results[index]

    def __eq__(self, other: object) -> bool:
        return self.results == other.results if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        """The same for all sets: they change, and asyncio wants what is awaited to be hashable."""
        return hash(ResultSet)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(each.id for each in self.results)}]>"
