"""AsyncResult: a job seen from outside, here or in another process, now or later."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from tqbroker.batch import active_batch
from tqbroker.blocking import refuse_to_block
from tqbroker.ids import Key, key_of
from tqbroker.outcomes import ended, fault_of, still_runs, value_of
from tqbroker.result_view import ResultView
from tqbroker.signal_names import signal_name
from tqbroker.states import FINAL, Phase, RevokeEffect

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.dependency_graph import DependencyGraph
    from tqbroker.group_result import GroupResult
    from tqbroker.transport import JobInfo

R = TypeVar("R")


class AsyncResult(ResultView, Generic[R]):
    """One job by its id. Two results with the same id are equal; see ResultView for what is read when.

    `parent` is the result that this one was made to follow in a chain or chord; only here, it is not stored.
    """

    __slots__ = ("__weakref__", "_parent")

    _parent: AsyncResult[Any] | GroupResult | None

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        app: App | None = None,
        parent: AsyncResult[Any] | GroupResult | None = None,
    ) -> None:
        if app is None:
            raise TypeError("AsyncResult(id) needs the app, which knows the broker: write app.AsyncResult(id)")
        self._key: Key = key_of(id)
        self.app = app
        self._final: JobInfo | None = None
        if parent is not None:
            self._parent = parent

    @classmethod
    def _of(cls, key: Key, app: App) -> AsyncResult[R]:
        """The result of a job made here: its text is written only when somebody asks for it."""
        self = cls.__new__(cls)
        self._key = key
        self.app = app
        self._final = None
        return self

    # -- the outcome --------------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, R], object] | None = None,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R:
        """Waits for the job's end and returns its value; None for a job that ignores its result.

        Raises what the job raised, with the remote traceback as its cause (with `propagate=False` the exception is
        returned instead); TaskRevokedError when it was cancelled or expired; TimeoutError after `timeout` seconds, the
        job goes on; UnknownJob or ResultNotFound at once when there is nothing to wait for. A broker restart is waited
        through. OperationalError when the broker cannot be reached at first; RuntimeError inside of the batch that will
        send the job, and inside of a task unless `disable_sync_subtasks` is false. A job whose predecessor failed
        raises what that one raised; a ChordError has it as its cause, unless `follow_parents` is false.

        `callback` is called with id and value before the value is returned. The end is pushed, so `interval` matters
        only for two others: `on_interval` is called every so many seconds until then, and `on_message` with the state
        of the job as a dict, each time that it has changed, and at its end. `no_ack` has no meaning here.
        """
        if disable_sync_subtasks:
            refuse_to_block()
        info = self._final or self._ended(timeout, interval, on_message, on_interval)
        value = value_of(info)
        if info.phase is not Phase.SUCCEEDED:
            if info.cause and follow_parents and value.__cause__ is None:
                value.__cause__ = fault_of(
                    self.app.transport.get([key_of(info.cause)], self.app.conf.request_timeout)[0]
                )
            if propagate:
                raise cast(Exception, value)
        if callback is not None:
            callback(self.id, value)
        return cast(R, value)

    wait = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> R:
        """`get` for asyncio."""
        info = self._final
        if info is None:
            self._refuse_unsent()
            conf = self.app.conf
            found = await self.app.async_transport.wait(self._key, timeout, conf.request_timeout)
            info = self._checked(found, timeout)
        value = value_of(info)
        if info.phase is not Phase.SUCCEEDED:
            if info.cause and value.__cause__ is None:
                contact = self.app.conf.request_timeout
                value.__cause__ = fault_of(await self.app.async_transport.wait(key_of(info.cause), contact, contact))
            if propagate:
                raise cast(Exception, value)
        return cast(R, value)

    def __await__(self) -> Generator[Any, None, R]:
        return self.aget().__await__()

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None) -> Any:
        """Raises what the job raised, if it has; else returns its value, None while it has not ended. Never waits."""
        return self._look(self._info(), callback, propagate)

    def then(
        self,
        callback: Callable[[AsyncResult[R]], object],
        on_error: Callable[[Exception], object] | None = None,
        weak: bool = False,
    ) -> None:
        """Calls `callback` with this result once the job has ended, however it did: from a thread, in this process.

        What the callback raises goes to `on_error`, or is logged. Results are held until then, `weak` or not.
        """
        from tqbroker.watching import then

        then(self, [self], callback, on_error)

    # -- others -------------------------------------------------------------------------------------------------------

    @property
    def parent(self) -> AsyncResult[Any] | GroupResult | None:
        """The result before this one in its chain, as the process knows it that sent the chain."""
        return getattr(self, "_parent", None)

    @parent.setter
    def parent(self, value: AsyncResult[Any] | GroupResult | None) -> None:
        self._parent = value

    @property
    def cause(self) -> AsyncResult[Any] | None:
        """The job whose end ended this one before it could run: this one had waited for it."""
        cause = self._info().cause
        return AsyncResult._of(key_of(cause), self.app) if cause else None

    @property
    def children(self) -> list[AsyncResult[Any]] | None:
        """What its body has submitted, then what was waiting for it alone; None when there is nothing known."""
        from tqbroker.result_tree import children_of

        return children_of(self.app, [self])[0] or None

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[AsyncResult[Any] | None, AsyncResult[Any]]]:
        """This result and all below it, level by level, as (whose child, result).

        Raises IncompleteStream at a job that has not ended; with `intermediate` only what is below it is left out.
        """
        from tqbroker.result_tree import iterdeps

        return iterdeps(self, intermediate)

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[AsyncResult[Any], Any]]:
        """(result, value) of this one and all below it; each is waited for by `get(**options)`."""
        for _, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**options)

    def get_leaf(self) -> Any:
        """The value of the last of all results below this one, waited for."""
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    def build_graph(self, intermediate: bool = False) -> DependencyGraph[AsyncResult[Any]]:
        """The results below this one as a graph, with an edge from each to its children."""
        from tqbroker.result_tree import build_graph

        return build_graph(self, intermediate)

    @property
    def graph(self) -> DependencyGraph[AsyncResult[Any]]:
        """`build_graph()`; `graph.to_dot(fh)` writes it for Graphviz."""
        return self.build_graph()

    def as_tuple(self) -> tuple[Any, ...]:
        """This result with its parents as nested tuples of texts, for `result_from_tuple`."""
        from tqbroker.result_tree import as_tuple

        return as_tuple(self)

    def as_list(self) -> list[str]:
        """Its id and those of its parents, the nearest first."""
        from tqbroker.result_tree import parents_of

        return [self.id, *(parent.id for parent in parents_of(self))]

    # -- what to do with it -------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Drops the stored outcomes of a finished job and its parents. Ids stay known: a late resend runs nothing."""
        from tqbroker.result_tree import leaves, parents_of

        results = [self, *leaves(parents_of(self))]
        self.app.transport.forget([result._key for result in results], self.app.conf.request_timeout)
        for result in results:
            result._final = None

    def revoke(
        self,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        wait: bool = True,
        timeout: float | None = None,
    ) -> RevokeEffect:
        """Cancels the job durably, and returns what that did.

        A running job goes on, and may look at `self.request.cancelled`, unless `terminate` is set: then its process
        gets `signal`, its coroutine is cancelled, or an exception is raised in its thread. Raises ValueError for what
        is no signal. The broker's answer is always waited for, `wait` or not: `timeout` seconds, else as any question.
        """
        name = signal_name(signal) if terminate else ""
        seconds = self.app.conf.request_timeout if timeout is None else timeout
        return self.app.transport.cancel([self._key], seconds, terminate=terminate, signal=name)[0]

    # -- inside -------------------------------------------------------------------------------------------------------

    def _ended(
        self,
        timeout: float | None,
        interval: float,
        on_message: Callable[[dict[str, Any]], object] | None,
        on_interval: Callable[[], object] | None,
    ) -> JobInfo:
        self._refuse_unsent()
        if on_message is None and on_interval is None:
            info = self.app.transport.wait(self._key, timeout, self.app.conf.request_timeout)
        else:
            from tqbroker.watching import watch

            info = watch(self.app, self._key, timeout, interval, on_message, on_interval)
        return self._checked(info, timeout)

    def _look(self, info: JobInfo, callback: Callable[[str, Any], object] | None, propagate: bool) -> Any:
        if info.phase not in FINAL:
            return None
        value = value_of(info)
        if propagate and info.phase is not Phase.SUCCEEDED:
            raise value
        if callback is not None:
            callback(self.id, value)
        return value

    def _checked(self, info: JobInfo | None, timeout: float | None) -> JobInfo:
        if info is None:
            raise still_runs(self._key, timeout)
        return self._keep(ended(info))

    def _refuse_unsent(self) -> None:
        """A batch sends its jobs when it is left: waiting inside of it would be for nothing."""
        batch = active_batch(self.app)
        if batch is not None and self in batch.results:
            raise RuntimeError(f"job {self.id} is not sent yet: get it after its `with app.batch():` has been left")
