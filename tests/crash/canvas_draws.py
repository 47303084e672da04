"""Random canvases of numbers, and what each of them must come to."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from tqbroker import App, chain, chord, group

MOST_DEPTH = 3

Value = Callable[[int], int | None]
"""What comes out of a number that goes in; None when something fails on the way."""


class Part(NamedTuple):
    """A canvas that takes a number and returns one, and what it comes to."""

    canvas: Any
    value: Value


class Draws:
    """Draws canvases of the tasks in projects/workflows. One in `fails` tasks fails."""

    def __init__(self, app: App, rng: Random, fails: int = 40) -> None:
        self._app = app
        self._rng = rng
        self._fails = fails

    def workflow(self) -> tuple[Any, int | None]:
        """A canvas that takes nothing, and its value."""
        start = self._rng.randrange(100)
        part = self._chain(MOST_DEPTH)
        return self._sig("add", start, 1) | part.canvas, part.value(start + 1)

    def _sig(self, name: str, *args: int) -> Any:
        return self._app.signature(f"tasks.{name}", args=args)

    def _part(self, depth: int) -> Part:
        kind = self._rng.random()
        if depth == 0 or kind < 0.5:
            return self._leaf()
        return self._chain(depth - 1) if kind < 0.7 else self._chord(depth - 1)

    def _leaf(self) -> Part:
        number = self._rng.randrange(100)
        if self._rng.randrange(self._fails) == 0:
            return Part(self._sig("fail"), lambda _: None)
        return Part(self._sig(self._rng.choice(("add", "add", "add", "instead")), number), lambda x: x + number)

    def _chain(self, depth: int) -> Part:
        parts = [self._part(depth) for _ in range(self._rng.randint(1, 3))]

        def value(x: int) -> int | None:
            number: int | None = x
            for part in parts:
                number = part.value(number) if number is not None else None
            return number

        return Part(chain(*(part.canvas for part in parts)), value)

    def _chord(self, depth: int) -> Part:
        parts = [self._part(depth) for _ in range(self._rng.randint(1, 4))]

        def value(x: int) -> int | None:
            numbers = [part.value(x) for part in parts]
            return None if None in numbers else sum(number for number in numbers if number is not None)

        header, body = [part.canvas for part in parts], self._sig("total")
        return Part(group(header) | body if len(header) > 1 else chord(header, body), value)
