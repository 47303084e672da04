"""Celery's stamps: names with values, given at the call, by which the broker finds jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tqbroker.option_rules import text

MAX_STAMPS = 32
_STAMP = text(255)


def stamps_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Each as "name=value", from `stamps={...}` and from `stamped_headers=["x"], x=...`. Raises ValueError."""
    named = options.get("stamped_headers") or ()
    if not named and "stamps" not in options:
        return ()
    given: dict[str, Any] = dict(options.get("stamps") or {})
    for name in (named,) if isinstance(named, str) else named:
        if name not in options and name not in given:
            raise ValueError(f"stamped_headers names {name!r}, but there is no {name}=: give its value")
        given.setdefault(name, options.get(name))
    stamps = tuple(sorted({stamp for name, value in given.items() for stamp in _stamps(name, value)}))
    if len(stamps) > MAX_STAMPS:
        raise ValueError(f"stamps={given!r:.200} is not allowed: give at most {MAX_STAMPS}")
    return stamps


def _stamps(name: str, value: Any) -> Iterator[str]:
    if not isinstance(name, str) or "=" in name:
        raise ValueError(f"stamp {name!r:.200} is not allowed: its name must be a str without '='")
    for item in value if isinstance(value, (list, tuple, set, frozenset)) else (value,):
        stamp = f"{name}={item}"
        _STAMP.check("stamp", stamp)
        yield stamp
