"""`import tqbroker` stays thin: what it must not load, and what it costs (printed, not judged)."""

from __future__ import annotations

import resource
import subprocess
import sys

HEAVY = {
    "asyncio",
    "click",
    "dataclasses",
    "google.protobuf",
    "grpc",
    "inspect",
    "logging",
    "msgspec",
    "rich",
    "structlog",
    "tqbroker.codec",
    "tqbroker.v1",
}

SCRIPT = """
import sys
import tqbroker

app = tqbroker.App("tasks", broker="tq://localhost")

@app.task
def add(x: int, y: int = 1) -> int:
    return x + y

@app.task(bind=True, queue="mail", priority=3)
async def fetch(self, url):
    return url

assert add(4, 4) == 8
loaded = {heavy!r} & set(sys.modules)
assert not loaded, f"import tqbroker loads {{loaded}}"
"""


def _milliseconds(script: str) -> float:
    """Time on a processor, the best of five: what else the machine does hardly counts."""
    times = []
    for _ in range(5):
        before = _spent()
        subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
        times.append(_spent() - before)
    return 1000 * min(times)


def _spent() -> float:
    """Seconds that all processes started so far have computed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_importing_and_decorating_loads_the_standard_library_only() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT.format(heavy=HEAVY)], check=True, timeout=30)


def test_the_import_costs_what_a_thin_one_does() -> None:
    """The aim is 40 ms over a bare interpreter; a machine under load gets five times that before this fails."""
    cost = _milliseconds(SCRIPT.format(heavy=HEAVY)) - _milliseconds("")
    print(f"import tqbroker, an app and two tasks: {cost:.0f} ms over a bare interpreter")

    assert cost < 200
