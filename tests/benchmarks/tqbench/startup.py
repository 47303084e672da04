"""What it costs to start: `import`, and the command line's help. Many fresh processes, taken in turn."""

from __future__ import annotations

import subprocess
import time
from statistics import median

from .load import Watch
from .rounds import Sample
from .systems import OUR_BIN, RIVALS_BIN, System

IMPORTS = {
    "tqbroker": "from tqbroker import App",
    "celery": "from celery import Celery",
    "dramatiq": "import dramatiq",
    "rq": "import rq",
}


def measure(systems: list[System], starts: int) -> dict[str, Sample]:
    """By package: milliseconds of its import (a bare Python subtracted) and of its command's --help."""
    watch = Watch()
    packages = list(dict.fromkeys(system.package for system in systems))
    laps: dict[tuple[str, str], list[float]] = {}
    for _ in range(starts + 1):  # the first one fills the page cache
        for package in packages:
            for what, command in _commands(package).items():
                laps.setdefault((package, what), []).append(_milliseconds(command))
    middle = {key: median(times[1:]) for key, times in laps.items()}
    return {
        package: {
            "import_ms": middle[package, "import"] - middle[package, "bare"],
            "help_ms": middle[package, "help"],
            "foreign": watch.foreign(),
        }
        for package in packages
    }


def _commands(package: str) -> dict[str, list[str]]:
    folder = OUR_BIN if package == "tqbroker" else RIVALS_BIN
    python = str(folder / "python")
    return {
        "bare": [python, "-c", "pass"],
        "import": [python, "-c", IMPORTS[package]],
        "help": [str(folder / package), "--help"],
    }


def _milliseconds(command: list[str]) -> float:
    before = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return 1000 * (time.perf_counter() - before)
