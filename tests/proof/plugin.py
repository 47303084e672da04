"""What `make proof` prints: one line for each test, with what it counted, and a total.

A test names the fault or the promise that it belongs to with `@pytest.mark.proof("T3")`, and counts what it did in the
fixture `counts`. All cases of one test (its seeds, its places) are one line; each planted bug has a line of its own.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

MUTANT = "mutant"
"""The name under which tests stand that plant a bug."""

WORK = frozenset({
    "backups", "connections", "faults", "files", "freezes", "images", "inputs", "jobs", "jumps", "kills", "programs",
    "rows", "seeds", "workflows",
})  # fmt: skip
"""Kinds whose numbers mean something when those of different tests are added; milliseconds and MiB do not."""


@pytest.fixture
def counts(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """What a test did, by kind: images, kills, seeds, inputs, ..."""
    counted: Counter[str] = Counter()
    yield counted
    request.node.user_properties.append(("counts", dict(counted)))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--proof` prints lines in place of dots."""
    parser.addoption("--proof", action="store_true", help="one line for each test, with what it counted, and a total")


def pytest_configure(config: pytest.Config) -> None:
    """Prints lines only when asked."""
    if config.getoption("--proof"):
        config.pluginmanager.register(Lines(config), "tqbroker-proof-lines")


def pytest_itemcollected(item: pytest.Item) -> None:
    """A report does not know the marks of its test, so that they travel with its properties."""
    mark = item.get_closest_marker("proof")
    if mark is not None:
        item.user_properties.append(("proof", mark.args[0]))


class Line:
    """One test with all its cases."""

    def __init__(self, proof: str, name: str) -> None:
        self.proof = proof
        self.name = name
        self.cases = 0
        self.failures = 0
        self.seconds = 0.0
        self.counts: Counter[str] = Counter()
        self.skipped = 0
        self._reason = ""

    def add(self, report: pytest.TestReport) -> None:
        """One phase of one case. What a case counted is known when it is torn down."""
        self.seconds += report.duration
        self.failures += report.failed
        if report.skipped:
            self.skipped += 1
            self._reason = _reason(report)
        if report.when == "teardown":
            self.cases += 1
            for counted in (value for key, value in report.user_properties if key == "counts"):
                assert isinstance(counted, dict)
                self.counts.update(counted)

    @property
    def ran(self) -> int:
        """Cases that were not skipped."""
        return self.cases - self.skipped

    @property
    def caught(self) -> bool:
        """A planted bug was there, and was found."""
        return self.proof == MUTANT and self.ran > 0 and not self.failures

    def __str__(self) -> str:
        if not self.ran and not self.failures:
            return f"{self.proof:<6} {self.name}: not run, {self._reason}"
        cases = f"cases {self.ran}, " if self.cases > 1 else ""
        unrun = f"not run {self.skipped} ({self._reason}), " if self.skipped else ""
        figures = f"{cases}{in_words(self.counts)}{unrun}failures {self.failures}, {self.seconds:.1f} s"
        return f"{self.proof:<6} {self.name}: {figures}"


class Lines:
    """Prints a line when the next test begins."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._line: Line | None = None
        self._key = ""
        self._all: list[Line] = []
        self._begun = time.monotonic()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Faults in the order of their numbers, planted bugs last; a test keeps its cases together."""
        items.sort(key=lambda item: _order(_proof_of(item.user_properties)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str]:
        """No dots."""
        shown = report.when == "call" or not report.passed
        return (report.outcome if shown else "", "", "")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Adds to the line of the test, or ends it and begins the next."""
        proof = _proof_of(report.user_properties)
        key = report.nodeid if proof == MUTANT else report.nodeid.partition("[")[0]
        if key != self._key:
            self._end_line()
            self._key, self._line = key, Line(proof, _name(report.nodeid, proof))
        assert self._line is not None
        self._line.add(report)

    def pytest_sessionfinish(self) -> None:
        """The last line, and the total."""
        self._end_line()
        self._print(total(self._all, (time.monotonic() - self._begun) / 60))

    def _end_line(self) -> None:
        if self._line is not None:
            self._all.append(self._line)
            self._print(str(self._line))
        self._line = None

    def _print(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        assert reporter is not None
        reporter.ensure_newline()
        reporter.write_line(text, flush=True)


def total(lines: Sequence[Line], minutes: float) -> str:
    """The last line."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update({kind: number for kind, number in line.counts.items() if kind in WORK})
    return (
        f"TOTAL  tests {len(lines)}, cases {sum(line.ran for line in lines)}, {in_words(counts)}"
        f"planted bugs caught {sum(line.caught for line in lines)}, "
        f"cases not run {sum(line.skipped for line in lines)}, "
        f"failures {sum(line.failures for line in lines)}, {minutes:.1f} min"
    )


def in_words(counts: Counter[str]) -> str:
    """`kills 7, images 1,200, `, the empty ones left out."""
    return "".join(f"{kind} {number:,}, " for kind, number in sorted(counts.items()) if number)


def _proof_of(properties: list[tuple[str, object]]) -> str:
    return next((str(value) for key, value in properties if key == "proof"), "")


def _order(proof: str) -> tuple[bool, str, int]:
    number = re.sub(r"\D", "", proof)
    return proof == MUTANT, proof.removesuffix(number), int(number or 0)


def _name(nodeid: str, proof: str) -> str:
    """What must hold, as the test's name says it; for a planted bug also which one."""
    function, _, case = nodeid.rpartition("::")[2].partition("[")
    words = function.removeprefix("test_").replace("_", " ")
    return f"{case.removesuffix(']')}: {words}" if proof == MUTANT else words


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "skipped"
