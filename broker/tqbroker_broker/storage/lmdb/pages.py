"""The file itself, read as bytes: LMDB opens no file whose pages are not sound, as it may die of one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import BinaryIO

from lmdb import verify

from tqbroker_broker.storage.report import NO_STORE

MAGIC_AT = 16
"""Where the magic number of LMDB 0.9 stands, of which a store is. The other version that is read here has it at 24."""

MAGIC = (0xBEEFC0DE).to_bytes(4, "little")


def page_faults(path: Path) -> list[str]:
    """What is wrong with the pages of a file, in words. Takes about a second for each 80 MB."""
    with path.open("rb") as file:
        start = file.read(MAGIC_AT + len(MAGIC))
    if start[MAGIC_AT:] != MAGIC:
        return [NO_STORE]
    try:
        faults: list[str] = verify.verify(str(path), subdir=False)  # type: ignore[no-untyped-call]
    except verify.VerifyError as problem:
        faults = [str(problem)]
    return [f"pages: {fault}" for fault in faults or _overlaps(path)]


# -- what py-lmdb does not look at -------------------------------------------------------------------------------------

# Where things stand, as mdb.c has it. In a meta page: page size, roots of the free pages and of the main tree, the
# transaction. In another one: flags, the end of the list of nodes, the beginning of the nodes. A node: size of its data
# or part of the number of its page, flags, size of its key.
PAGE_SIZE_AT, FREE_ROOT_AT, MAIN_ROOT_AT, TXN_AT = 40, 80, 128, 144
HEADER = 16
FRONT = Struct("<HHH")
FRONT_AT = 10
NODE = Struct("<HHHH")
POINTER = Struct("<H")
NUMBER = Struct("<Q")
BRANCH, LEAF = 1, 2
ELSEWHERE, SUB_TREE = 1, 2
NOWHERE = (1 << 64) - 1
ROOT_IN_RECORD = 40


def _overlaps(path: Path) -> list[str]:
    """Pages whose nodes do not lie side by side: a wrong size lets a value reach into others, and a change spoil them.

    The file is one whose trees are sound otherwise.
    """
    with path.open("rb") as file:
        first = file.read(PAGE_SIZE_AT + 4)
        size = int.from_bytes(first[PAGE_SIZE_AT:], "little")
        metas = [_page(file, number, size) for number in (0, 1)]
        newer = max(metas, key=lambda meta: NUMBER.unpack_from(meta, TXN_AT)[0])
        roots = [NUMBER.unpack_from(newer, at)[0] for at in (FREE_ROOT_AT, MAIN_ROOT_AT)]
        return [f"the nodes of page {number} overlap" for number in _spoilt(file, size, roots)]


def _page(file: BinaryIO, number: int, size: int) -> bytes:
    file.seek(number * size)
    return file.read(size)


def _spoilt(file: BinaryIO, size: int, roots: list[int]) -> Iterator[int]:
    """The numbers of such pages, in the trees with these roots and in those that hang on them."""
    left = [root for root in roots if root != NOWHERE]
    while left:
        number = left.pop()
        page = _page(file, number, size)
        flags, lower, upper = FRONT.unpack_from(page, FRONT_AT)
        taken = upper
        for at in sorted(POINTER.unpack_from(page, at)[0] for at in range(HEADER, lower, POINTER.size)):
            low, high, node, key = NODE.unpack_from(page, at)
            if at != taken:
                break
            if flags == BRANCH:
                left.append(low | high << 16 | node << 32)
                taken += NODE.size + key
            else:
                data = at + NODE.size + key
                taken = data + (NUMBER.size if node & ELSEWHERE else low | high << 16)
                if node & SUB_TREE and (root := NUMBER.unpack_from(page, data + ROOT_IN_RECORD)[0]) != NOWHERE:
                    left.append(root)
            taken += taken & 1
        if taken != size and flags in (BRANCH, LEAF):
            yield number
