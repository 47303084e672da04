"""Type tags: how values that JSON and msgpack do not know are written with those they know.

A tagged value is a mapping with the single key "$tq" and as its value a list of two: the name of the type, and plain
data. A user's mapping that has this key, or keys that are not str, travels as a tagged list of pairs; so whatever was
sent comes back, also when it looks like a tag.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any
from uuid import UUID

import msgspec

from tqbroker.exceptions import DecodeError, EncodeError

KEY = "$tq"
MARKER = b"$tq"
"""Bytes that every encoded tag contains: data without them needs no untagging."""

MAX_DEPTH = 100
"""Deeper nesting is refused: it is a cycle or a mistake, and readers in other languages stop there too."""

SIMPLE = frozenset({int, str, bool, type(None)})
_STR = frozenset({str})
_ALLOWED = (
    "None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, datetime, date, time, timedelta, Decimal, "
    "UUID, Enum, dataclasses and msgspec Structs"
)

Path = tuple[Any, ...]


def tag(value: Any, path: Path = ()) -> Any:
    """The same value in what every format knows. `path` names where it stands, for the error message."""
    kind = type(value)
    if kind in SIMPLE:
        return value
    if len(path) > MAX_DEPTH:
        raise EncodeError(f"{_where(path[:4])} is nested deeper than {MAX_DEPTH}, or contains itself")
    writer = _WRITERS.get(kind) or _writer_of_base(value)
    if writer is None:
        raise EncodeError(f"{_where(path)} is a {kind.__module__}.{kind.__qualname__}, which cannot be sent: {_ADVICE}")
    return writer(value, path)


_ADVICE = f"use {_ALLOWED}, or send what identifies it, such as a primary key or a path"


def _where(path: Path) -> str:
    if not path:
        return "the value"
    head, *rest = path
    if not isinstance(head, str) or not head.startswith("argument "):
        head, rest = "the value", list(path)
    return head + "".join(f"[{step!r}]" for step in rest)


def _tagged(name: str, value: Any) -> dict[str, list[Any]]:
    return {KEY: [name, value]}


def _items(values: Any, path: Path) -> list[Any]:
    if SIMPLE.issuperset(map(type, values)):
        return list(values)
    return [tag(item, (*path, index)) for index, item in enumerate(values)]


def _list(value: list[Any], path: Path) -> Any:
    return value if SIMPLE.issuperset(map(type, value)) else _items(value, path)


def _dict(value: dict[Any, Any], path: Path) -> Any:
    if not _STR.issuperset(map(type, value)) or KEY in value:
        pairs = [[tag(k, (*path, k)), tag(v, (*path, k))] for k, v in value.items()]
        return _tagged("dict", pairs)
    if SIMPLE.issuperset(map(type, value.values())):
        return value
    return {k: tag(v, (*path, k)) for k, v in value.items()}


def _float(value: float, path: Path) -> Any:
    return value if isfinite(value) else _tagged("float", str(value))


def _unordered(name: str) -> Callable[[Any, Path], Any]:
    """Elements are written in the order of their bytes: the same set gives the same job in every process."""

    def write(value: Any, path: Path) -> Any:
        return _tagged(name, sorted(_items(value, path), key=msgspec.json.encode))

    return write


def _object(value: Any, path: Path) -> Any:
    """A dataclass or Struct becomes the mapping of its fields; its type is not sent."""
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
    else:
        names = tuple(field.name for field in dataclasses.fields(value))
    return _dict({name: getattr(value, name) for name in names}, path)


def _timedelta(value: timedelta, path: Path) -> Any:
    return _tagged("timedelta", [value.days, value.seconds, value.microseconds])


def _simple(name: str, plain: Callable[[Any], Any]) -> Callable[[Any, Path], Any]:
    return lambda value, path: _tagged(name, plain(value))


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode()


_WRITERS: dict[type, Callable[[Any, Path], Any]] = {
    list: _list,
    dict: _dict,
    float: _float,
    tuple: lambda value, path: _tagged("tuple", _items(value, path)),
    set: _unordered("set"),
    frozenset: _unordered("frozenset"),
    bytes: _simple("bytes", _base64),
    bytearray: _simple("bytes", _base64),
    memoryview: _simple("bytes", _base64),
    datetime: _simple("datetime", datetime.isoformat),
    date: _simple("date", date.isoformat),
    time: _simple("time", time.isoformat),
    timedelta: _timedelta,
    Decimal: _simple("decimal", str),
    UUID: _simple("uuid", str),
}


def _writer_of_base(value: Any) -> Callable[[Any, Path], Any] | None:
    """For subclasses: an Enum is sent as its value, a dataclass as its fields, anything else as its base type."""
    if isinstance(value, type):
        return None
    if isinstance(value, Enum):
        return lambda item, path: tag(item.value, path)
    if dataclasses.is_dataclass(value) or isinstance(value, msgspec.Struct):
        return _object
    for base in (str, int):
        if isinstance(value, base):
            return lambda item, path: base(item)
    return next((writer for base, writer in _WRITERS.items() if isinstance(value, base)), None)


_READERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "float": float,
    "bytes": base64.b64decode,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "decimal": Decimal,
    "uuid": UUID,
}


def untag(value: Any, depth: int = 0) -> Any:
    """What `tag` was given. Raises DecodeError for tags it does not know."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    if depth > 2 * MAX_DEPTH + 8:
        raise DecodeError(f"nested deeper than {MAX_DEPTH}")
    if kind is list:
        return [untag(item, depth + 1) for item in value]
    if len(value) == 1 and KEY in value:
        return _read_tag(value[KEY], depth)
    return {key: untag(item, depth + 1) for key, item in value.items()}


def _read_tag(body: Any, depth: int) -> Any:
    try:
        name, plain = body
        reader = _READERS[name]
    except (KeyError, TypeError, ValueError):
        raise DecodeError(f"unknown type tag {body!r:.100}: it was written by a newer tqbroker?") from None
    try:
        return reader(untag(plain, depth + 1))
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"{plain!r:.100} is not a {name}: {error}") from None
