"""Malformed messages: a good one with each of its fields, one after another, missing or filled with nonsense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

HUGE = [1 << 31, (1 << 32) - 1]
HUGER = [1, *HUGE, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
TEXTS = ["", "x", "x" * 300, "a\nb", "\x00", "a\u202eb", "*", "**", "\U0001f600" * 128, "task:x", "x" * 100_000]
BLOBS = [b"", b"x", b"\xff" * 15, b"\x00" * 16, b"[" * 100_000, b"x" * ((1 << 20) + 1)]

VALUES: dict[int, list[Any]] = {
    FieldDescriptor.TYPE_UINT32: [0, 1, *HUGE],
    FieldDescriptor.TYPE_UINT64: [0, *HUGER],
    FieldDescriptor.TYPE_FIXED64: [0, *HUGER],
    FieldDescriptor.TYPE_DOUBLE: [-1.0, 1e308, float("inf"), float("-inf"), float("nan")],
    FieldDescriptor.TYPE_BOOL: [False, True],
    FieldDescriptor.TYPE_ENUM: [-(1 << 31), -1, 0, 1, 2, 99, (1 << 31) - 1],
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: BLOBS,
}
"""What each kind of field is filled with."""

MANY = 20_001
"""More elements than any list may have."""


Change = tuple[str, Callable[[Any], object]]
"""What is done to a message, and the doing."""

M = TypeVar("M", bound=Message)


def spoilt(good: M) -> Iterator[tuple[str, M]]:
    """The message with one field, or a field of a message in it, missing or filled with each of the values."""
    for field in good.DESCRIPTOR.fields:
        for what, change in _changes(field, good):
            bad = type(good)()
            bad.CopyFrom(good)
            change(bad)
            yield f"{field.name} {what}", bad


def _changes(field: Any, good: Message) -> Iterator[Change]:
    name = field.name
    yield "missing", partial(_clear, name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        for entry in [*({text: 1} for text in TEXTS), *({"x": number} for number in (0, *HUGE))]:
            yield f"with {entry!r}"[:30], partial(_update, name, entry)
        yield "many", partial(_update, name, {str(number): 1 for number in range(MANY)})
    elif field.is_repeated:
        yield from _list_changes(field, good)
    elif field.message_type:
        yield "empty", partial(_empty, name)
        if good.HasField(name):
            for what, inner in spoilt(getattr(good, name)):
                yield what, partial(_copy, name, inner)
    else:
        for value in VALUES[field.type]:
            yield repr(value)[:30], partial(_set, name, value)


def _list_changes(field: Any, good: Message) -> Iterator[Change]:
    name, old = field.name, list(getattr(good, field.name))
    yield "twice", partial(_extend, name, old)
    if field.message_type:
        empty = GetMessageClass(field.message_type)()
        yield "one empty", partial(_extend, name, [empty])
        yield "many empty", partial(_extend, name, [empty] * MANY)
        for what, inner in spoilt(old[0]) if old else ():
            yield what, partial(_replace, name, [inner, *old[1:]])
        return
    for value in VALUES[field.type]:
        yield f"with {value!r}"[:30], partial(_extend, name, [value])
        yield f"only {value!r}"[:30], partial(_replace, name, [value])
    yield "many", partial(_extend, name, [VALUES[field.type][1]] * MANY)


def _clear(name: str, bad: Any) -> None:
    bad.ClearField(name)


def _empty(name: str, bad: Any) -> None:
    bad.ClearField(name)
    getattr(bad, name).SetInParent()


def _set(name: str, value: object, bad: Any) -> None:
    setattr(bad, name, value)


def _copy(name: str, value: Message, bad: Any) -> None:
    getattr(bad, name).CopyFrom(value)


def _update(name: str, value: dict[str, int], bad: Any) -> None:
    getattr(bad, name).update(value)


def _extend(name: str, values: list[Any], bad: Any) -> None:
    getattr(bad, name).extend(values)


def _replace(name: str, values: list[Any], bad: Any) -> None:
    bad.ClearField(name)
    getattr(bad, name).extend(values)
