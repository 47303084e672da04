"""A place where a daemon may be killed is one where a test kills it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.crash import failpoints

from tqbroker import _failpoint

ROOT = Path(__file__).resolve().parents[2]
KILLERS = ("kills_at", "killed")


def killed_at() -> Iterator[str]:
    """Names in every `@kills_at(...)` and `killed(...)`, and in every `TQ_FAILPOINT` that a test spells out."""
    for path in (ROOT / "tests").rglob("*.py"):
        source = path.read_text()
        yield from re.findall(r"\b(\w+)(?::\d+)?=kill9", source)
        for node in ast.walk(ast.parse(source)) if "kills_at(" in source or "killed(" in source else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KILLERS:
                for each in node.args:
                    yield from named(each)


def named(argument: ast.expr) -> Iterator[str]:
    """The places that an argument names, by itself or as a list of tests/crash/failpoints.py."""
    match argument:
        case ast.Constant():
            yield str(argument.value)
        case ast.Starred(value=ast.Name(id=name)) if hasattr(failpoints, name):
            yield from getattr(failpoints, name)


def hit() -> set[str]:
    """The places that the product comes by."""
    sources = (path.read_text() for part in ("broker", "worker") for path in (ROOT / part).rglob("*.py"))
    return {name for source in sources for name in re.findall(r'\bhit\("(\w+)"\)', source)}


def test_daemons_are_killed_at_every_failpoint() -> None:
    assert hit() - set(killed_at()) == set()


def test_every_failpoint_says_where_it_is() -> None:
    assert hit() <= set(_failpoint.NAMES)
