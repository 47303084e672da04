"""The file itself, read as bytes: LMDB opens no file whose pages are not sound, as it may die of one that is not."""

from __future__ import annotations

from pathlib import Path

from lmdb import verify

MAGIC_AT = 16
"""Where the magic number of LMDB 0.9 stands, of which a store is. The other version that is read here has it at 24."""

MAGIC = (0xBEEFC0DE).to_bytes(4, "little")


def page_faults(path: Path) -> list[str]:
    """What is wrong with the pages of a file, in words. Takes about a second for each 80 MB."""
    with path.open("rb") as file:
        start = file.read(MAGIC_AT + len(MAGIC))
    if start[MAGIC_AT:] != MAGIC:
        return ["the file is not a store: it does not begin as one, or its first page is damaged"]
    try:
        faults: list[str] = verify.verify(str(path), subdir=False)  # type: ignore[no-untyped-call]
    except verify.VerifyError as problem:
        faults = [str(problem)]
    return [f"pages: {fault}" for fault in faults]
