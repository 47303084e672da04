"""How the commands print lists, times and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines with the cells of each column below each other; the first row are the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def size(count: float) -> str:
    """Bytes in the largest unit that fits."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def moment(millis: int) -> str:
    """Milliseconds since 1970 as local time; "-" for none."""
    return datetime.fromtimestamp(millis / 1000, UTC).astimezone().isoformat(" ", "milliseconds") if millis else "-"
