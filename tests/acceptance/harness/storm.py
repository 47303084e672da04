"""Faults of a network, one after another, drawn by a seed: each holds for a moment, then all is well for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from tests.acceptance.harness.proxy import Proxy

Fault = Callable[[Proxy, Random], None]


def _frozen(proxy: Proxy, random: Random) -> None:
    for way in random.choice([[proxy.up], [proxy.down], [proxy.up, proxy.down]]):
        way.freeze()


def _late(proxy: Proxy, random: Random) -> None:
    random.choice([proxy.up, proxy.down]).delay(random.uniform(0.02, 0.3))


def _slow(proxy: Proxy, random: Random) -> None:
    random.choice([proxy.up, proxy.down]).slow(random.choice([1_000, 20_000]))


def _torn(proxy: Proxy, random: Random) -> None:
    random.choice([proxy.up, proxy.down]).cut_after(random.randint(1, 5_000))


def _reset(proxy: Proxy, random: Random) -> None:
    proxy.reset()


def _half_closed(proxy: Proxy, random: Random) -> None:
    proxy.half_close(random.choice([proxy.up, proxy.down]))


def _refused(proxy: Proxy, random: Random) -> None:
    proxy.refuse()
    proxy.reset()


def _swallowed(proxy: Proxy, random: Random) -> None:
    proxy.swallow()


FAULTS: dict[str, Fault] = {
    "frozen": _frozen,
    "late": _late,
    "slow": _slow,
    "torn": _torn,
    "reset": _reset,
    "half-closed": _half_closed,
    "refused": _refused,
    "swallowed": _swallowed,
}


class Storm:
    """The faults of one seed for some proxies. `told` says what happened, for the report of a failure.

    `met` counts the faults that met a connection with something on its way: while nobody is connected nothing is hurt.
    """

    def __init__(self, seed: int, *proxies: Proxy, longest: float = 0.3) -> None:
        self._random = Random(seed)
        self._proxies = proxies
        self._longest = longest
        self.told: list[str] = []
        self.met = 0

    def rage(self, faults: int) -> None:
        """So many faults; at the end everything is healed. Each kind comes once before one comes again."""
        names: list[str] = []
        for _ in range(faults):
            names = names or self._random.sample(sorted(FAULTS), len(FAULTS))
            self._hurt(names.pop())

    def _hurt(self, name: str) -> None:
        proxy = self._random.choice(self._proxies)
        seconds = self._random.uniform(0.05, self._longest)
        before = proxy.hurt
        FAULTS[name](proxy, self._random)
        time.sleep(seconds)
        met = proxy.hurt > before
        self.met += met
        self.told.append(f"{name} for {seconds:.2f} s at {proxy.address}{'' if met else ', met nothing'}")
        proxy.heal()
        time.sleep(self._random.uniform(0.0, 0.1))
