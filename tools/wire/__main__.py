"""`python -m wire generate | check | baseline`: what `make proto` and `make check` call. PYTHONPATH is `tools`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from wire.breaking import breaks
from wire.lint import faults
from wire.protoc import ROOT, describe, generate, read_baseline, record_baseline, stale


def check() -> list[str]:
    """Everything that is wrong with the wire: stale stubs, bad names, missing comments, breaks."""
    wire = describe()
    return stale(ROOT / "client") + faults(wire) + breaks(read_baseline(), wire)


def main(arguments: list[str]) -> int:
    commands: dict[str, Callable[[], list[str] | None]] = {
        "generate": lambda: generate(ROOT / "client"),
        "check": check,
        "baseline": record_baseline,
    }
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.stderr.write(f"usage: python -m wire {' | '.join(commands)}\n")
        return 2
    problems = commands[arguments[0]]() or []
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
