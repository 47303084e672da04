"""The run: what is there is measured, round by round, all systems in turn, so that all meet the same weather."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from . import delayed, footprint, lanes, limited, machine, operators, report, rivals, servers, startup, workflows
from .processes import RunError
from .rounds import Round, Sample
from .sizes import FULL, MILLION, QUICK, TINY, Sizes
from .systems import OURS, ROOT, SYSTEMS, System

FEATURES: dict[str, tuple[str, Callable[[Sizes, Path], Sample]]] = {
    "delayed": ("delayed jobs, the broker killed when they are due", delayed.measure),
    "lanes": ("ordering keys", lanes.measure),
    "limited": ("a rate over several workers", limited.measure),
    "operators": ("operators at a long queue", operators.measure),
    "workflows": ("groups, chords and chains", workflows.measure),
}
"""What only ours is measured at, once each."""


def main() -> int:
    options = _options()
    if options.install_rivals:
        return rivals.install()
    options.results.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="data-", dir=options.data or options.results))
    try:
        results = _only(options, folder) if options.only else _measure(options, folder)
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder)
    path = options.results / time.strftime("bench-%Y%m%d-%H%M%S.json")
    report.save(results, path)
    report.show(results)
    print(f"\nwritten to {path}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures tqbroker as whole processes, beside its targets and rivals.")
    parser.add_argument("--quick", dest="sizes", action="store_const", const=QUICK, default=FULL, help="fewer and less")
    parser.add_argument("--tiny", dest="sizes", action="store_const", const=TINY, help="only to see that it works")
    parser.add_argument("--million", dest="sizes", action="store_const", const=MILLION, help="a million delayed jobs")
    parser.add_argument("--only", choices=FEATURES, help="nothing but this, and only ours")
    parser.add_argument("--no-rivals", action="store_true", help="only ours, even when rivals are installed")
    parser.add_argument("--install-rivals", action="store_true", help="pip install the rivals, and nothing else")
    parser.add_argument("--data", type=Path, help="where data is while measuring (default: in the results' folder)")
    parser.add_argument("--results", type=Path, default=ROOT / "bench-results", help="folder of the JSON file")
    return parser.parse_args()


def _only(options: argparse.Namespace, folder: Path) -> report.Results:
    results = report.Results(machine.describe(folder), asdict(options.sizes), {}, {})
    _feature(options.only, options.sizes, folder, results)
    return results


def _measure(options: argparse.Namespace, folder: Path) -> report.Results:
    sizes = options.sizes
    systems, skipped = _present(not options.no_rivals)
    described = machine.describe(folder)
    if len(systems) > 1:
        described["rivals"] = machine.rival_versions()
    results = report.Results(described, asdict(sizes), {each.name: each.settings for each in systems}, skipped)
    for number in range(sizes.rounds):
        for system in list(systems):
            _say(f"round {number + 1} of {sizes.rounds}: {system.name}")
            try:
                _round(system, sizes, folder / f"{system.name}-{number}", results)
            except RunError as error:
                if system.ours:
                    raise
                systems.remove(system)
                skipped[system.name] = f"failed: {error}"
    _say("memory of a full queue")
    results.add(OURS, "footprint", footprint.measure(systems[0], sizes, folder / "footprint"))
    for name in FEATURES:
        _feature(name, sizes, folder, results)
    _say("start-up")
    started = startup.measure(systems, sizes.starts)
    for system in systems:
        results.add(system.name, "startup", started[system.package])
    return results


def _present(with_rivals: bool) -> tuple[list[System], dict[str, str]]:
    """Who can be measured here, and why the others cannot."""
    present, skipped = [], {}
    for system in SYSTEMS:
        if system.ours:
            present.append(system)
        elif not with_rivals:
            continue
        elif lacking := rivals.lacking(system) + servers.missing(system.servers):
            skipped[system.name] = f"{', '.join(lacking)} not installed: skipped"
        else:
            present.append(system)
    return present, skipped


def _round(system: System, sizes: Sizes, folder: Path, results: report.Results) -> None:
    for work, sample in Round(system, sizes, folder).run().items():
        results.add(system.name, work, sample)
    shutil.rmtree(folder)


def _feature(name: str, sizes: Sizes, folder: Path, results: report.Results) -> None:
    what, measure = FEATURES[name]
    _say(what)
    results.add(OURS, name, measure(sizes, folder / name))
    shutil.rmtree(folder / name)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
