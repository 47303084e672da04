"""Which seeds the killing tests run with: a few in `make test`, more in `make crash`, one again by its number."""

from __future__ import annotations

import os

import pytest


def seeds(count: int = 3) -> pytest.MarkDecorator:
    """Runs a test with `count` seeds, or TQ_CRASH_SEEDS of them, beginning with TQ_CRASH_SEED (1 by default).

    The seed is part of the test's name, so that a failure tells it: `[seed-7]` is run again by TQ_CRASH_SEED=7
    TQ_CRASH_SEEDS=1.
    """
    first = int(os.environ.get("TQ_CRASH_SEED", "1"))
    many = int(os.environ.get("TQ_CRASH_SEEDS", str(count)))
    numbers = range(first, first + many)
    return pytest.mark.parametrize("seed", numbers, ids=[f"seed-{number}" for number in numbers])
