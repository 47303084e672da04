"""The file itself, read as bytes: LMDB opens no file whose pages are not sound, as it may die of one that is not."""

from __future__ import annotations

from pathlib import Path

from lmdb import verify as pages

from tqbroker_broker.storage.report import Report

MAGIC_AT = 16
"""Where the magic number of LMDB 0.9 stands, of which a store is. The other version that is read here has it at 24."""

MAGIC = (0xBEEFC0DE).to_bytes(4, "little")


def check_pages(path: Path, report: Report) -> bool:
    """Whether every page of a file is sound; what is not goes into the report."""
    with path.open("rb") as file:
        start = file.read(MAGIC_AT + len(MAGIC))
    if start[MAGIC_AT:] != MAGIC:
        report.add("the file is not a store: it does not begin as one, or its first page is damaged")
        return False
    try:
        faults: list[str] = pages.verify(str(path), subdir=False)  # type: ignore[no-untyped-call]
    except pages.VerifyError as problem:
        faults = [str(problem)]
    for fault in faults:
        report.add(f"pages: {fault}")
    return not faults
