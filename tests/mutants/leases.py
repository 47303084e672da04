"""Bugs in leases: who holds a job, for how long, and whose outcome counts."""

from __future__ import annotations

from collections.abc import Callable

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.records import Time
from tqbroker_broker.storage.lmdb import engine as lmdb_engine
from tqbroker_broker.storage.lmdb.engine import LmdbEngine
from tqbroker_broker.storage.memory import engine as memory_engine
from tqbroker_broker.storage.memory.engine import MemoryEngine


@mutant("the deadlines of leases live on the wall clock", breaks="P5")
def lease_on_wall_clock(plant: Plant) -> None:
    for engine in (LmdbEngine, MemoryEngine):
        for verb in ("open", "join", "part", "extend", "expire", "recovery_left"):
            plant(engine, verb, _by_the_wall(vars(engine)[verb]))


def _by_the_wall(verb: Callable[..., object]) -> Callable[..., object]:
    def told(self: object, *arguments: object) -> object:
        clocks = (Time(each.wall_ms, each.wall_ms / 1000) if isinstance(each, Time) else each for each in arguments)
        return verb(self, *clocks)

    return told


@mutant("leases are judged after the broker stood still as if it had not", breaks="P5")
def stall_not_forgiven(plant: Plant) -> None:
    for module in (lmdb_engine, memory_engine):
        plant(module, "stall", lambda elapsed: 0.0)
