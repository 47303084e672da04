"""Whether this code may wait for a job: inside of a task it may not, unless it says that it must."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqbroker.context import running

_allowed: ContextVar[bool | None] = ContextVar("tqbroker_may_wait", default=None)


def refuse_to_block() -> None:
    """Raises RuntimeError inside of a task that a worker runs, where waiting is not allowed by `allow_join_result`."""
    allowed = _allowed.get()
    if allowed is None:
        current = running()
        allowed = current is None or current[1].is_eager or current[1].called_directly
    if not allowed:
        raise RuntimeError(
            "this would wait for a job inside of a task: once all slots wait so, none is left to run what they wait "
            "for. Let a chain or a chord hand the value on, or write `with allow_join_result():` where you know better"
        )


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Inside of this block results may be waited for, also in a task."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Inside of this block nobody may wait for results, wherever it runs."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)
