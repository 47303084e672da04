"""What an operator orders of a queue holds over kills: pause, most jobs, default expiry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.harness.waiting import PATIENCE
from tests.acceptance.harness.workshop import Workshop

from tqbroker.exceptions import QueueFull, TaskRevokedError
from tqbroker.v1.admin_pb2 import SetQueueRequest


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One broker, and one worker for three queues; `take` gives it more."""
    place = Workshop(tmp_path_factory.mktemp("rules"))
    place.broker()
    place.worker("-Q", "paused,other,stopped")
    yield place
    place.close()


def rule(shop: Workshop, *arguments: str) -> None:
    done = shop.tqbroker("queues", *arguments)
    assert done.returncode == 0, done.stderr


def queues(shop: Workshop) -> dict[str, Any]:
    return {queue["name"]: queue for queue in json.loads(shop.tqbroker("queues", "--json").stdout)}


def take(shop: Workshop, queue: str) -> None:
    """From now on the worker takes jobs from this queue."""
    (answer,) = shop.app.control.add_consumer(queue, timeout=5)
    assert "error" not in answer["worker@test"]


def test_a_pause_holds_over_a_kill_and_workers_finish_what_they_run(shop: Workshop) -> None:
    running = shop.send("hold", "running", queue="paused")
    shop.noted("start", "running")

    rule(shop, "pause", "paused")
    waiting = shop.send("step", "waiting", queue="paused")
    shop.restart(shop.daemons[0])

    shop.open_gate()
    assert running.get(timeout=20) == "running"
    assert shop.send("step", "elsewhere", queue="other").get(timeout=20) == "elsewhere"
    shop.waits_for(waiting, "paused")
    assert shop.labels("start", "waiting") == []
    assert queues(shop)["paused"]["rule"]["paused"] is True

    rule(shop, "resume", "paused")
    assert waiting.get(timeout=20) == "waiting"


def test_after_a_pause_only_what_was_handed_out_still_runs(shop: Workshop) -> None:
    shop.send_many("step", [f"s{number}" for number in range(400)], 0.005, queue="stopped")
    shop.noted("start", "s", 20)

    # Over the wire: until a command has started, all may have run.
    shop.wire.admin.SetQueue(SetQueueRequest(queue="stopped", paused=True), timeout=PATIENCE)
    left = shop.wire.counts("stopped").queued
    assert left > 0
    shop.noted("end", "s", 400 - left)

    assert queues(shop)["stopped"]["queued"] == left
    assert len(shop.notes("start", "s")) == 400 - left
    rule(shop, "resume", "stopped")
    shop.noted("end", "s", 400)


def test_a_full_queue_refuses_and_counts_what_is_scheduled(shop: Workshop) -> None:
    rule(shop, "set", "short", "--max-length", "3")
    shop.send("step", "full-a", queue="short")
    shop.send("step", "full-b", queue="short", countdown=3600)
    shop.restart(shop.daemons[0])
    shop.send("step", "full-c", queue="short")

    with pytest.raises(QueueFull, match=r"short .* 3 jobs") as refused:
        shop.send("step", "full-d", queue="short")

    assert refused.value.rejected
    shop.wire.connected(shop.daemons[1].pid)
    take(shop, "short")
    shop.noted("end", "full-c")
    assert shop.send("step", "full-e", queue="short").get(timeout=20) == "full-e"
    assert "full-d" not in shop.labels()


def test_a_full_queue_drops_its_oldest_job_to_the_dead_letters(shop: Workshop) -> None:
    rule(shop, "set", "newest", "--max-length", "2", "--overflow", "drop-oldest")
    oldest, *rest = [shop.send("step", f"newest-{label}", queue="newest") for label in "abc"]

    assert oldest.state == "FAILURE"
    assert "QueueLengthExceeded" in shop.tqbroker("dead", "list").stdout
    take(shop, "newest")
    assert [job.get(timeout=20) for job in rest] == ["newest-b", "newest-c"]
    assert sorted(shop.labels("start", "newest")) == ["newest-b", "newest-c"]


def test_a_default_expiry_is_for_jobs_that_name_none(shop: Workshop) -> None:
    rule(shop, "set", "brief", "--ttl", "0.3")
    short = shop.send("step", "brief-short", queue="brief")
    long = shop.send("step", "brief-long", queue="brief", expires=3600)

    with pytest.raises(TaskRevokedError):
        short.get(timeout=20)
    take(shop, "brief")

    assert long.get(timeout=20) == "brief-long"
    assert shop.labels("start", "brief") == ["brief-long"]
    assert queues(shop)["brief"]["expired"] == 1
