"""Arguments and results to bytes and back: the only place that knows formats.

Two formats: "json" (default) and "msgpack". What they cannot say themselves (datetime, Decimal, tuple, ...) travels
in tags, see `codec_tags`. Plain values take a short path that neither looks for tags nor walks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from tqbroker.codec_tags import MARKER, SIMPLE, tag, untag
from tqbroker.exceptions import DecodeError, EncodeError

DEFAULT_FORMAT = "json"

# Exact types that every format writes as they are. A float is not among them: JSON has no NaN.
_PLAIN = frozenset({int, str, bool, type(None)})
_NO_KWARGS: dict[str, Any] = {}


class _Format(NamedTuple):
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


FORMATS: dict[str, _Format] = {
    "json": _Format(msgspec.json.Encoder().encode, msgspec.json.Decoder().decode),
    "msgpack": _Format(msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode),
}


def _format(name: str) -> _Format:
    try:
        return FORMATS[name]
    except KeyError:
        return _compressed(name)


def _compressed(name: str) -> _Format:
    """The format "json+zlib" and its like. Raises DecodeError for what is none."""
    serializer, _, method = name.partition("+")
    if serializer not in FORMATS or method not in ("zlib", "bzip2", "lzma"):
        raise DecodeError(f"unknown format {name!r}: use one of {', '.join(FORMATS)}, or one with +zlib, +bzip2, +lzma")
    from tqbroker.compression import pack, unpack

    plain = FORMATS[serializer]
    return _Format(lambda value: pack(plain.write(value), method), lambda data: plain.read(unpack(data, method)))


def encode(value: Any, format: str = DEFAULT_FORMAT) -> bytes:  # noqa: A002 - the word of the wire
    """Bytes of one value, for example a result. Raises EncodeError naming what cannot be sent."""
    fmt = _format(format)
    if type(value) in _PLAIN:
        return _write(fmt, value, format)
    return _write(fmt, tag(value), format)


def decode(data: bytes, format: str = DEFAULT_FORMAT) -> Any:  # noqa: A002
    """The value that `encode` was given. Empty bytes are None. Raises DecodeError."""
    if not data:
        return None
    value = _read(_format(format), data, format)
    return untag(value) if MARKER in data or "+" in format else value


def encode_call(args: Sequence[Any], kwargs: Mapping[str, Any], format: str = DEFAULT_FORMAT) -> bytes:  # noqa: A002
    """Bytes of the arguments of one call. Raises EncodeError naming the argument."""
    if _PLAIN.issuperset(map(type, args)) and (not kwargs or _PLAIN.issuperset(map(type, kwargs.values()))):
        return _write(_format(format), (args, kwargs), format)
    return _write(_format(format), (_tag_args(args), _tag_kwargs(kwargs)), format)


def encode_calls(calls: Sequence[Sequence[Any]], format: str = DEFAULT_FORMAT) -> list[bytes]:  # noqa: A002
    """The same for many calls with positional arguments only; plain ones are checked all at once."""
    write = _format(format).write
    if not _PLAIN.issuperset(map(type, chain.from_iterable(calls))):
        return [encode_call(args, _NO_KWARGS, format) for args in calls]
    try:
        return [write((args, _NO_KWARGS)) for args in calls]
    except (UnicodeEncodeError, OverflowError) as error:
        raise _unwritable(error, format) from None


def decode_call(data: bytes, format: str = DEFAULT_FORMAT) -> tuple[tuple[Any, ...], dict[str, Any]]:  # noqa: A002
    """Positional and keyword arguments of one call. Raises DecodeError."""
    value = _read(_format(format), data, format)
    try:
        args, kwargs = value
        if MARKER in data or "+" in format:
            return tuple(map(untag, args)), {name: untag(item) for name, item in kwargs.items()}
        return tuple(args), kwargs if type(kwargs) is dict else dict(kwargs)
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"arguments must be a list and a mapping: {data[:100]!r}") from None


def _tag_args(args: Sequence[Any]) -> list[Any]:
    return [item if type(item) in SIMPLE else tag(item, (f"argument {n}",)) for n, item in enumerate(args, 1)]


def _tag_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item if type(item) in SIMPLE else tag(item, (f"argument {name!r}",)) for name, item in kwargs.items()}


def _write(fmt: _Format, value: Any, name: str) -> bytes:
    try:
        return fmt.write(value)
    except (UnicodeEncodeError, OverflowError) as error:
        raise _unwritable(error, name) from None


def _unwritable(error: Exception, name: str) -> EncodeError:
    if isinstance(error, OverflowError):
        return EncodeError(f"an int beyond 64 bits cannot be sent as {name}: send it as json, or as a str")
    return EncodeError(f"a str with a lone surrogate cannot be sent ({error}): send it as bytes")


def _read(fmt: _Format, data: bytes, name: str) -> Any:
    try:
        return fmt.read(data)
    except DecodeError:
        raise
    except (msgspec.DecodeError, RecursionError) as error:
        raise DecodeError(f"not valid {name}: {error}") from None
