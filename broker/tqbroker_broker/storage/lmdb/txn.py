"""The part of py-lmdb we use, typed as we use it: without buffers, so that keys and values are bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import lmdb

from tqbroker_broker.storage import Fenced

P = ParamSpec("P")
T = TypeVar("T")

Database = Any
"""A named database; py-lmdb's own class is not importable by name."""


class Cursor(Protocol):
    """A position in one database."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]: ...
    def first(self) -> bool: ...
    def last(self) -> bool: ...
    def next(self) -> bool: ...
    def prev(self) -> bool: ...
    def set_range(self, key: bytes) -> bool: ...
    def key(self) -> bytes: ...
    def value(self) -> bytes: ...
    def item(self) -> tuple[bytes, bytes]: ...
    def delete(self) -> bool: ...
    def getmulti(self, keys: Iterable[bytes]) -> list[tuple[bytes, bytes]]: ...
    def putmulti(
        self, items: Iterable[tuple[bytes, bytes]], *, overwrite: bool = ..., append: bool = ...
    ) -> tuple[int, int]: ...


class Txn(Protocol):
    """One transaction, reading or writing."""

    def get(self, key: bytes, *, db: Database) -> bytes | None: ...
    def put(self, key: bytes, value: bytes, *, db: Database) -> bool: ...
    def delete(self, key: bytes, *, db: Database) -> bool: ...
    def cursor(self, db: Database) -> Cursor: ...
    def stat(self, db: Database) -> dict[str, int]: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


def begin(env: lmdb.Environment, *, write: bool = False) -> Txn:
    """Begins a transaction. One that writes must be ended by the thread that began it."""
    return cast(Txn, env.begin(write=write))


def reads(verb: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """A verb that reads. LMDB complains of a page that is not as it was written: the store is not to be trusted then,
    and nobody is answered from it any more (Fenced)."""

    @wraps(verb)
    async def read(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await verb(*args, **kwargs)
        except lmdb.Error as problem:
            raise Fenced(f"the store cannot be read: {problem}. tqbroker verify says what is damaged.") from problem

    return read
