"""The event log: a monitor that is killed goes on behind the last event it has seen, without gap or repeat."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.acceptance.harness import monitor
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.waiting import until
from tests.acceptance.harness.workshop import Workshop

JOBS = 2000


class Monitor:
    """The program of harness/monitor.py, started again and again; `seen` is all it has printed."""

    def __init__(self, shop: Workshop) -> None:
        self._daemon = Daemon("monitor", [], shop.project, shop.environment)
        self._url = shop.url
        shop.daemons.append(self._daemon)

    def start(self) -> None:
        """Goes on behind the last event seen."""
        seen = self.seen()
        program = Path(monitor.__file__)
        self._daemon.command = [sys.executable, str(program), self._url, seen[-1][0] if seen else "0"]
        self._daemon.start()

    def kill(self) -> None:
        """kill -9; a last line that is not complete was not seen."""
        self._daemon.kill()
        self._daemon.log.closed(20)

    def seen(self) -> list[list[str]]:
        """Number, type and job of every event."""
        lines = [line.text.split() for line in self._daemon.log.lines if line.stream == "stdout"]
        return [words for words in lines if len(words) == 3 and (words[2] == "-" or len(words[2]) == 36)]


def test_a_monitor_killed_again_and_again_sees_every_event_once(workshop: Workshop) -> None:
    broker = workshop.broker()
    monitor = Monitor(workshop)
    monitor.start()
    workshop.worker()
    labels = [f"e{number}" for number in range(JOBS)]
    jobs = workshop.send_many("step", labels[: JOBS // 2])

    for part in (200, 900):
        until(partial(has_seen, monitor, part), "the monitor to be in the middle")
        monitor.kill()
        monitor.start()
    workshop.restart(broker)
    jobs += workshop.send_many("step", labels[JOBS // 2 :])
    for job in jobs:
        job.get(timeout=30)

    wanted = {job.id for job in jobs}
    until(lambda: ended(monitor) == wanted, "every end to be seen", 30)
    numbers = [int(number) for number, _, _ in monitor.seen()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "a gap or a repeat"
    assert numbers[0] == 1
    sent = [job for _, kind, job in monitor.seen() if kind == "task-sent"]
    assert len(sent) == len(set(sent)) == JOBS
    assert len([1 for _, kind, _ in monitor.seen() if kind == "task-succeeded"]) == JOBS


def has_seen(monitor: Monitor, events: int) -> bool:
    return len(monitor.seen()) > events


def ended(monitor: Monitor) -> set[str]:
    return {job for _, kind, job in monitor.seen() if kind == "task-succeeded"}


def test_the_command_prints_events_as_they_happen_and_goes_on_after_a_kill(workshop: Workshop) -> None:
    broker = workshop.broker()
    workshop.worker()
    daemon = workshop.daemon("events", "events", "-f", "--json")
    daemon.start()

    def seen() -> list[dict[str, Any]]:
        return [line.event for line in daemon.log.lines if line.event.get("type")]

    first = workshop.send("step", "a")
    first.get(timeout=20)
    until(lambda: seen() and seen()[-1]["type"] == "task-succeeded", "the end of the first")
    last = seen()[-1]["number"]
    daemon.kill()
    workshop.restart(broker)
    second = workshop.send("step", "b")
    second.get(timeout=20)
    daemon.command += ["--after", str(last)]
    daemon.start()
    until(lambda: second.id in [event.get("uuid") for event in seen() if event["type"] == "task-succeeded"], "the rest")

    numbers = [event["number"] for event in seen()]
    assert numbers == list(range(1, len(numbers) + 1))
    kinds = [event["type"] for event in seen() if event.get("uuid") == second.id]
    assert kinds == ["task-sent", "task-started", "task-succeeded"]


def test_a_receiver_calls_its_handlers_and_goes_on_where_it_was(workshop: Workshop) -> None:
    workshop.broker()
    workshop.worker()
    bad = workshop.send("fragile", "bad", "no money")
    bad.get(timeout=20, propagate=False)
    good = workshop.send("step", "good")
    good.get(timeout=20)
    failed: list[dict[str, Any]] = []
    others: list[str] = []

    def on_other(event: dict[str, Any]) -> None:
        others.append(event["type"])

    receiver = workshop.app.events.Receiver(handlers={"task-failed": failed.append, "*": on_other})
    receiver.capture(limit=7, timeout=10)

    (event,) = failed
    assert (event["uuid"], event["name"], event["hostname"]) == (bad.id, "tasks.fragile", "worker@test")
    assert event["exception"] == "ValueError"
    assert others == ["worker-online", "task-sent", "task-started", "task-sent", "task-started", "task-succeeded"]

    workshop.send("step", "more").get(timeout=20)
    later = workshop.app.events.Receiver(handlers={"*": on_other}, after=receiver.after)
    others.clear()
    later.capture(limit=3, timeout=10)
    assert others == ["task-sent", "task-started", "task-succeeded"]


def test_events_of_an_application_are_filtered_by_kind(workshop: Workshop) -> None:
    workshop.broker()
    job = workshop.send("step", "a")
    job.revoke()

    (event,) = workshop.app.events.read(types=["task-revoked"])

    assert event["uuid"] == job.id
    done = workshop.tqbroker("events", "--type", "task-revoked", "--json")
    assert json.loads(done.stdout)["uuid"] == job.id
