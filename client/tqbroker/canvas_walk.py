"""Walks over signatures in signatures: written as recursion, run without the stack that recursion needs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

Walk = Generator[Any, Any, Any]
"""A function that yields the walk of a part where it would call it, and is sent what that returns."""


def run(walk: Walk) -> Any:
    """What the walk returns. However deep it goes, it takes memory and no stack."""
    open_walks = [walk]
    value: Any = None
    while open_walks:
        try:
            inner = open_walks[-1].send(value)
        except StopIteration as stop:
            open_walks.pop()
            value = stop.value
        else:
            open_walks.append(inner)
            value = None
    return value
