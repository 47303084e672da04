"""A site for each test that asks for one; what its daemons printed is part of a failure's report."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.workshop import Workshop

Place = TypeVar("Place", bound=Site)
PASSED = pytest.StashKey[bool]()
"""Whether a test has done what it should, before anything is torn down."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short name (a unix socket's path has at most 107 bytes), removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="tq-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def site(folder: Path, counts: Counter[str], request: pytest.FixtureRequest) -> Iterator[Site]:
    """A place to run a broker and workers with the tasks of projects/load."""
    yield from closed_and_judged(Site(folder, counts=counts), request.node)


@pytest.fixture
def workshop(folder: Path, counts: Counter[str], request: pytest.FixtureRequest) -> Iterator[Workshop]:
    """A place with the tasks of projects/lanes."""
    yield from closed_and_judged(Workshop(folder, counts=counts), request.node)


def closed_and_judged(place: Place, test: pytest.Item) -> Iterator[Place]:
    """The place for a test, closed and judged after it."""
    yield place
    place.close()
    judge(place, test)


def judge(place: Site, test: pytest.Item) -> None:
    """Ends the daemons; when the test has passed, the store must be sound too, whatever was killed (I8, I9).

    What a broker with a planted bug leaves is judged by the test alone. A data directory on a disk of its own is judged
    before that is unmounted.
    """
    place.discard()
    if test.stash.get(PASSED, False) and "mutant" not in getattr(test, "fixturenames", ()):
        assert place.left() == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the daemons' last lines to the report of a failure."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    if report.failed:
        for place in getattr(item, "funcargs", {}).values():
            for daemon in place.daemons if isinstance(place, Site) else ():
                report.sections.append((f"end of {daemon.name}", daemon.log.tail()))
    return report
