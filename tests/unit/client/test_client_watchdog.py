"""The thread that looks after the deadlines of all who wait outlives every deadline that they may have."""

from __future__ import annotations

import math
from queue import SimpleQueue
from typing import Any

import pytest

from tqbroker._grpc_stream import Watchdog

SECONDS = 10


class Waiting:
    """Stands for a line with a reader: tells of each visit."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.visits: SimpleQueue[float] = SimpleQueue()

    def look(self, now: float) -> float:
        self.visits.put(now)
        return self.deadline


@pytest.mark.parametrize("deadline", [1e10, 1e300, math.inf])
def test_a_deadline_beyond_what_a_thread_can_wait_for_does_not_end_the_watchdog(deadline: float) -> None:
    line: Any = Waiting(deadline)
    watchdog = Watchdog()
    watchdog.add(line)
    watchdog.expect(1e9)
    line.visits.get(timeout=SECONDS)

    watchdog.expect(1.0)

    line.visits.get(timeout=SECONDS)
