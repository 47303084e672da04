"""The command line of a child, written by the parent and read by the child."""

from __future__ import annotations

import argparse
from typing import NamedTuple


class Arguments(NamedTuple):
    """What the parent tells a child on its command line. `show`: 1 when the log prints results.

    `broker` is empty when the app's own setting holds, `include` are modules to import, separated by commas.
    """

    app: str
    broker: str
    pool: str
    slots: int
    level: str
    worker: str
    show: int
    socket: int
    page: int
    parent: int
    include: str

    def argv(self) -> list[str]:
        """As a command line."""
        return [f"--{name}={value}" for name, value in self._asdict().items()]


def parse(argv: list[str]) -> Arguments:
    """The arguments of a command line made by `Arguments.argv`."""
    parser = argparse.ArgumentParser(prog="tqbroker_worker.child", allow_abbrev=False)
    numbers = {"slots", "socket", "page", "parent", "show"}
    for name in Arguments._fields:
        parser.add_argument(f"--{name}", type=int if name in numbers else str, required=True)
    return Arguments(**vars(parser.parse_args(argv)))
