"""Tasks for workflows, and what a signature compiles to as lines of text."""

from __future__ import annotations

from typing import Any

from tqbroker import App
from tqbroker.canvas import Signature
from tqbroker.graph import Graph
from tqbroker.growing import grow


class Tasks:
    """An app with tasks that say what happened; `calls` are those of `note` and `why`, in order."""

    def __init__(self, **settings: Any) -> None:
        self.app = App("tasks", broker="tq://localhost", set_as_current=False, **settings)
        self.calls: list[tuple[Any, ...]] = []
        self.add = self.app.task(name="add")(_add)
        self.total = self.app.task(name="total")(_total)
        self.boom = self.app.task(name="boom")(_boom)
        self.note = self.app.task(name="note")(self._note)
        self.told = self.app.task(name="told")(self._told)
        self.why = self.app.task(name="why")(self._why)

    def _note(self, *values: Any) -> None:
        self.calls.append(values)

    def _told(self, failed: str, tag: str) -> None:
        self.calls.append((failed, tag))

    def _why(self, request: Any, error: Any, traceback: Any, tag: str) -> None:
        self.calls.append((request.id, request.task, repr(error), "Traceback" in traceback, tag))


def _add(x: int, y: int) -> int:
    return x + y


def _total(values: list[int]) -> int:
    return sum(values)


def _boom(*_: Any) -> None:
    raise KeyError("boom")


def drawn(sig: Signature[Any], **how: Any) -> str:
    """The graph of a signature, a call a line: `add(1, 2) >1` is a member of join 1, `1> add(3)` follows it."""
    return drawn_graph(grow(sig, **how))


def drawn_graph(graph: Graph) -> str:
    lines = []
    for node in graph.nodes:
        before = ""
        if node.after:
            join = graph.joins[node.after - 1]
            kind = "error" if join.on == "failure" else "silent" if node.silent else join.shape
            before = f"{node.after} {kind}> "
        call = node.sig.replace(node.args, node.kwargs).reprcall()
        lines.append(before + call + "".join(f" >{join}" for join in node.member_of))
    return "\n".join(lines)
