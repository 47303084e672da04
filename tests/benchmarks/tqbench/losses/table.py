"""What was lost, as a table for people and as JSON for the next reader."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .cases import CASES
from .kill import GIVEN_UP, Kill
from .power import Cut

COLUMNS = (
    "System",
    "OK, a second",
    "kill -9: of that OK, lost",
    "Power cut: of that OK, lost",
    "reaching back, s",
    "ran twice",
)
NOT_MEASURED = "not measured"


@dataclass
class Results:
    """Everything measured, by the names of cases. What failed or is not installed is in `skipped`, with the reason."""

    machine: dict[str, str | float]
    jobs: int
    cuts_asked: int
    kills: dict[str, Kill] = field(default_factory=dict)
    cuts: dict[str, list[Cut]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def save(results: Results, path: Path) -> None:
    """Writes the JSON, and the table beside it."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(results))


def markdown(results: Results) -> str:
    """The table, and below it what it was measured with."""
    lines = [_row(COLUMNS), _row(("---", *["---:"] * (len(COLUMNS) - 1)))]
    lines += [_row((case.title, *_figures(results, name))) for name, case in CASES.items()]
    notes = [f"{key.replace('_', ' ')}: {value}" for key, value in results.machine.items()]
    notes += [f"{results.jobs:,} calls a run, {results.cuts_asked} cuts"]
    notes += [f"{CASES[name].title}: settings {CASES[name].system.settings}" for name in results.kills]
    notes += [f"{CASES[name].title}: {reason}" for name, reason in results.skipped.items()]
    notes += [
        f"{CASES[name].title}: a call still waited for its answer {GIVEN_UP:.0f} s after the server was there again"
        for name, kill in results.kills.items()
        if kill.hung
    ]
    for name, kill in results.kills.items():
        starts = max([kill.starts, *(cut.starts for cut in results.cuts.get(name, []))])
        notes += [f"{CASES[name].title}: took jobs only at start {starts}"] if starts > 1 else []
    notes += [f"{CASES[name].title}, {cut.seconds:.1f} s: {cut.failed}" for name, cut in _failed(results)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _figures(results: Results, name: str) -> tuple[str, ...]:
    if name not in results.kills:
        return ("not installed" if "not installed" in results.skipped.get(name, "") else NOT_MEASURED, "", "", "", "")
    kill, cuts = results.kills[name], results.cuts.get(name, [])
    twice = kill.losses.twice + sum(cut.losses.twice for cut in cuts)
    lost = f"{kill.losses.lost:,} of {kill.losses.acknowledged:,}"
    reach = f"{max(cut.losses.oldest for cut in cuts):.1f}" if cuts else ""
    return (f"{kill.per_second:,.0f}", lost, _span(cuts), reach, f"{twice:,}")


def _span(cuts: list[Cut]) -> str:
    """From the least that was lost to the most."""
    if not cuts:
        return NOT_MEASURED
    by_loss = sorted((cut.losses.lost, cut.losses.acknowledged) for cut in cuts)
    if by_loss[-1][0] == 0:
        return "0"
    if all(lost == acknowledged for lost, acknowledged in by_loss):
        return "all"
    least, most = by_loss[0], by_loss[-1]
    return f"{least[0]:,} of {least[1]:,} to {most[0]:,} of {most[1]:,}"


def _failed(results: Results) -> list[tuple[str, Cut]]:
    return [(name, cut) for name, cuts in results.cuts.items() for cut in cuts if cut.failed]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
