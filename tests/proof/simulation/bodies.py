"""What the body of a job does: said by its arguments, so that whoever runs it does the same."""

from __future__ import annotations

import json
from random import Random
from typing import NamedTuple

TASKS = ("quick", "slow")


class Body(NamedTuple):
    """`ends` are the ends of its runs in turn, the last one for all that follow; `seconds` how long each takes."""

    ends: tuple[str, ...]
    seconds: float
    retry_in: float = 0.0

    def args(self) -> bytes:
        """As the arguments of a job."""
        return json.dumps(self).encode()

    def end(self, run: int) -> str:
        """How the run with this number, counted from 0, ends."""
        return self.ends[min(run, len(self.ends) - 1)]


def read(args: bytes) -> Body:
    """The body of a job with these arguments."""
    ends, seconds, retry_in = json.loads(args)
    return Body(tuple(ends), seconds, retry_in)


def draw(rng: Random, stretch: float) -> Body:
    """Mostly one that succeeds the first time. It takes so many times longer."""
    seconds = rng.choice((0.001, 0.01, 0.1, 1.0, 10.0, 100.0)) * (0.5 + rng.random()) * stretch
    first = rng.choices(("ok", "fail", "retry", "requeue", "reject"), (80, 6, 8, 4, 2))[0]
    again = rng.choice((("ok",), ("ok",), (first, "ok"), ("fail",)))
    ends = (first, *again) if first in ("retry", "requeue") else (first,)
    return Body(ends, round(seconds, 4), rng.choice((0.0, 1.0, 60.0)) * stretch)
