"""Limits, as every engine decides them: the names a job counts against, the rule of a name, what a rate admits.

Pure arithmetic over what an engine remembers. Times are milliseconds of the monotonic clock: it cannot jump.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from tqbroker_broker.records import Head
from tqbroker_broker.rules import LimitRule, Rate


def limit_names(head: Head) -> tuple[str, ...]:
    """The concrete names that the jobs of this head count against, each once."""
    return tuple(dict.fromkeys((f"task:{head.task}", f"queue:{head.queue}", *head.traits.limits)))


def rule_for(name: str, rules: Mapping[str, LimitRule]) -> LimitRule | None:
    """The rule of a concrete name: its own, or else that of the longest pattern ("mail:*") that it begins with."""
    exact = rules.get(name)
    if exact is not None:
        return exact
    for length in range(len(name), -1, -1):
        pattern = rules.get(f"{name[:length]}*")
        if pattern is not None:
            return pattern
    return None


class Window:
    """When jobs of one concrete name started, as far back as the rates of its rule look.

    Starts of one moment are one entry. An entry at `t` counts in the window of a rate until `t + period_ms`, and no
    longer: then no span of `period_ms` ever has more than `count` starts.
    """

    def __init__(self, starts: Iterable[tuple[int, int]] = ()) -> None:
        self.starts: deque[tuple[int, int]] = deque(starts)
        """(moment, how many), the oldest first."""

    def room(self, rates: Sequence[Rate], now_ms: int) -> int:
        """How many may start now, all rates considered."""
        return max(min(rate.count - self._within(rate, now_ms) for rate in rates), 0)

    def wait_ms(self, rates: Sequence[Rate], now_ms: int) -> int:
        """Milliseconds until one more may start; 0 when it may now."""
        return max(self._wait_ms(rate, now_ms) for rate in rates)

    def spend(self, rates: Sequence[Rate], now_ms: int, count: int = 1) -> None:
        """Records starts, and forgets those that no rate looks back to."""
        if self.starts and self.starts[-1][0] == now_ms:
            count += self.starts.pop()[1]
        self.starts.append((now_ms, count))
        self.forget(rates, now_ms)

    def forget(self, rates: Sequence[Rate], now_ms: int) -> None:
        """Forgets what no rate looks back to."""
        longest = max((rate.period_ms for rate in rates), default=0)
        while self.starts and self.starts[0][0] <= now_ms - longest:
            self.starts.popleft()

    def _within(self, rate: Rate, now_ms: int) -> int:
        return sum(count for at, count in self.starts if at > now_ms - rate.period_ms)

    def _wait_ms(self, rate: Rate, now_ms: int) -> int:
        left = self._within(rate, now_ms)
        if left < rate.count:
            return 0
        for at, count in self.starts:
            if at > now_ms - rate.period_ms:
                left -= count
                if left < rate.count:
                    return at + rate.period_ms - now_ms
        return rate.period_ms
