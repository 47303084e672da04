"""A core without network and disk, and a clock that stands still."""

from __future__ import annotations

import pytest
from tests.unit.broker.harness import Bench


@pytest.fixture
async def bench() -> Bench:
    """An open broker core with nothing in it."""
    return await Bench().open()
