"""From samples to figures: medians, verdicts, ratios; as tables for people and JSON for the next reader."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from .rounds import Sample
from .systems import OURS, QUORUM, SYSTEMS
from .targets import QUORUM_FACTOR, TARGETS, Target, verdict

WIDTH = 140
NOISY = 0.15
"""Above this share of the CPU for others, a figure is not to be trusted."""

Line = dict[str, Any]
"""One line of a table, as it goes into the JSON file."""


@dataclass
class Results:
    """Everything measured. `samples` is by system, then by work; one sample a round."""

    machine: dict[str, str | float]
    sizes: dict[str, Any]
    settings: dict[str, str]
    skipped: dict[str, str]
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)

    def add(self, system: str, work: str, sample: Sample) -> None:
        self.samples.setdefault(system, {}).setdefault(work, []).append(sample)

    def of(self, system: str, target: Target) -> list[float]:
        """The values of one line, one a round; empty when not measured."""
        return [sample[target.field] for sample in self.samples.get(system, {}).get(target.work, [])]

    def foreign(self, system: str, work: str) -> float:
        """The largest share of the CPU that went to others while this was measured."""
        return max(sample["foreign"] for sample in self.samples[system][work])

    def must(self, target: Target) -> float | None:
        """The bar of a line; that of the sequential calls is a multiple of a rival in this run."""
        rival = self.of(QUORUM, target)
        if (target.work, target.field) == ("calls", "per_second") and rival:
            return QUORUM_FACTOR * median(rival)
        return target.must


def figures(results: Results) -> list[Line]:
    """One entry a line: ours, the bars, the verdict."""
    lines = []
    for target in TARGETS:
        if values := results.of(OURS, target):
            must = results.must(target)
            line: Line = {"work": target.work, "field": target.field, "title": target.title, "unit": target.unit}
            line |= {"ours": median(values), "lowest": min(values), "highest": max(values)}
            line |= {"must": must, "aim": target.aim, "foreign": results.foreign(OURS, target.work)}
            lines.append(line | {"verdict": verdict(median(values), must, target.aim, target.more_is_better)})
    return lines


def ratios(results: Results) -> list[Line]:
    """One entry for each line and rival: theirs, and ours/theirs."""
    lines = []
    for target in (each for each in TARGETS if each.ratio):
        ours = results.of(OURS, target)
        for rival in (system.name for system in SYSTEMS if not system.ours):
            if ours and (theirs := results.of(rival, target)):
                line: Line = {"work": target.work, "field": target.field, "title": target.title, "unit": target.unit}
                line |= {"rival": rival, "ours": median(ours), "theirs": median(theirs)}
                ratio = median(ours) / median(theirs)
                better = ratio if target.more_is_better else 1 / ratio
                lines.append(line | {"ratio": ratio, "better": better, "foreign": results.foreign(rival, target.work)})
    return lines


def save(results: Results, path: Path) -> None:
    """Writes everything as JSON."""
    content = asdict(results) | {"figures": figures(results), "ratios": ratios(results)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def show(results: Results) -> None:
    """Prints the machine, our figures beside the targets, and the ratios."""
    console = Console(width=WIDTH, highlight=False, soft_wrap=True)
    for key, value in results.machine.items():
        console.print(f"{key.replace('_', ' '):<14} {value}")
    console.print(_figures_table(figures(results)))
    if lines := ratios(results):
        console.print(_ratios_table(lines))
        for name, text in results.settings.items():
            console.print(f"{name}: {text}")
    for name, why in results.skipped.items():
        console.print(f"{name}: {why}")
    if QUORUM not in results.samples:
        console.print(f"Calls one after the other must reach {QUORUM_FACTOR} × {QUORUM}, which was not measured here.")


def _figures_table(lines: list[Line]) -> Table:
    table = _table(
        "Ours: median of the rounds", "work", "ours", "lowest to highest", "must", "aim", "", "CPU of others"
    )
    for line in lines:
        unit = line["unit"]
        spread = f"{_number(line['lowest'])} to {_number(line['highest'])}"
        values = (_with_unit(line["ours"], unit), spread, _with_unit(line["must"], unit), _with_unit(line["aim"], unit))
        table.add_row(line["title"], *values, line["verdict"], _foreign(line["foreign"]))
    return table


def _ratios_table(lines: list[Line]) -> Table:
    table = _table("Rivals in the same run", "work", "rival", "theirs", "ours", "ours/theirs", "", "CPU of others")
    for line in lines:
        values = (_with_unit(line["theirs"], line["unit"]), _with_unit(line["ours"], line["unit"]))
        words = f"{line['better']:.1f} × better" if line["better"] >= 1 else f"{1 / line['better']:.1f} × worse"
        table.add_row(
            line["title"].strip(), line["rival"], *values, f"{line['ratio']:.2f}", words, _foreign(line["foreign"])
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if 0 < number < len(columns) - 2 else "left", no_wrap=True)
    return table


def _with_unit(value: float | None, unit: str) -> str:
    return "" if value is None else f"{_number(value)} {unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _foreign(share: float) -> str:
    return f"{share:.0%}{' (noisy)' if share > NOISY else ''}"
