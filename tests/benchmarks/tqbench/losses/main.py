"""The run: one system after the other, each with fresh servers; what is not installed is named and skipped."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.powercut import disk

from .. import machine, rivals, servers
from ..processes import RunError
from ..systems import ROOT
from . import kill, power
from .cases import CASES
from .table import Results, markdown, save

JOBS = 5000
CUTS = 6


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("ended by SIGTERM"))  # nothing stays mounted then
    options.results.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="losses-", dir=options.data or options.results))
    results = Results(machine.describe(folder), options.jobs, options.cuts)
    lacking = disk.lacking()
    if lacking and options.cuts:
        results.machine["power_cuts"], options.cuts = f"not measured: {lacking}", 0
    try:
        for name in options.only or CASES:
            _case(name, options.jobs, options.cuts, folder / name, results)
    finally:
        shutil.rmtree(folder)
    if any(case != "tqbroker" for case in results.kills):
        results.machine["rivals"] = machine.rival_versions()
    path = options.results / time.strftime("losses-%Y%m%d-%H%M%S.json")
    save(results, path)
    print(markdown(results))
    print(f"written to {path} and, as a table, beside it")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a queue loses of what it said it has: tqbroker and its rivals.")
    parser.add_argument("--jobs", type=int, default=JOBS, help="calls of each run (default: %(default)s)")
    parser.add_argument("--cuts", type=int, default=CUTS, help="power cuts of a run, 0 for none (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=CASES, help="only this system; may be given several times")
    parser.add_argument("--data", type=Path, help="where data is while measuring (default: in the results' folder)")
    parser.add_argument("--results", type=Path, default=ROOT / "bench-results", help="folder of the table")
    return parser.parse_args()


def _case(name: str, jobs: int, cuts: int, folder: Path, results: Results) -> None:
    system = CASES[name].system
    lacking = ([] if system.ours else rivals.lacking(system)) + servers.missing(system.servers)
    if lacking:
        results.skipped[name] = f"{', '.join(lacking)} not installed"
        return
    try:
        _say(f"{name}: kill -9")
        results.kills[name] = kill.measure(system, jobs, folder / "kill")
        if cuts:
            _say(f"{name}: {cuts} power cuts")
            results.cuts[name] = power.measure(system, jobs, cuts, folder / "power")
    except RunError as error:
        if system.ours:
            raise
        results.skipped[name] = f"failed: {error}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
