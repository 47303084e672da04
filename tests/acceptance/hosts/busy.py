"""A program forks while its threads are in the middle of calls, follow events and wait for results."""

from __future__ import annotations

import threading
import time
from itertools import count

from tests.acceptance.hosts.calls import FIRST, PATIENCE, answered, ask, call, forked, note, reaped, tasks

THREADS, FORKS = 4, 6


class Busy(threading.Thread):
    """Asks until it is told to stop."""

    def __init__(self, first: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.first, self.stop, self.error = first, stop, ""

    def run(self) -> None:
        try:
            for number in count(self.first):
                ask(number)
                if self.stop.is_set():
                    return
        except BaseException as error:  # it is told by the program, which fails
            self.error = repr(error)


def follow(seen: set[str]) -> None:
    for event in tasks.app.events.follow(after=0):
        seen.add(event.get("uuid", ""))


def main() -> None:
    stop, seen = threading.Event(), set[str]()
    ask(0)
    threading.Thread(target=follow, args=(seen,), daemon=True).start()
    note("invoke", FIRST + 1)
    slow = tasks.nap.delay(FIRST + 1, 2.0)
    note("ok", FIRST + 1, slow.id)
    waiter = threading.Thread(target=answered, args=(slow, 1), daemon=True)
    waiter.start()
    busy = [Busy(1000 * at, stop) for at in range(1, THREADS + 1)]
    threads: list[threading.Thread] = [*busy, waiter]
    for thread in busy:
        thread.start()
    children = []
    for at in range(FORKS):
        children.append(forked(lambda at=at: ask(*range(100 * at + 100, 100 * at + 103))))  # type: ignore[misc]
        time.sleep(0.02)
    reaped(children)
    last = call(2)
    answered(last, 2)
    stop.set()
    for each in threads:
        each.join(PATIENCE)
        assert not each.is_alive()
    assert not [thread.error for thread in busy if thread.error]
    deadline = time.monotonic() + PATIENCE
    while last.id not in seen:
        assert time.monotonic() < deadline, "the follower has missed an event"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
