"""What an operator orders of a queue holds over kills: pause, most jobs, default expiry."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.acceptance.harness.workshop import Workshop

from tqbroker.exceptions import QueueFull, TaskRevokedError


def rule(shop: Workshop, *arguments: str) -> None:
    done = shop.tqbroker("queues", *arguments)
    assert done.returncode == 0, done.stderr


def queues(shop: Workshop) -> dict[str, Any]:
    return {queue["name"]: queue for queue in json.loads(shop.tqbroker("queues", "--json").stdout)}


def test_a_pause_holds_over_a_kill_and_workers_finish_what_they_run(workshop: Workshop) -> None:
    broker = workshop.broker()
    workshop.worker("-Q", "default,other")
    running = workshop.send("hold", "running")
    workshop.noted("start", "running")

    rule(workshop, "pause", "default")
    waiting = workshop.send("step", "waiting")
    workshop.restart(broker)

    workshop.open_gate()
    assert running.get(timeout=20) == "running"
    assert workshop.send("step", "elsewhere", queue="other").get(timeout=20) == "elsewhere"
    workshop.waits_for(waiting, "paused")
    assert workshop.labels("start", "waiting") == []
    assert queues(workshop)["default"]["rule"]["paused"] is True

    rule(workshop, "resume", "default")
    assert waiting.get(timeout=20) == "waiting"


def test_a_pause_stops_what_is_on_its_way(workshop: Workshop) -> None:
    workshop.broker()
    workshop.worker()
    workshop.send_many("step", [f"s{number}" for number in range(400)], 0.005)
    workshop.noted("start", "s", 20)

    rule(workshop, "pause", "default")
    handed_out = queues(workshop)["default"]
    left = handed_out["queued"]
    assert left > 0
    workshop.noted("end", "s", 400 - left)

    assert queues(workshop)["default"]["queued"] == left
    assert len(workshop.notes("start", "s")) == 400 - left
    rule(workshop, "resume", "default")
    workshop.noted("end", "s", 400)


def test_a_full_queue_refuses_and_counts_what_is_scheduled(workshop: Workshop) -> None:
    broker = workshop.broker()
    rule(workshop, "set", "default", "--max-length", "3")
    workshop.send("step", "a")
    workshop.send("step", "b", countdown=3600)
    workshop.restart(broker)
    workshop.send("step", "c")

    with pytest.raises(QueueFull, match=r"default.*3") as refused:
        workshop.send("step", "d")

    assert refused.value.rejected
    workshop.worker()
    workshop.noted("end", "c")
    assert workshop.send("step", "e").get(timeout=20) == "e"
    assert "d" not in workshop.labels()


def test_a_full_queue_drops_its_oldest_job_to_the_dead_letters(workshop: Workshop) -> None:
    workshop.broker()
    rule(workshop, "set", "default", "--max-length", "2", "--overflow", "drop-oldest")
    oldest, *rest = [workshop.send("step", label) for label in ("a", "b", "c")]

    assert oldest.state == "FAILURE"
    assert "QueueLengthExceeded" in workshop.tqbroker("dead", "list").stdout
    workshop.worker()
    assert [job.get(timeout=20) for job in rest] == ["b", "c"]
    assert sorted(workshop.labels()) == ["b", "c"]


def test_a_default_expiry_is_for_jobs_that_name_none(workshop: Workshop) -> None:
    workshop.broker()
    rule(workshop, "set", "default", "--ttl", "0.3")
    short, long = workshop.send("step", "short"), workshop.send("step", "long", expires=3600)

    with pytest.raises(TaskRevokedError):
        short.get(timeout=20)
    workshop.worker()

    assert long.get(timeout=20) == "long"
    assert workshop.labels() == ["long"]
    assert queues(workshop)["default"]["expired"] == 1
