"""Compression of encoded values: the second half of a format name such as "json+zlib"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tqbroker.exceptions import DecodeError

MAX_UNPACKED = 64 << 20
"""Bytes that compressed ones may become, 64 times what a job may have: a bound on what few bytes do to a worker."""


class _Method(NamedTuple):
    pack: Callable[[bytes], bytes]
    opener: Callable[[], Any]


def _method(name: str) -> _Method:
    if name == "zlib":
        import zlib

        return _Method(zlib.compress, _ZlibOpener)
    if name == "bzip2":
        import bz2

        return _Method(bz2.compress, bz2.BZ2Decompressor)
    if name == "lzma":
        import lzma

        return _Method(lzma.compress, lzma.LZMADecompressor)
    raise DecodeError(f"unknown compression {name!r}: use zlib, bzip2 or lzma")


def _ZlibOpener() -> Any:  # noqa: N802 - stands beside two classes
    import zlib

    return zlib.decompressobj()


def pack(data: bytes, name: str) -> bytes:
    """The bytes compressed."""
    return _method(name).pack(data)


def unpack(data: bytes, name: str) -> bytes:
    """The bytes as they were. Raises DecodeError when they are damaged, or become more than MAX_UNPACKED."""
    opener = _method(name).opener()
    try:
        plain: bytes = opener.decompress(data, MAX_UNPACKED)
    except Exception as error:  # each method has its own class for this
        raise DecodeError(f"not valid {name}: {error}") from None
    if not opener.eof:
        raise DecodeError(f"{name} data is cut off, or becomes more than {MAX_UNPACKED} bytes")
    return plain
