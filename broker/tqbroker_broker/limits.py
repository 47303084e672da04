"""Limits, as every engine decides them: the names a job counts against, and the rule of a name."""

from __future__ import annotations

from collections.abc import Mapping

from tqbroker_broker.records import Head
from tqbroker_broker.rules import LimitRule


def limit_names(head: Head) -> tuple[str, ...]:
    """The concrete names that the jobs of this head count against, each once."""
    return tuple(dict.fromkeys((f"task:{head.task}", f"queue:{head.queue}", *head.traits.limits)))


def rule_for(name: str, rules: Mapping[str, LimitRule]) -> LimitRule | None:
    """The rule of a concrete name: its own, or else that of the longest pattern ("mail:*") that it begins with."""
    exact = rules.get(name)
    if exact is not None:
        return exact
    for length in range(len(name), -1, -1):
        pattern = rules.get(f"{name[:length]}*")
        if pattern is not None:
            return pattern
    return None
