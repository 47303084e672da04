"""Every test that asks for `engine` runs against each storage engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contracts.harness import ENGINES, EngineUnderTest

AHEAD = frozenset(
    {
        "test_engine_replaced",
        "test_engine_uploads",
        "test_engine_workflow_listing",
        "test_engine_workflow_redrive",
        "test_engine_workflow_retention",
    }
)
"""Modules about what only the reference does."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out what an engine cannot do."""
    items[:] = [item for item in items if not (item.path.stem in AHEAD and "lmdb" in item.name)]


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    """An engine that is open and empty."""
    under_test = EngineUnderTest(request.param, tmp_path)
    await under_test.open()
    yield under_test
    await under_test.verbs.close()
