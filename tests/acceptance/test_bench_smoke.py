"""The benchmarks run to their end and fill every line, at sizes too small to mean anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
ASKED_FOR = {
    ("calls", "per_second"),
    ("bulk", "per_second"),
    ("drain", "per_second"),
    ("round_trips", "p50_ms"),
    ("round_trips", "p99_ms"),
    ("footprint", "heap_bytes_per_job"),
    ("delayed", "heap_bytes_per_job"),
    ("delayed", "worker_mib"),
    ("delayed", "unexplained"),
    ("lanes", "heap_bytes_per_lane"),
    ("lanes", "open_s"),
    ("limited", "off_percent"),
    ("limited", "most_in_a_second"),
    ("operators", "page_ms"),
    ("operators", "share_percent"),
    ("startup", "import_ms"),
    ("startup", "help_ms"),
}


def test_the_benchmark_measures_every_figure_that_is_asked_for(tmp_path: Path) -> None:
    printed = run("run.py", "--tiny", "--no-rivals", "--results", str(tmp_path))

    (path,) = tmp_path.glob("bench-*.json")
    measured = json.loads(path.read_text())
    assert {(line["work"], line["field"]) for line in measured["figures"]} >= ASKED_FOR
    assert measured["machine"]["fsync_p50_ms"] > 0
    assert all(line["title"].strip() in printed for line in measured["figures"])
    assert list(tmp_path.iterdir()) == [path], "the data of the run is left behind"


def test_the_long_backlog_opens_when_it_is_a_short_one(tmp_path: Path) -> None:
    printed = run("open_backlog.py", "--jobs", "7000", "--starts", "1", "--data", str(tmp_path))

    assert "7,000 queued jobs" in printed
    assert list(tmp_path.iterdir()) == [], "the store is left behind"


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
