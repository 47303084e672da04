"""Values on their way: what is sent comes back, and what cannot be sent is named."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqbroker import codec
from tqbroker.codec_tags import MAX_DEPTH
from tqbroker.exceptions import DecodeError, EncodeError

FORMATS = ["json", "msgpack"]

VALUES = [
    None,
    True,
    0,
    2**63,
    -1.5,
    "text",
    "",
    b"\x00\xff",
    [1, [2, []]],
    {"a": {"b": [None]}},
    (),
    (1, (2, "x")),
    [(1, 2)],
    {1: "one", (2, 3): "pair", None: 0},
    {"$tq": ["tuple", [1]]},
    {"$tq": 1, "other": 2},
    ["$tq"],
    set(),
    {1, (2, 3)},  # of more than one text the order, and so the name of the test, is another in each process
    {"a"},
    frozenset({b"x"}),
    datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    date(2026, 1, 2),
    time(1, 2, 3, 4),
    timedelta(days=-1, microseconds=1),
    Decimal("1.10"),
    UUID(int=7),
    float("inf"),
    float("-inf"),
]


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_sent_comes_back(value: Any, fmt: str) -> None:
    back = codec.decode(codec.encode(value, fmt), fmt)

    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_arguments_come_back_in_their_places(value: Any, fmt: str) -> None:
    data = codec.encode_call((value, 1), {"key": value}, fmt)

    assert codec.decode_call(data, fmt) == ((value, 1), {"key": value})


_keys = st.one_of(st.text(max_size=4), st.just("$tq"), st.integers(-5, 5))
_plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.binary(max_size=8),
)
_nested = st.recursive(
    _plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(_keys, inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("fmt", FORMATS)
@given(value=_nested)
def test_any_nesting_comes_back(fmt: str, value: Any) -> None:
    assert codec.decode(codec.encode(value, fmt), fmt) == value


@pytest.mark.parametrize("fmt", FORMATS)
def test_nan_is_not_turned_into_none(fmt: str) -> None:
    assert math.isnan(codec.decode(codec.encode([float("nan")], fmt), fmt)[0])


def test_plain_values_are_plain_json() -> None:
    assert codec.encode_call((4, "x", [1, {"a": None}]), {"k": True}) == b'[[4,"x",[1,{"a":null}]],{"k":true}]'


def test_many_calls_encode_like_one() -> None:
    plain: list[Any] = [(1, 2), ("a", None)]
    mixed: list[Any] = [(1, 2), (datetime(2026, 1, 2), [1.5])]

    for calls in (plain, mixed):
        assert codec.encode_calls(calls) == [codec.encode_call(args, {}) for args in calls]


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Name(str):
    pass


Pair = namedtuple("Pair", "left right")


@dataclass
class Point:
    x: int
    when: date


class Struct(msgspec.Struct):
    x: int
    y: tuple[int, ...]


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Color.RED, "red"),
        (Size.BIG, 3),
        (Name("n"), "n"),
        (Pair(1, 2), (1, 2)),
        (OrderedDict(a=(1,)), {"a": (1,)}),
        (Point(1, date(2026, 1, 2)), {"x": 1, "when": date(2026, 1, 2)}),
        (Struct(1, (2,)), {"x": 1, "y": (2,)}),
        (bytearray(b"x"), b"x"),
    ],
    ids=repr,
)
def test_richer_types_arrive_as_their_plain_kin(value: Any, arrives: Any) -> None:
    assert codec.decode(codec.encode(value)) == arrives


def test_a_set_gives_the_same_bytes_whatever_its_order() -> None:
    assert codec.encode({"b", "a", "c"}) == codec.encode({"c", "b", "a"}) == b'{"$tq":["set",["a","b","c"]]}'


def test_what_cannot_be_sent_is_named_with_its_place() -> None:
    with pytest.raises(EncodeError, match=r"^argument 2\['a'\]\[1\] is a builtins.object, which cannot be sent: use"):
        codec.encode_call((1, {"a": [0, object()]}), {})
    with pytest.raises(TypeError, match=r"^argument 'when' is a builtins.function"):
        codec.encode_call((), {"when": test_what_cannot_be_sent_is_named_with_its_place})
    with pytest.raises(EncodeError, match=r"^the value\[0\] is a builtins.type"):
        codec.encode([int])


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_cycle_is_refused(fmt: str) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)

    with pytest.raises(EncodeError, match=f"deeper than {MAX_DEPTH}"):
        codec.encode_call((cycle,), {}, fmt)


@pytest.mark.parametrize("fmt", FORMATS)
def test_nesting_within_the_bound_comes_back(fmt: str) -> None:
    value: Any = ("core",)
    for _ in range(MAX_DEPTH - 5):
        value = (value,)

    assert codec.decode(codec.encode(value, fmt), fmt) == value


def test_text_that_utf8_cannot_carry_is_refused() -> None:
    for call in (codec.encode, lambda value: codec.encode_calls([(value,)])):
        with pytest.raises(EncodeError, match="lone surrogate"):
            call("\ud800")


def test_an_int_beyond_64_bits_needs_json() -> None:
    assert codec.decode(codec.encode(10**30)) == 10**30
    with pytest.raises(EncodeError, match="beyond 64 bits cannot be sent as msgpack"):
        codec.encode(10**30, "msgpack")


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b'{"$tq":["who knows",1]}',
        b'{"$tq":5}',
        b'{"$tq":[["tuple"],1]}',
        b'{"$tq":["datetime","yesterday"]}',
        b'{"$tq":["set",[[1]]]}',
        b"[" * 200_000 + b"]" * 200_000,
        b"[" * 500 + b'"$tq"' + b"]" * 500,
    ],
)
def test_bytes_that_are_no_value_raise_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        codec.decode(data)


@pytest.mark.parametrize("data", [b"1", b"[]", b"[1,2]", b'[[],"x"]', b"[[],{},3]", b'[["$tq"],5]', b"\xff"])
def test_bytes_that_are_no_call_raise_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        codec.decode_call(data)


def test_an_unknown_format_is_an_error_that_names_the_known() -> None:
    with pytest.raises(DecodeError, match="unknown format 'pickle': use one of json, msgpack"):
        codec.decode(b"x", "pickle")


def test_no_bytes_are_none() -> None:
    assert codec.decode(b"") is None
