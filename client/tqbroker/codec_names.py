"""Names of formats: a serializer, or a serializer and a compression as in "json+zlib"."""

from __future__ import annotations

SERIALIZERS = ("json", "msgpack")

COMPRESSIONS = {
    "zlib": "zlib",
    "gzip": "zlib",
    "application/x-gzip": "zlib",
    "bzip2": "bzip2",
    "bzip": "bzip2",
    "bz2": "bzip2",
    "lzma": "lzma",
    "xz": "lzma",
}
"""Accepted names of compressions, Celery's among them, and the one that stands on the wire."""


def format_name(serializer: str, compression: str | None) -> str:
    """The name of the format on the wire."""
    return serializer if compression is None else f"{serializer}+{COMPRESSIONS[compression]}"
