"""Every test that asks for `engine` runs against each storage engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contracts.harness import ENGINES, EngineUnderTest


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    """An engine that is open and empty."""
    under_test = EngineUnderTest(request.param, tmp_path)
    await under_test.open()
    yield under_test
    await under_test.verbs.close()
