"""How much a test does: little in `make test`, much in `make proof`, one seed again by its number.

TQ_PROOF=1 asks for much. TQ_SEED is the first seed (1 by default), TQ_SEEDS how many there are.
"""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

T = TypeVar("T")

PROOF = os.environ.get("TQ_PROOF") == "1"


def amount(usual: T, proof: T) -> T:
    """`usual` in `make test`, `proof` in `make proof`."""
    return proof if PROOF else usual


def numbers(usual: int, proof: int) -> range:
    """The seeds of a test that goes through them by itself."""
    first = int(os.environ.get("TQ_SEED", "1"))
    return range(first, first + int(os.environ.get("TQ_SEEDS", str(amount(usual, proof)))))


def seeds(usual: int = 3, proof: int = 20) -> pytest.MarkDecorator:
    """Runs a test once for each seed, which it gets as `seed`.

    The seed is part of the test's name, so that a failure tells it: `[seed-7]` is run again by TQ_SEED=7 TQ_SEEDS=1.
    """
    chosen = numbers(usual, proof)
    return pytest.mark.parametrize("seed", chosen, ids=[f"seed-{number}" for number in chosen])
