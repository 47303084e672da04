"""`python -m tests.crash.powercut.replay LOG IMAGES WORKED SEED`: a recording with the power cut.

Prints a report as JSON. A process of its own, and a lean one, because it forks for every moment.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
from tests.crash.powercut.contents import Contents, contents, opened
from tests.crash.powercut.cuts import Disk, Image
from tests.crash.powercut.judge import Judge
from tests.crash.powercut.looking import in_child, look
from tests.crash.powercut.trace import Kind, Record, read
from tests.crash.powercut.working import problems_of
from tests.proof.stores import faults_of

from tqbroker_broker.storage.lmdb.opening import DATA_FILE

MEMORY = Path("/dev/shm")
TOLD = 5
"""Failures that are told in words."""


class Report(msgspec.Struct):
    """What came out: `states` are different contents, `worked` those that an engine went on with.

    The power was cut at `moments`, drawn from so many as were `possible`. `failures` are images by what was wrong with
    them: "unusable", "lost" what was acknowledged, "strange" contents, "unsound" for `tqbroker verify`, an engine that
    "cannot go on" with them. The first are in `words`.
    """

    images: int = 0
    moments: int = 0
    possible: int = 0
    states: int = 0
    worked: int = 0
    failures: dict[str, int] = {}
    words: list[str] = []
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Images that were not as they should be."""
        return sum(self.failures.values())


class State:
    """One content that images have had, and which claims were found to hold in it."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.judged = 0
        self.strange: list[str] = []
        self.lost: list[str] = []
        self.unsound: list[str] = []

    def wrong(self) -> tuple[str, str] | None:
        """The first thing that is wrong with it, by kind and in words."""
        found = (("strange", self.strange), ("lost", self.lost), ("unsound", self.unsound))
        return next(((kind, words[0]) for kind, words in found if words), None)


class Replay:
    """Goes through a recording once."""

    def __init__(self, seed: int, path: Path) -> None:
        self.report = Report()
        self._random = Random(seed)
        self._disk = Disk(path)
        self._judge = Judge()
        self._states: dict[str, State] = {}
        self._working: set[int] = set()

    def run(self, records: Sequence[Record], images: int, worked: int) -> Report:
        """Cuts the power at as many moments as that number of images needs; an engine goes on with `worked` of them."""
        begun = time.monotonic()
        moments = self._moments(records, images)
        self._working = set(self._random.sample(sorted(moments), min(worked, len(moments))))
        for at, record in enumerate(records):
            if at in moments:
                self._cut(at, record)
            if record.kind == Kind.MARK:
                self._judge.hear(record.data)
            else:
                self._disk.tell(record)
        self.report.states = len(self._states)
        self.report.seconds = time.monotonic() - begun
        return self.report

    def _moments(self, records: Sequence[Record], images: int) -> set[int]:
        """Before which records the power is cut. Marks change nothing on the disk, but what must be there."""
        calls = [at for at, record in enumerate(records) if record.kind not in (Kind.BEGINNING, Kind.MARK)]
        told = [at + 1 for at, record in enumerate(records[:-1]) if record.kind == Kind.MARK]
        likely = sorted({*calls, *told})
        self.report.possible = len(likely)
        return set(self._random.sample(likely, min(len(likely), images // IMAGES_A_MOMENT + 1)))

    def _cut(self, at: int, under_way: Record) -> None:
        images = list(self._disk.images(self._random, under_way))
        self.report.moments += 1
        for image, seen in zip(images, look(self._disk, images), strict=True):
            self.report.images += 1
            if seen.wrong:
                self._fail("unusable", f"moment {at}: {seen.wrong}")
                continue
            if wrong := self._state(image, seen.digest).wrong():
                self._fail(wrong[0], f"moment {at}: {wrong[1]}")
        if at in self._working:
            self._work(at, self._random.choice(images))

    def _state(self, image: Image, digest: str) -> State:
        """What is in the image, judged by all that was said until now."""
        state = self._states.get(digest)
        if state is None:
            state = self._states[digest] = self._look(image)
        state.lost += self._judge.broken(state.contents, state.judged)
        state.judged = len(self._judge.claims)
        return state

    def _work(self, at: int, image: Image) -> None:
        with tempfile.TemporaryDirectory(dir=self._disk.path.parent, prefix="tq-image-") as folder:
            with self._disk.showing(image):
                shutil.copy(self._disk.path, Path(folder) / DATA_FILE)
            told, status = in_child(lambda tell: list(map(tell, problems_of(Path(folder)))))  # type: ignore[arg-type]
        self.report.worked += 1
        if told or status:
            self._fail("cannot go on", f"moment {at}: {told}, exit status {status}")

    def _look(self, image: Image) -> State:
        """What is in an image that nobody has seen before."""
        with self._disk.showing(image):
            with opened(self._disk.path) as env:
                try:
                    state = State(contents(env))
                except Exception as error:  # rows that are none may lead to anything
                    state = State(Contents({}, {}, {}))
                    state.strange.append(f"its rows cannot be read: {type(error).__name__}: {error}")
            state.unsound += faults_of(self._disk.path)
        state.strange += self._judge.strange(state.contents)
        return state

    def _fail(self, kind: str, words: str) -> None:
        self.report.failures[kind] = self.report.failures.get(kind, 0) + 1
        if len(self.report.words) < TOLD:
            self.report.words.append(words)


IMAGES_A_MOMENT = 7
"""About so many images are made of one moment; see cuts.py."""


def main(log: str, images: str, worked: str, seed: str) -> None:
    """Goes through one recording."""
    with tempfile.NamedTemporaryFile(dir=MEMORY if MEMORY.is_dir() else None, prefix="tq-image-") as file:
        report = Replay(int(seed), Path(file.name)).run(list(read(Path(log))), int(images), int(worked))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
