"""What can be told of a signature by looking at it: whether it is empty, whether it ends with one result or many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tqbroker.canvas_chain import chain
from tqbroker.canvas_group import chord, group
from tqbroker.canvas_maps import chunks
from tqbroker.canvas_options import listed, merged
from tqbroker.canvas_parts import Composite
from tqbroker.canvas_signature import Signature


def is_empty(sig: Signature[Any]) -> bool:
    """Whether there is no call in it."""
    waiting = [sig]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Composite):
            waiting.extend(each.parts)
        elif not isinstance(each, chunks) or each.kwargs["it"]:
            return False
    return True


def leads_to_many(sig: Signature[Any] | None) -> bool:
    """Whether what comes after it is handed a list: it ends with a group."""
    while isinstance(sig, (chain, chord)):
        if isinstance(sig, chord):
            sig = sig["kwargs"]["body"]
        else:
            sig = next((part for part in reversed(sig.parts) if not is_empty(part)), None)
    return isinstance(sig, (group, chunks))


class Member(NamedTuple):
    """A member of a group with what the groups around it say."""

    sig: Signature[Any]
    options: dict[str, Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def members(whole: group, *, own: bool) -> Iterator[Member]:
    """The members of a group, those of groups in it among them, without empty ones.

    `own`: they are to be changed, so nobody else may have the same.
    """
    waiting = [Member(whole, {}, (), {})]
    while waiting:
        sig, options, args, kwargs = waiting.pop()
        if isinstance(sig, chunks):
            sig = sig.group()
        if isinstance(sig, group):
            more = merged(sig.options, options)
            more.pop("task_id", None)
            args, kwargs = (*args, *sig.args), {**sig.partial_kwargs, **kwargs}
            parts = sig.tasks if own else sig.parts
            waiting.extend(Member(part, more, args, kwargs) for part in reversed(parts))
        elif not is_empty(sig):
            yield Member(sig, options, args, kwargs)


class Hoisted(NamedTuple):
    """An error callback that several parts of a chain have, and the numbers of these parts."""

    errback: Signature[Any]
    parts: frozenset[int]


def shared_errbacks(parts: Sequence[Signature[Any]]) -> list[Hoisted]:
    """The error callbacks that several calls of a chain have: they are called once for all of these."""
    found: dict[str, list[tuple[Signature[Any], list[int]]]] = {}
    for number, part in enumerate(parts):
        if not isinstance(part, (Composite, chord)):
            for errback in listed("link_error", part.options.get("link_error")):
                _note(found.setdefault(repr(errback), []), errback, number)
    every = [entry for entries in found.values() for entry in entries]
    return [Hoisted(errback, frozenset(numbers)) for errback, numbers in every if len(numbers) > 1]


def _note(entries: list[tuple[Signature[Any], list[int]]], errback: Signature[Any], number: int) -> None:
    for known, numbers in entries:
        if known == errback:
            numbers.append(number)
            return
    entries.append((errback, [number]))
