"""Results, under the names that Celery's users import."""

from __future__ import annotations

from tqbroker.async_result import AsyncResult
from tqbroker.blocking import allow_join_result, denied_join_result
from tqbroker.group_result import GroupResult
from tqbroker.result_set import ResultSet
from tqbroker.result_tree import result_from_tuple
from tqbroker.result_view import Progress

__all__ = [
    "AsyncResult",
    "GroupResult",
    "Progress",
    "ResultSet",
    "allow_join_result",
    "denied_join_result",
    "result_from_tuple",
]
