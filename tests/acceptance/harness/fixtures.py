"""A site for each test that asks for one; what its daemons printed is part of a failure's report."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.workshop import Workshop


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short name (a unix socket's path has at most 107 bytes), removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="tq-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def site(folder: Path, counts: Counter[str]) -> Iterator[Site]:
    """A place to run a broker and workers with the tasks of projects/load."""
    place = Site(folder, counts=counts)
    yield place
    place.close()


@pytest.fixture
def workshop(folder: Path, counts: Counter[str]) -> Iterator[Workshop]:
    """A place with the tasks of projects/lanes."""
    place = Workshop(folder, counts=counts)
    yield place
    place.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the daemons' last lines to the report of a failure."""
    report = yield
    if report.failed:
        for place in getattr(item, "funcargs", {}).values():
            for daemon in place.daemons if isinstance(place, Site) else ():
                report.sections.append((f"end of {daemon.name}", daemon.log.tail()))
    return report
