"""Jobs that are submitted by jobs: whose children they are, and what the running job remembers of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tqbroker.context import Running, running

if TYPE_CHECKING:
    from tqbroker.async_result import AsyncResult
    from tqbroker.call import Head

MAX_CHILDREN = 10_000
"""Results that one attempt remembers: a body that submits more is a producer, and its list is of no use to anybody."""


def job_here() -> Running | None:
    """The job whose body runs here, also while that calls tasks as plain functions; None outside of one."""
    here = running()
    while here is not None and here[1].called_directly:
        here = here[1].outer
    return here


def inherited(head: Head) -> Head:
    """The head of a call made here: inside of a job it says whose child it is, and what all of this began with."""
    here = job_here()
    if here is None or head.root or here[1].id is None:
        return head
    return head._replace(parent=here[1].id, root=here[1].root_id or here[1].id)


def record(results: Sequence[AsyncResult[Any]]) -> None:
    """Remembers what was submitted as children of the job that runs here, unless its task has trail=False."""
    here = job_here()
    if here is not None and here[0].trail:
        children = here[1].children
        children.extend(results[: max(0, MAX_CHILDREN - len(children))])
