"""The example with files, a chord and a schedule, run as its docstring says, with everything killed on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until

EXAMPLE = Path(__file__).parents[2] / "examples" / "wordcounts.py"
FILES = 200
COUNT = "import wordcounts; print(wordcounts.count_folder.delay('texts').id)"


@pytest.fixture
def counting(folder: Path) -> Iterator[Site]:
    """A site with the example in it, and texts to count."""
    source = folder / "source"
    texts = source / "texts"
    texts.mkdir(parents=True)
    shutil.copy(EXAMPLE, source)
    for number in range(FILES):
        (texts / f"{number:03}.txt").write_text("one two two\n" * (number + 1))
    site = Site(folder, str(source))
    yield site
    site.close()


def worker(site: Site) -> Daemon:
    daemon = site.daemon("worker", "worker", "-A", "wordcounts", "-c", "2")
    daemon.start()
    site.wire.connected(daemon.pid)
    return daemon


def result(site: Site, job: str, expression: str) -> str:
    """What is true of the result of a job, once it has ended."""
    code = f"import wordcounts; r = wordcounts.app.AsyncResult({job!r}); r.get(timeout=60, propagate=False)"
    return site.python(f"{code}; print({expression})")


def test_the_report_is_written_although_broker_and_worker_are_killed(counting: Site) -> None:
    broker = counting.broker()
    first = worker(counting)
    job = counting.python(COUNT)
    broker.kill()
    counting.started(broker)
    first.kill()
    worker(counting)

    words = sum(3 * (number + 1) for number in range(FILES))
    assert result(counting, job, "r.result") == str(words)
    report = (counting.project / "texts" / "words.report").read_text().split()
    assert report == [str(words * 2 // 3), "two", str(words // 3), "one"]


def test_a_file_that_cannot_be_read_is_named_and_there_is_no_report(counting: Site) -> None:
    counting.broker()
    (counting.project / "texts" / "007.txt").write_bytes(b"\xff\xfe\xff")
    worker(counting)
    job = counting.python(COUNT)

    assert result(counting, job, "r.state, type(r.result).__name__") == "FAILURE ChordError"
    failed = counting.project / "texts" / "failed.report"
    until(failed.exists, "the error callback has run")
    assert "UnicodeDecodeError" in failed.read_text()
    assert not (counting.project / "texts" / "words.report").exists()


def test_the_nightly_count_is_planned_in_the_broker_and_can_be_run_at_once(counting: Site) -> None:
    counting.broker()
    worker(counting)

    def planned() -> list[dict[str, Any]]:
        listed = json.loads(counting.tqbroker("schedules", "list", "--json").stdout)
        return [each for each in listed if each["name"] == "every-night"]

    until(planned, "the worker has declared the schedule")
    assert "02:30" in counting.tqbroker("schedules", "next", "every-night", "--count", "2").stdout
    assert counting.tqbroker("schedules", "run", "every-night").returncode == 0
    until((counting.project / "texts" / "words.report").exists, "the count has run")
