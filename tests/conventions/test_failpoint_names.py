"""A place where a daemon may be killed is one where a test kills it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tqbroker import _failpoint

CRASH = Path(__file__).resolve().parents[1] / "crash"


def killed_at() -> Iterator[str]:
    """Names in every `@kills_at(...)` of the tests."""
    for path in CRASH.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "kills_at":
                yield from (str(ast.literal_eval(argument)) for argument in node.args)


def test_daemons_are_killed_at_every_failpoint() -> None:
    assert set(killed_at()) == set(_failpoint.NAMES)
