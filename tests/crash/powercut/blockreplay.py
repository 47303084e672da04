"""`python -m tests.crash.powercut.blockreplay LOG BASE IMAGES SEED`: a recorded disk with the power cut.

Prints a report as JSON. What is left is mounted, so that the real file system repairs itself as it would, and the store
on it is judged.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from random import Random

import msgspec
from tests.crash.powercut.blocks import BlockLog
from tests.crash.powercut.contents import contents, opened
from tests.crash.powercut.cuts import Disk
from tests.crash.powercut.disk import mounted
from tests.crash.powercut.judge import Judge
from tests.crash.powercut.looking import look
from tests.crash.powercut.replay import TOLD, Report
from tests.crash.powercut.trace import HEADER, Kind, Record
from tests.proof.stores import faults_of

from tqbroker_broker.storage.lmdb.opening import DATA_FILE

DATA = "data"
"""The data directory on the recorded disk."""


def replay(log: BlockLog, images: int, seed: int, folder: Path) -> Report:
    """Cuts the power so many times, at moments spread over the whole log."""
    begun, report, random = time.monotonic(), Report(possible=len(log.entries)), Random(seed)
    for at in sorted(random.sample(range(len(log.entries)), min(images, len(log.entries)))):
        log.cut(at, folder / "image", random)
        with mounted(folder / "image", folder / "files") as files:
            wrong = _judge(log, at, files / DATA / DATA_FILE, folder / "copy")
        report.images += 1
        for kind, words in wrong[:1]:
            report.failures[kind] = report.failures.get(kind, 0) + 1
            report.words += [f"entry {at}: {words}"][: TOLD - len(report.words)]
    report.moments, report.seconds = report.images, time.monotonic() - begun
    return report


def _judge(log: BlockLog, at: int, data: Path, copy: Path) -> list[tuple[str, str]]:
    """What is wrong with the store that was left, by kind and in words."""
    judge = Judge()
    for _, mark in log.acknowledged(at):
        judge.hear(mark[HEADER.size :])
    if not data.exists():
        return [("lost", "there is no store")] if judge.claims else []
    disk = Disk(copy)
    disk.tell(Record(Kind.BEGINNING, 0, data.read_bytes()))
    (seen,) = look(disk, [[]])
    if seen.wrong:
        return [("unusable", seen.wrong)]
    try:
        with opened(copy) as env:
            found = contents(env)
    except Exception as error:  # rows that are none may lead to anything
        return [("strange", f"its rows cannot be read: {type(error).__name__}: {error}")]
    return [
        *(("strange", words) for words in judge.strange(found)),
        *(("lost", words) for words in judge.broken(found)),
        *(("unsound", words) for words in faults_of(copy)),
    ]


def main(log: str, base: str, images: str, seed: str) -> None:
    """Goes through one log."""
    with tempfile.TemporaryDirectory(prefix="tq-cut-") as folder:
        report = replay(BlockLog.read(Path(log), Path(base)), int(images), int(seed), Path(folder))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
