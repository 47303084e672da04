"""How a test says which planted bugs its harness finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def catches(*names: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Runs a test once for each of these mutants, whose name it gets as `mutant`. See test_mutants.py."""

    def mark(test: Callable[..., object]) -> Callable[..., object]:
        chosen: Callable[..., object] = pytest.mark.parametrize("mutant", names, ids=names)(test)
        marked: Callable[..., object] = pytest.mark.proof("mutant")(chosen)
        return marked

    return mark
