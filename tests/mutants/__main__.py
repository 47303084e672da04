"""`python -m tests.mutants NAME serve ...`: the `tqbroker` command with a bug."""

from __future__ import annotations

import sys

from tests.mutants.registry import planted

from tqbroker.cli import main

if __name__ == "__main__":
    name = sys.argv.pop(1)
    with planted(name):
        main()
