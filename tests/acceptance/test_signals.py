"""Celery's signals, in the process that submits and in the processes that run jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.harness.waiting import until
from tests.acceptance.harness.workshop import Workshop

Seen = dict[str, Any]


class Signals(Workshop):
    """The project writes down every signal that it gets."""

    def seen(self, *names: str, job: str = "") -> list[Seen]:
        """The signals of these names, in order; of one job, if named."""
        lines = map(json.loads, self.history.lines())
        return [each for each in lines if each["signal"] in names and job in each.get("task_id", job)]

    def one(self, name: str, job: str = "") -> Seen:
        """The only signal of this name, once it is there."""
        until(lambda: self.seen(name, job=job), f"signal {name}")
        (found,) = self.seen(name, job=job)
        return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signals]:
    """One broker and one worker with one process."""
    place = Signals(tmp_path_factory.mktemp("signals"), "signals")
    place.broker()
    place.worker("-c", "1")
    yield place
    place.close()


AROUND = ("task_prerun", "task_success", "task_failure", "task_retry", "task_postrun")


def test_a_client_gets_signals_around_publishing(shop: Signals) -> None:
    job = shop.python("from tasks import add; job = add.delay(1, 2); assert job.get(timeout=20) == 3; print(job.id)")

    before, after = shop.one("before_task_publish"), shop.one("after_task_publish")

    assert (before["sender"], after["sender"]) == ("tasks.add", "tasks.add")
    assert before["routing_key"] == after["routing_key"] == "default"
    assert {"body", "headers", "routing_key", "exchange"} <= {*before["names"]}
    order = [each["signal"] for each in shop.seen("before_task_publish", "after_task_publish")]
    assert order == ["before_task_publish", "after_task_publish"]
    assert job


def test_a_job_that_ends_well(shop: Signals) -> None:
    job = shop.send("add", 20, 2)
    assert job.get(timeout=20) == 22

    post = shop.one("task_postrun", job.id)

    assert (post["sender"], post["retval"], post["state"]) == ("tasks.add", 22, "SUCCESS")
    assert {"args", "kwargs", "retval", "state", "task", "task_id"} <= {*post["names"]}
    assert shop.one("task_prerun", job.id)["sender"] == "tasks.add"
    assert shop.seen("task_success")[-1]["result"] == 22
    assert post["pid"] not in (shop.daemons[1].pid,), "tasks and their signals are in a child"


def test_a_job_that_fails(shop: Signals) -> None:
    job = shop.send("fail")
    assert isinstance(job.get(timeout=20, propagate=False), KeyError)

    failure = shop.one("task_failure", job.id)

    assert (failure["sender"], failure["exception"]) == ("tasks.fail", "KeyError: 'nothing there'")
    assert {"args", "kwargs", "einfo", "exception", "task_id", "traceback"} <= {*failure["names"]}
    assert shop.one("task_postrun", job.id)["state"] == "FAILURE"


def test_a_job_that_is_tried_again(shop: Signals) -> None:
    job = shop.send("again")
    assert job.get(timeout=20) == "now"

    until(lambda: len(shop.seen("task_postrun", job=job.id)) == 2, "both attempts to end")
    (retry,) = shop.seen("task_retry")

    assert retry["sender"] == "tasks.again"
    assert "not yet" in retry["reason"]
    assert {"einfo", "reason", "request"} <= {*retry["names"]}
    assert [each["state"] for each in shop.seen("task_postrun", job=job.id)] == ["RETRY", "SUCCESS"]


def test_a_job_that_is_terminated(shop: Signals) -> None:
    job = shop.send("hold")
    until(lambda: shop.seen("task_prerun", job=job.id), "the job to start")

    job.revoke(terminate=True)
    job.get(timeout=20, propagate=False)

    revoked = shop.one("task_revoked")
    assert (revoked["sender"], revoked["terminated"], revoked["expired"]) == ("tasks.hold", True, False)
    assert "tasks.hold" not in [each["sender"] for each in shop.seen("task_failure")]


def test_a_worker_tells_what_it_has_received(shop: Signals) -> None:
    job = shop.send("add", 1, 1)
    job.get(timeout=20)

    until(lambda: job.id in [each["request"]["id"] for each in shop.seen("task_received")], "task_received")


def test_the_life_of_a_worker(shop: Signals) -> None:
    worker = shop.worker("-c", "2", name="short")
    until(lambda: [each for each in shop.seen("worker_ready") if each["sender"] == "short@test"], "worker_ready")
    assert worker.stop() == 0

    def mine(name: str) -> list[Seen]:
        return [each for each in shop.seen(name) if each["pid"] in started]

    started = {each["pid"] for each in shop.seen("worker_init") if each["sender"] == "short@test"}
    assert len(started) == 2
    assert len(mine("worker_process_init")) == 2, "in each process that runs jobs"
    assert len(mine("worker_process_shutdown")) == 2
    for once in ("worker_ready", "worker_shutting_down", "worker_shutdown"):
        assert [each["sender"] for each in mine(once)] == ["short@test"], once
    first = mine("celeryd_init")[0]
    assert first["sender"] == "short@test"
    assert mine("import_modules")
    assert mine("after_setup_logger")
    assert mine("after_setup_task_logger")
