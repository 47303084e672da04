"""The name of a workflow, for people: "chord(tasks.resize x 10, tasks.total)"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from tqbroker.canvas_group import chord
from tqbroker.canvas_parts import Composite
from tqbroker.canvas_signature import Signature

MAX_NAME = 255
"""Characters of a name; as many as that of a task may have."""

_DEPTH, _PARTS, _SEEN = 3, 8, 300_000
"""How deep a name goes into parts of parts, how many it shows of each, how many of them it looks at."""


def name_of(sig: Signature[Any]) -> str:
    """What the workflow is made of, on one line."""
    name = _shown(sig, _DEPTH)
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..."


def _shown(sig: Signature[Any] | None, depth: int) -> str:
    if isinstance(sig, chord):
        return f"chord({_listed(sig.header.parts, depth)}, {_shown(sig['kwargs']['body'], depth - 1)})"
    if isinstance(sig, Composite):
        return f"{sig.subtask_type}({_listed(sig.parts, depth)})"
    return "" if sig is None else sig.task


def _listed(parts: list[Signature[Any]], depth: int) -> str:
    if depth <= 0:
        return "..."
    runs = list(islice(_runs(_shown(part, depth - 1) for part in parts[:_SEEN]), _PARTS + 1))
    texts = [text if count == 1 else f"{text} x {count}" for text, count in runs[:_PARTS]]
    if len(runs) > _PARTS or len(parts) > _SEEN:
        texts.append("...")
    return ", ".join(texts)


def _runs(texts: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Equal texts one after the other as one, with their number."""
    last, count = "", 0
    for text in texts:
        if count and text != last:
            yield last, count
            count = 0
        last, count = text, count + 1
    if count:
        yield last, count
