"""What aging holds back, as it is stored (a pair of numbers for each jump) and exported (one after the other)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tqbroker_broker.aging import HeldBack
from tqbroker_broker.storage.lmdb.keys import PAIR


def pack(held: Iterable[HeldBack]) -> bytes:
    """The row. Raises struct.error for numbers that no clock shows."""
    return b"".join(PAIR.pack(*each) for each in held)


def unpack(row: bytes | None) -> tuple[HeldBack, ...]:
    """What a row says; one of noughts is from when there was always one pair."""
    return tuple(HeldBack(*pair) for pair in PAIR.iter_unpack(row or b"") if any(pair))


def paired(numbers: Sequence[int]) -> list[HeldBack]:
    """What an export says. Raises ValueError for a number without another."""
    return [HeldBack(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
