"""Workflows as values, under Celery's names: signatures, chains, groups, chords, maps and chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tqbroker.canvas_chain import chain
from tqbroker.canvas_group import chord, group
from tqbroker.canvas_maps import chunks, xmap, xstarmap
from tqbroker.canvas_signature import Signature
from tqbroker.canvas_stamping import StampingVisitor

if TYPE_CHECKING:
    from tqbroker.app import App

__all__ = [
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature[Any]:
    """The signature of a task, named or given, with what Signature takes; that of a mapping; a copy of a signature."""
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: App | None = None, clone: bool = False) -> Signature[Any] | None:
    """A signature as it is (with `clone` a copy), that of a mapping, or None for None. Belongs to `app` if given."""
    if d is None:
        return None
    found = signature(d) if clone or not isinstance(d, Signature) else d
    if app is not None:
        found._app = app
    return found


maybe_subtask = maybe_signature
