"""Stored values as JSON has them, and back: nothing is lost, and people can read it.

Structures become objects with the names of their fields, without those that have their usual value. Bytes become a
text; what is no text becomes {"uuid": ...} if it has 16 bytes, or {"base64": ...}. Enumerations become their names.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

UUID_SIZE = 16


class NotPlain(ValueError):
    """A value of an export that is not what should stand there; the message says what should."""


def plain(value: Any) -> Any:
    """A stored value as JSON has it."""
    if isinstance(value, IntEnum):
        return value.name
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return _of_bytes(value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    fields = _fields(value.__class__)
    if fields is None:
        return [plain(each) for each in value]
    found = ((name, getattr(value, name), usual) for name, usual in fields)
    return {name: plain(each) for name, each, usual in found if each != usual or type(each) is not type(usual)}


REQUIRED = object()
"""Stands for the usual value of a field that has none."""


@cache
def _fields(kind: type) -> tuple[tuple[str, Any], ...] | None:
    """The fields of a structure with their usual values; None of what is a list."""
    if issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return tuple((f.name, f.default if f.default is not msgspec.NODEFAULT else REQUIRED) for f in fields)
    if dataclasses.is_dataclass(kind):
        return tuple(
            (f.name, f.default if f.default is not dataclasses.MISSING else REQUIRED) for f in dataclasses.fields(kind)
        )
    names: tuple[str, ...] | None = getattr(kind, "_fields", None)
    usual: dict[str, Any] = getattr(kind, "_field_defaults", {})
    return tuple((name, usual.get(name, REQUIRED)) for name in names) if names is not None else None


def _of_bytes(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        pass
    if len(value) == UUID_SIZE:
        return {"uuid": str(UUID(bytes=value))}
    return {"base64": base64.b64encode(value).decode()}


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    match value:
        case {"uuid": str(text)}:
            return UUID(text).bytes
        case {"base64": str(text)}:
            return base64.b64decode(text, validate=True)
    raise NotPlain(f"{value!r:.60} where a text, a uuid or base64 should be")


@cache
def reader(kind: Any) -> Callable[[Any], Any]:
    """What makes a value of a type from what JSON has. It raises NotPlain, or another ValueError."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is bytes:
        return _to_bytes
    if origin in (Union, UnionType):
        (inner,) = (each for each in arguments if each is not NoneType)
        read = reader(inner)
        return lambda value: None if value is None else read(value)
    if origin in (list, tuple):
        return _of_list(origin, arguments)
    if origin is dict:
        each = reader(arguments[1])
        return lambda value: {key: each(one) for key, one in _is(dict, value).items()}
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return lambda value: _named(kind, value)
    return _of_fields(kind) if isinstance(kind, type) and _fields(kind) is not None else _of_scalar(kind)


def _of_list(origin: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Lists and tuples of one type, and tuples of a certain length."""
    if origin is tuple and arguments[-1] is not Ellipsis:
        reads = [reader(each) for each in arguments]
        return lambda value: tuple(read(each) for read, each in zip(reads, _is(list, value), strict=True))
    read = reader(arguments[0])
    return lambda value: origin(read(each) for each in _is(list, value))


def _of_fields(kind: type) -> Callable[[Any], Any]:
    """Structures: every field that is there is read, those that are not have their usual value."""
    hints = get_type_hints(kind)
    reads = {name: reader(hints[name]) for name, _ in _fields(kind) or ()}
    required = [name for name, usual in _fields(kind) or () if usual is REQUIRED]

    def read(value: Any) -> Any:
        given = _is(dict, value)
        if unknown := given.keys() - reads.keys():
            raise NotPlain(f"there is no field {min(unknown)!r} in {kind.__name__}")
        if missing := [name for name in required if name not in given]:
            raise NotPlain(f"the field {missing[0]!r} of {kind.__name__} is missing")
        return kind(**{name: reads[name](each) for name, each in given.items()})

    return read


def _of_scalar(kind: Any) -> Callable[[Any], Any]:
    """Numbers, texts, booleans, nothing."""

    def read(value: Any) -> Any:
        return float(value) if kind is float and type(value) is int else _is(kind, value)

    return read


def _is(kind: Any, value: Any) -> Any:
    if type(value) is not kind:
        raise NotPlain(f"{value!r:.60} where {kind.__name__} should be")
    return value


def _named(kind: type[IntEnum], value: Any) -> IntEnum:
    if not isinstance(value, str) or value not in kind.__members__:
        raise NotPlain(f"{value!r:.60} where one of {', '.join(kind.__members__)} should be")
    return kind[value]
