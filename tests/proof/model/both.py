"""Both engines side by side: every verb is asked of each, and their answers must be the same."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TypeVar

from tests.contracts import harness
from tests.contracts.harness import EngineUnderTest
from tests.proof.simulation.disk import Disk, virtual_disk
from tests.proof.simulation.virtual import VirtualLoop

T = TypeVar("T")

CONFIG = replace(harness.CONFIG, result_ttl=60.0, dead_ttl=90.0, dedup_window=150.0, max_lost_leases=2)


class Both:
    """The engines, their clock, and a loop in which a commit takes no time."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._open.enter_context(_silent())
        self.loop = VirtualLoop()
        shared = Path("/dev/shm")
        directory = tempfile.mkdtemp(prefix="tq-model-", dir=shared if shared.is_dir() else None)
        self._open.callback(self.loop.close)
        self._open.callback(shutil.rmtree, directory)
        self._open.enter_context(virtual_disk(Random(0)))
        Disk.calm = True
        self.engines = [EngineUnderTest(kind, Path(directory) / kind, CONFIG) for kind in harness.ENGINES]
        for engine in self.engines:
            self.loop.run_until_complete(engine.open())

    def close(self) -> None:
        for engine in self.engines:
            self.loop.run_until_complete(engine.verbs.close())
        self._open.close()

    def ask(self, verb: Callable[[EngineUnderTest], Awaitable[T]]) -> T:
        """The answer that both give."""
        first, *others = [self.loop.run_until_complete(_awaited(verb(engine))) for engine in self.engines]
        for other in others:
            assert other == first, f"one engine answers {first}, the other {other}"
        return first

    def tell(self, word: Callable[[EngineUnderTest], T]) -> T:
        """The same for what needs no disk."""
        first, *others = [word(engine) for engine in self.engines]
        assert all(other == first for other in others), f"the engines answer {[first, *others]}"
        return first


async def _awaited(answer: Awaitable[T]) -> T:
    return await answer


@contextmanager
def _silent() -> Iterator[None]:
    """Nobody needs to be told thousands of times that a file system without a disk forgets."""
    log = logging.getLogger("tqbroker.storage")
    level = log.level
    log.setLevel(logging.ERROR)
    yield
    log.setLevel(level)
