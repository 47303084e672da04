"""The thread in a child that looks after it while user code runs.

Some forty times a second it reads what the parent says, sends results and progress that wait, holds jobs to their time
limits, gives unstarted jobs back when what runs takes too long, and ends the process when the parent is gone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from tqbroker_worker.link import Link
from tqbroker_worker.vital import Vital

TICK = 0.025
OVERDUE = 0.1
"""Seconds that jobs wait in the child without any being started, after which they are given back."""
_DOZE_AFTER = 40
"""Ticks without work after which it sleeps until there is some."""
_DOZE = 5.0


class Watchdog:
    """Watches one link. `start` runs it as a daemon thread; `tick` is one look, for tests too.

    `others` are called with the time at every look while jobs run.
    """

    def __init__(self, link: Link, parent: int, others: Sequence[Callable[[float], None]] = ()) -> None:
        self._link = link
        self._parent = parent
        self._others = others
        self._started = 0
        self._since = 0.0
        self._quiet = 0
        self._awake = threading.Event()
        self._dozing = False

    def start(self) -> None:
        """Begins to watch."""
        threading.Thread(target=self._run, name="tqbroker-watchdog", daemon=True).start()

    def wake(self) -> None:
        """Jobs have arrived: ends a doze."""
        if self._dozing:
            self._awake.set()

    def tick(self, now: float) -> None:
        """One look at `now`, seconds of the monotonic clock."""
        link = self._link
        if os.getppid() != self._parent:
            link.parent_gone()
        link.poll()
        link.flush()
        for other in self._others:
            other(now)
        if link.started != self._started:
            self._started, self._since = link.started, now
        elif link.waiting() and now - max(self._since, link.waiting_since) >= OVERDUE:
            link.hand_back(overdue=True)

    def _run(self) -> None:
        with Vital("the watchdog"):
            self._watch()

    def _watch(self) -> None:
        while True:
            self.tick(monotonic())
            busy = self._link.waiting() or self._link.started != self._link.finished
            self._quiet = 0 if busy else self._quiet + 1
            if self._quiet < _DOZE_AFTER:
                self._awake.wait(TICK)
            else:
                self._doze()

    def _doze(self) -> None:
        """Sleeps until jobs arrive. `dozing` is set before the last look, so that none can slip in between."""
        self._awake.clear()
        self._dozing = True
        if not self._link.waiting():
            self._awake.wait(_DOZE)
        self._dozing = False
        self._awake.clear()
        self._quiet = 0
