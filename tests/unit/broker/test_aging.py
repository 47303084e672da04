"""A clock that is put forward is held back jump by jump, each for its window, and few jumps are remembered."""

from __future__ import annotations

from random import Random

from tqbroker_broker.aging import LEAST_MS, PARTS, Aging, HeldBack
from tqbroker_broker.records import Time
from tqbroker_broker.storage.lmdb import holding
from tqbroker_broker.storage.lmdb.keys import PAIR

WINDOW = 86_400.0
HOUR = 3600.0


class Machine:
    """A machine with its clocks, on which somebody looks at them every minute."""

    def __init__(self) -> None:
        self.aging = Aging(WINDOW)
        self.now = Time(1_800_000_000_000, 0.0)
        self.aging.see(self.now)

    def runs(self, seconds: float) -> None:
        for _ in range(int(seconds / 60)):
            self._pass(60, 60)

    def jumps(self, seconds: float) -> None:
        self._pass(0.5, seconds)

    def _pass(self, mono: float, wall: float) -> None:
        self.now = Time(self.now.wall_ms + int(wall * 1000), self.now.mono + mono)
        self.aging.see(self.now)

    @property
    def lag(self) -> float:
        """Hours."""
        return (self.now.wall_ms - self.aging.wall_ms(self.now)) / 3_600_000


def test_a_machine_that_sleeps_every_night_lags_behind_by_two_nights_at_most() -> None:
    machine, lags = Machine(), []
    for _ in range(60):
        machine.runs(16 * HOUR)
        machine.jumps(8 * HOUR)
        lags.append(machine.lag)

    assert 7.9 < lags[0] < 8.1
    assert max(lags) < 16.1


def test_however_often_the_clock_jumps_few_jumps_are_kept_and_each_counts_soon_after_its_window() -> None:
    machine = Machine()
    for number in range(3 * 24 * 60):
        machine.runs(60)
        machine.jumps(2 * LEAST_MS / 1000)
        assert len(machine.aging.held) <= 2 * PARTS + 1
        assert machine.lag <= min(number + 1, 24 * 60 * (1 + 2 / PARTS)) / 30
    machine.runs(WINDOW + 60)
    assert machine.lag == 0


def test_nothing_grows_old_before_its_time_whatever_the_clock_does() -> None:
    for seed in range(10):
        random, machine = Random(seed), Machine()
        kept: list[tuple[int, float]] = []
        for _ in range(200):
            kept.append(machine.now[:2])
            machine.runs(random.choice([60, HOUR, 5 * HOUR]))
            machine.jumps(random.choice([0.5, 120, HOUR, 30 * HOUR, 400 * WINDOW, -HOUR, -20 * HOUR]))
            aged_ms = machine.aging.wall_ms(machine.now)
            for wall_ms, mono in kept:
                passed = machine.now.mono - mono
                assert passed >= WINDOW or aged_ms - wall_ms <= passed * 1000 + LEAST_MS, seed


def test_a_clock_put_right_again_is_not_held_back_any_more() -> None:
    machine = Machine()
    machine.jumps(30 * HOUR)
    machine.runs(HOUR)
    machine.jumps(50 * HOUR)
    machine.jumps(-50 * HOUR)
    assert 29.9 < machine.lag < 30.1
    machine.jumps(-30 * HOUR)
    assert machine.lag == 0


def test_what_was_stored_when_there_was_one_jump_at_most_is_read() -> None:
    jumps = HeldBack(60_000, 5), HeldBack(90_000, 6)
    assert holding.unpack(holding.pack(jumps)) == jumps
    assert holding.unpack(PAIR.pack(60_000, 5)) == jumps[:1]
    assert holding.unpack(PAIR.pack(0, 0)) == holding.unpack(b"") == holding.unpack(None) == ()
