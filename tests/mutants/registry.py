"""Bugs on purpose: a harness that does not notice them proves nothing.

A mutant is a function that puts something broken in place of a part of the product, in this process only. It is found
by its name: in a test by `planted`, in a daemon by `python -m tests.mutants NAME serve ...`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import tests.mutants


class Plant(Protocol):
    """Sets an attribute of a module, a class or an object to something else."""

    def __call__(self, owner: object, name: str, value: object) -> None: ...


class Mutant(NamedTuple):
    """One bug: what it does, and the promise (P1 to P16) or invariant (I1 to I10) that it breaks."""

    name: str
    what: str
    breaks: str
    plant: Callable[[Plant], None]


MUTANTS: dict[str, Mutant] = {}
"""By name; complete after `load`."""


def mutant(what: str, *, breaks: str) -> Callable[[Callable[[Plant], None]], Callable[[Plant], None]]:
    """Adds a function to the registry under its own name."""

    def add(plant: Callable[[Plant], None]) -> Callable[[Plant], None]:
        assert plant.__name__ not in MUTANTS, f"two mutants are called {plant.__name__}"
        MUTANTS[plant.__name__] = Mutant(plant.__name__, what, breaks, plant)
        return plant

    return add


def load() -> dict[str, Mutant]:
    """Every mutant, by name."""
    for module in pkgutil.iter_modules(tests.mutants.__path__, "tests.mutants."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return MUTANTS


@contextmanager
def planted(name: str) -> Iterator[Mutant]:
    """The product has this bug, in this process, until the end of the block."""
    changed: list[tuple[object, str, object]] = []

    def plant(owner: object, name: str, value: object) -> None:
        # What a class has as a descriptor must be put back as one.
        former = vars(owner)[name] if name in vars(owner) else getattr(owner, name)
        changed.append((owner, name, former))
        setattr(owner, name, value)

    chosen = load()[name]
    try:
        chosen.plant(plant)
        yield chosen
    finally:
        for owner, place, former in reversed(changed):
            setattr(owner, place, former)
