"""Bugs with clocks: what is judged by the wrong one."""

from __future__ import annotations

import time

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.aging import Aging
from tqbroker_broker.clock import SystemClock
from tqbroker_broker.records import Time
from tqbroker_broker.storage.lmdb import opening
from tqbroker_broker.storage.lmdb.engine import LmdbEngine


@mutant("leases are judged by the clock on the wall", breaks="P5")
def lease_on_wall_clock(plant: Plant) -> None:
    now = SystemClock.now

    def on_the_wall(self: SystemClock) -> Time:
        wall_ms = now(self).wall_ms
        return Time(wall_ms, wall_ms / 1000)

    def beat(self: LmdbEngine, at: Time) -> float:
        return steady(self, Time(at.wall_ms, time.monotonic()))  # else it looks as if the broker had stood still

    steady = LmdbEngine.beat
    plant(SystemClock, "now", on_the_wall)
    plant(LmdbEngine, "beat", beat)


@mutant("what is kept for a time grows old when the clock is put forward", breaks="P2")
def a_jump_ages_everything(plant: Plant) -> None:
    def blind(self: Aging, now: Time) -> None:
        return None

    plant(Aging, "see", blind)


@mutant("the epoch of a start is what the clock says, even if it says less than before", breaks="P4")
def epoch_is_the_clock(plant: Plant) -> None:
    plant(opening, "next_epoch", lambda stored, wall_ms: wall_ms // 1000)
