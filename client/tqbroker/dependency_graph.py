"""A graph of what depends on what, written in the DOT language of Graphviz."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T", bound=Hashable)


class Writer(Protocol):
    """A file of text."""

    def write(self, text: str, /) -> Any:
        """Writes it."""
        ...


class DependencyGraph(Generic[T]):
    """Nodes and the edges between them, in the order in which they were added. A node equals itself by `==`."""

    def __init__(self) -> None:
        self._below: dict[T, list[T]] = {}

    def add_arc(self, node: T) -> None:
        """Adds a node, unless it is there."""
        self._below.setdefault(node, [])

    def add_edge(self, above: T, below: T) -> None:
        """Adds an edge between two nodes, which are added too."""
        self.add_arc(above)
        self.add_arc(below)
        self._below[above].append(below)

    def edges(self) -> list[tuple[T, T]]:
        """All edges."""
        return [(above, below) for above, others in self._below.items() for below in others]

    def valency_of(self, node: T) -> int:
        """How many edges begin or end at a node. Raises KeyError for one that is not there."""
        return len(self._below[node]) + sum(others.count(node) for others in self._below.values())

    def topsort(self) -> list[T]:
        """The nodes so that each stands before those below it. Those of a circle are left out."""
        waits = dict.fromkeys(self._below, 0)
        for _, below in self.edges():
            waits[below] += 1
        free = [node for node, count in waits.items() if not count]
        for node in free:  # grows while it is walked
            for below in self._below[node]:
                waits[below] -= 1
                if not waits[below]:
                    free.append(below)
        return free

    def to_dot(self, fh: Writer, label: Callable[[T], str] = str) -> None:
        """Writes the graph to a file of text. `label` says what is written on a node."""
        numbers = {node: number for number, node in enumerate(self._below)}
        fh.write("digraph {\n  rankdir=LR\n  node [shape=box]\n")
        for node, number in numbers.items():
            fh.write(f"  n{number} [label={_quoted(label(node))}]\n")
        for above, below in self.edges():
            fh.write(f"  n{numbers[above]} -> n{numbers[below]}\n")
        fh.write("}\n")

    def __iter__(self) -> Iterator[T]:
        return iter(self._below)

    def __len__(self) -> int:
        return len(self._below)

    def __contains__(self, node: object) -> bool:
        return node in self._below

    def __getitem__(self, node: T) -> list[T]:
        return self._below[node]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
