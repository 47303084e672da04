"""Compressed arguments and results: a second half of the format's name."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from tqbroker import App
from tqbroker.codec import decode, decode_call, encode, encode_call, encode_calls
from tqbroker.exceptions import DecodeError

FORMATS = ["json+zlib", "json+bzip2", "json+lzma", "msgpack+zlib"]
VALUE: dict[str, Any] = {"when": datetime(2030, 1, 1, tzinfo=UTC), "pair": (1, 2), "text": "x" * 10_000}


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_compressed_comes_back_as_it_was(name: str) -> None:
    assert decode(encode(VALUE, name), name) == VALUE
    assert decode_call(encode_call((1, VALUE), {"k": "v"}, name), name) == ((1, VALUE), {"k": "v"})
    assert decode_call(encode_calls([("a" * 1000,)], name)[0], name) == (("a" * 1000,), {})
    assert len(encode("x" * 10_000, name)) < 200


@pytest.mark.parametrize(
    ("option", "name"), [("zlib", "json+zlib"), ("gzip", "json+zlib"), ("bzip2", "json+bzip2"), ("lzma", "json+lzma")]
)
def test_the_compression_of_task_call_or_app_stands_in_the_format(option: str, name: str) -> None:
    def work() -> None: ...

    assert App(task_compression=option).task(work).default_head().format == name
    assert App().task(compression=option)(work).default_head().format == name
    assert App().task(work)._call((), {}, {"compression": option})[0].format == name
    assert App(result_compression=option).conf.result_format == name


@pytest.mark.parametrize("data", [b"nonsense", zlib.compress(b"[[],{}]")[:-2], zlib.compress(bytes((64 << 20) + 1))])
def test_damaged_cut_off_or_exploding_data_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError, match="zlib"):
        decode_call(data, "json+zlib")


@pytest.mark.parametrize("name", ["json+zstd", "yaml+zlib", "json+", "+zlib", "json+zlib+zlib"])
def test_an_unknown_format_is_named_with_those_that_are_known(name: str) -> None:
    with pytest.raises(DecodeError, match=r"unknown format .*: use one of json, msgpack"):
        decode(b"x", name)
