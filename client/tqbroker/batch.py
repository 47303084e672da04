"""`with app.batch():` collects calls and makes all of them durable at once."""

from __future__ import annotations

import os
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tqbroker.call import Batch, Head

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.async_result import AsyncResult

MAX_CALLS = 1_000_000
"""Calls one batch may collect: they are all held in memory until it is left."""

_open: ContextVar[BatchContext | None] = ContextVar("tqbroker_batch", default=None)


class BatchContext:
    """The calls collected so far. A batch inside a batch of the same app adds to the outer one.

    Calls of one task with the same options keep their order; between others there is none. A process that is forked
    inside of the block is outside: its calls are sent at once, since the parent, which leaves the block, would not know
    of them. Should the child leave the block too, what both have collected is sent twice and stored once.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._groups: dict[Head, Batch] = {}
        self._token: Token[BatchContext | None] | None = None
        self._outer: BatchContext | None = None
        self._collecting = False
        self._process = 0
        self.results: list[AsyncResult[Any]] = []
        """The results of all calls so far, in order."""
        self._children: list[AsyncResult[Any]] = []

    def add(self, batch: Batch, result: AsyncResult[Any], *, child: bool = False) -> None:
        """Takes one call. `child`: the job that runs here is to remember it."""
        self.extend(batch, [result], child=child)

    def extend(self, batch: Batch, results: list[AsyncResult[Any]], *, child: bool = False) -> None:
        """Takes calls that share their head."""
        if len(self.results) + len(results) > MAX_CALLS:
            raise ValueError(f"a batch takes up to {MAX_CALLS} calls: use several, one after the other")
        group = self._groups.get(batch.head)
        if group is None:
            self._groups[batch.head] = batch
        else:
            group.keys.extend(batch.keys)
            group.args.extend(batch.args)
            if group.unique_keys is not None:
                group.unique_keys.extend(batch.unique_keys or ())
        self.results.extend(results)
        if child:
            self._children.extend(results)

    def _enter(self) -> BatchContext:
        if self._token is not None:
            raise RuntimeError("this batch was entered before: make a new one with app.batch()")
        self._outer = active_batch(self._app)
        self._collecting = True
        self._process = os.getpid()
        self._token = _open.set(self._outer or self)
        return self._outer or self

    def _leave(self, failed: bool) -> list[Batch]:
        """Stops collecting, and gives what is to be sent here and now: nothing when the block raised."""
        assert self._token is not None
        _open.reset(self._token)
        self._collecting = False
        groups, self._groups = list(self._groups.values()), {}
        return [] if failed else groups

    def __enter__(self) -> BatchContext:
        return self._enter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if batches := self._leave(failed=kind is not None):
            self._app.sender.submit(batches, self.results, self._children)

    async def __aenter__(self) -> BatchContext:
        return self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if batches := self._leave(failed=kind is not None):
            await self._app.sender.asubmit(batches, self.results, self._children)


def active_batch(app: App) -> BatchContext | None:
    """The batch that collects calls of this app here, or None. One that was left, or entered by a parent, is none."""
    batch = _open.get()
    if batch is None or batch._app is not app or not batch._collecting or batch._process != os.getpid():
        return None
    return batch
