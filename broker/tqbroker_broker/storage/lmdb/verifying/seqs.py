"""Sets of seqs that take about a bit for each job, so that a look at many millions of jobs stays small."""

from __future__ import annotations

MOST_BLOCKS = 1 << 16
"""Blocks there can be: 512 MiB, for four thousand million seqs in a row. A hostile store may name any number."""

SPAN = 1 << 16
"""Seqs in one block: 8 KiB of memory as soon as one of them is there."""


class Seqs:
    """A set of numbers that lie close to each other."""

    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}
        self._full = False

    def add(self, seq: int) -> bool:
        """Adds a number. Returns whether it is new. Above MOST_BLOCKS nothing is added, and all numbers are there."""
        block, at = divmod(seq, SPAN)
        bits = self._blocks.get(block)
        if bits is None:
            if len(self._blocks) >= MOST_BLOCKS:
                self._full = True
                return False
            bits = self._blocks[block] = bytearray(SPAN // 8)
        byte, bit = at >> 3, 1 << (at & 7)
        if bits[byte] & bit:
            return False
        bits[byte] |= bit
        return True

    def __contains__(self, seq: int) -> bool:
        bits = self._blocks.get(seq // SPAN)
        at = seq % SPAN
        return self._full or (bits is not None and bool(bits[at >> 3] & 1 << (at & 7)))
