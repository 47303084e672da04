"""Celery's retry policy of a publish, as the time that a submit is tried. Submits are safe to repeat by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST = 1.0
"""Seconds that a submit gets at least: a commit on a slow disk must be able to answer."""

MOST = 3600.0
"""Seconds that stand for "for ever": nothing blocks without a deadline."""

DEFAULT_POLICY: Mapping[str, Any] = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}
_NAMES = frozenset({*DEFAULT_POLICY, "retry_errors"})


def total_seconds(retry: bool, policy: Mapping[str, Any] | None) -> float:
    """How long a submit under this policy is tried: the sum of its pauses, within LEAST and MOST.

    `max_retries=None` is for ever. Raises ValueError for a policy that cannot be read.
    """
    chosen = {**DEFAULT_POLICY, **check_policy(policy or {})}
    if not retry:
        return LEAST
    if chosen["max_retries"] is None:
        return MOST
    start, step, most = (float(chosen[name]) for name in ("interval_start", "interval_step", "interval_max"))
    rising = min(int(chosen["max_retries"]), 10_000)
    pauses = sum(min(start + step * number, most) for number in range(rising))
    return min(max(LEAST, pauses), MOST)


def check_policy(policy: Mapping[str, Any]) -> Mapping[str, Any]:
    """The policy itself. Raises ValueError for an unknown name or a value that is no number."""
    for name, value in policy.items():
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        if name not in _NAMES or not (fits or name == "retry_errors" or (name == "max_retries" and value is None)):
            allowed = "max_retries (None for ever), interval_start, interval_step and interval_max, 0 or more"
            raise ValueError(f"retry_policy {name}={value!r} is not allowed: use {allowed}")
    return policy
