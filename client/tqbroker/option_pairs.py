"""Options that go together, or do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tqbroker.amounts import span_ms


def check_together(given: Mapping[str, Any]) -> None:
    """Raises ValueError for options that do not go together. None is "not given"."""
    hard, soft = given.get("time_limit"), given.get("soft_time_limit")
    if hard is not None and soft is not None and span_ms("soft_time_limit", soft) >= span_ms("time_limit", hard):
        raise ValueError(f"soft_time_limit={soft!r} would never be reached: give less than time_limit={hard!r}")
    if given.get("unique_until") is None and given.get("unique_for") is None:
        for name in ("unique_on_conflict", "unique_key"):
            if given.get(name) is not None:
                raise ValueError(f"{name} is given, but not how long jobs are unique: add unique_until or unique_for")
