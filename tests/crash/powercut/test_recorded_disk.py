"""The recorded disk shows what a power cut leaves: everything that was flushed, and not always what was not."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.crash.powercut.blocks import BlockLog
from tests.crash.powercut.disk import RecordedDisk, lacking, mounted

pytestmark = [
    pytest.mark.crash,
    pytest.mark.proof("T2"),
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "none"),
]

FILES = 60
CUTS = 5


@pytest.mark.parametrize("kept", [None, random.Random(1)], ids=["nothing unflushed is kept", "some of it is kept"])
def test_a_power_cut_takes_nothing_that_was_flushed(
    tmp_path: Path, kept: random.Random | None, counts: Counter[str]
) -> None:
    log = recorded(tmp_path, flushed=True)

    for cut in random.Random(2).sample(range(len(log.entries)), CUTS):
        counts["images"] += 1
        assert acknowledged(log, cut) <= left(log, cut, tmp_path, kept), f"files are missing after cut {cut}"


def test_a_power_cut_takes_what_was_only_written(tmp_path: Path) -> None:
    log = recorded(tmp_path, flushed=False)

    end = len(log.entries)
    last = max(number for number in range(end) if log.entries[number].kind == b"A") + 1
    assert len(acknowledged(log, last)) == FILES
    assert left(log, last, tmp_path) == set()


def recorded(folder: Path, *, flushed: bool) -> BlockLog:
    """Files of one line each, and an acknowledgement after each of them."""
    disk = RecordedDisk(folder / "disk")
    with disk.mounted() as files, disk.acks.open("ab", buffering=0) as acks:
        for number in range(FILES):
            with (files / str(number)).open("wb", buffering=0) as file:
                file.write(content(number))
                if flushed:
                    os.fsync(file.fileno())
            acks.write(str(number).encode())
    return disk.log()


def content(number: int) -> bytes:
    return str(number).encode() * 1000


def acknowledged(log: BlockLog, cut: int) -> set[int]:
    return {int(data) for _, data in log.acknowledged(cut)}


def left(log: BlockLog, cut: int, folder: Path, kept: random.Random | None = None) -> set[int]:
    """The files that are whole on the disk as this cut leaves it."""
    log.cut(cut, folder / "image", kept)
    with mounted(folder / "image", folder / "again") as files:
        found = {int(file.name): file.read_bytes() for file in files.iterdir() if file.name.isdigit()}
    return {number for number, bytes_ in found.items() if bytes_ == content(number)}
