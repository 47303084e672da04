"""Asking and commanding workers: answers are complete, or name who is missing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.harness.waiting import until
from tests.acceptance.harness.workshop import Workshop

from tqbroker.exceptions import TimeLimitExceeded

BOTH = {"first@test", "second@test"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One broker and two workers."""
    place = Workshop(tmp_path_factory.mktemp("control"))
    place.broker()
    place.worker("-c", "1", name="first")
    place.worker("-c", "1", "-Q", "default,mail", name="second")
    yield place
    place.close()


def ask(shop: Workshop, question: str, *arguments: Any) -> dict[str, Any]:
    """What `app.control.inspect()` says, from both workers."""
    answer: dict[str, Any] = getattr(shop.app.control.inspect(timeout=5), question)(*arguments)
    assert answer.keys() == BOTH
    assert not [said for said in answer.values() if isinstance(said, dict) and "error" in said]
    return answer


# -- asking ----------------------------------------------------------------------------------------------------------


def test_all_workers_answer_a_ping(shop: Workshop) -> None:
    assert ask(shop, "ping") == {name: {"ok": "pong"} for name in BOTH}
    assert shop.app.control.ping(timeout=5) == [{name: {"ok": "pong"}} for name in sorted(BOTH)]
    assert shop.app.control.ping(destination=["first@test"], timeout=5) == [{"first@test": {"ok": "pong"}}]


def test_running_jobs_are_active_until_they_end(shop: Workshop) -> None:
    jobs = shop.send_many("hold", ["active-1", "active-2"], "active")
    shop.noted("start", "active", 2)

    active = ask(shop, "active")
    found = ask(shop, "query_task", jobs[0].id)
    shop.open_gate("active")

    assert sorted(item["id"] for items in active.values() for item in items) == sorted(job.id for job in jobs)
    item = next(item for items in active.values() for item in items if item["id"] == jobs[0].id)
    assert (item["name"], item["args"], item["kwargs"]) == ("tasks.hold", ["active-1", "active"], {})
    (where, same) = next(said[jobs[0].id] for said in found.values() if said)
    assert (where, same["id"]) == ("active", jobs[0].id)
    for job in jobs:
        job.get(timeout=20)
    until(lambda: not any(ask(shop, "active").values()), "no job to be active")
    assert not any(ask(shop, "reserved").values())


def test_scheduled_jobs_are_listed_by_the_broker(shop: Workshop) -> None:
    job = shop.send("step", "later", countdown=3600, priority=7)

    (item,) = ask(shop, "scheduled")["first@test"]

    assert (item["request"]["id"], item["request"]["args"], item["priority"]) == (job.id, ("later",), 7)
    job.revoke()
    assert ask(shop, "scheduled") == {"first@test": [], "second@test": []}
    assert all(job.id in ids for ids in ask(shop, "revoked").values())


def test_scheduled_jobs_that_no_worker_takes_are_listed_under_the_broker(shop: Workshop) -> None:
    job = shop.send("step", "far", countdown=3600, queue="nobody")

    (item,) = shop.app.control.inspect(timeout=5).scheduled()["broker"]

    assert item["request"]["id"] == job.id
    assert shop.app.control.inspect(["first@test"], timeout=5).scheduled() == {"first@test": []}
    job.revoke()


def test_workers_tell_what_they_are(shop: Workshop) -> None:
    shop.send("step", "counted").get(timeout=20)

    registered, queues, stats = ask(shop, "registered"), ask(shop, "active_queues"), ask(shop, "stats")

    assert "tasks.step" in registered["first@test"]
    assert "tasks.paced [rate_limit=10/s]" in ask(shop, "registered", "rate_limit")["first@test"]
    assert [queue["name"] for queue in queues["second@test"]] == ["default", "mail"]
    assert stats["first@test"]["pool"]["max-concurrency"] == 1
    assert sum(said["total"].get("tasks.step", 0) for said in stats.values()) >= 1
    assert ask(shop, "conf")["first@test"]["task_default_queue"] == "default"
    assert "tqbroker:" in ask(shop, "report")["first@test"]["ok"]
    assert "MainThread" in str(ask(shop, "stacks")["first@test"])


# -- commanding ------------------------------------------------------------------------------------------------------


def test_a_time_limit_set_at_run_time_ends_a_job(shop: Workshop) -> None:
    answers = shop.app.control.time_limit("tasks.stubborn", hard=0.3, timeout=5)
    assert [list(answer) for answer in answers] == [[name] for name in sorted(BOTH)]

    job = shop.send("stubborn", "limited")

    with pytest.raises(TimeLimitExceeded):
        job.get(timeout=20)
    shop.app.control.time_limit("tasks.stubborn", timeout=5)


def test_a_rate_limit_for_some_workers_is_refused_because_it_holds_for_all(shop: Workshop) -> None:
    with pytest.raises(ValueError, match="all workers together"):
        shop.app.control.rate_limit("tasks.paced", "1/s", destination="first@test")


def test_a_pool_grows_and_shrinks(shop: Workshop) -> None:
    shop.app.control.pool_grow(2, destination="first@test", timeout=5, reply=True)
    until(lambda: slots(shop) == 3, "three slots")
    shop.app.control.pool_shrink(2, destination="first@test", timeout=5)
    until(lambda: slots(shop) == 1, "one slot")


def slots(shop: Workshop) -> int:
    return int(ask(shop, "stats")["first@test"]["pool"]["max-concurrency"])


def test_a_queue_is_taken_and_let_go_at_run_time(shop: Workshop) -> None:
    job = shop.send("step", "extra", queue="extra")
    shop.waits_for(job, "no worker takes queue extra")

    shop.app.control.add_consumer("extra", destination=["second@test"], timeout=5)
    assert job.get(timeout=20) == "extra"
    assert [note.worker for note in shop.notes("start", "extra")] == ["second@test"]

    shop.app.control.cancel_consumer("extra", destination=["second@test"], timeout=5)
    until(lambda: "extra" not in shop.wire.workers()["second@test"].queues, "the worker to let go of it")
    left = shop.send("step", "left", queue="extra")
    shop.waits_for(left, "no worker takes queue extra")
    left.revoke()


def test_an_unknown_command_and_a_wrong_argument_are_answered_with_what_is_allowed(shop: Workshop) -> None:
    answers = shop.app.control.broadcast("fly", reply=True, timeout=5) or []
    assert all("ping" in said["error"] for answer in answers for said in answer.values())
    answers = shop.app.control.pool_grow(-1, timeout=5)
    assert all("n must be" in said["error"] for answer in answers for said in answer.values())


# -- missing ones ----------------------------------------------------------------------------------------------------


def test_a_frozen_worker_is_named_as_missing(shop: Workshop) -> None:
    frozen = next(daemon for daemon in shop.daemons if daemon.name == "second")
    frozen.signal(signal.SIGSTOP)
    try:
        answer = shop.app.control.inspect(timeout=0.5).ping()
        done = shop.tqbroker("inspect", "ping", "-t", "0.5")
    finally:
        frozen.signal(signal.SIGCONT)

    assert answer["first@test"] == {"ok": "pong"}
    assert "no answer" in answer["second@test"]["error"]
    assert done.returncode == 1
    assert "second@test" in done.stderr
    until(lambda: "error" not in shop.app.control.inspect(timeout=5).ping()["second@test"], "it to answer again")


def test_a_worker_that_is_not_there_is_named(shop: Workshop) -> None:
    answer = shop.app.control.inspect(["nobody@test"], timeout=0.5).ping()
    assert "error" in answer["nobody@test"]


def test_a_shutdown_lets_a_worker_finish_what_it_runs(workshop: Workshop) -> None:
    workshop.broker()
    worker = workshop.worker()
    job = workshop.send("hold", "last")
    workshop.noted("start", "last")

    (answer,) = workshop.app.control.shutdown(timeout=5)
    waiting = workshop.send("step", "next")
    workshop.open_gate()

    assert answer.keys() == {"worker@test"}
    assert worker.wait() == 0
    assert job.get(timeout=20) == "last"
    assert waiting.state == "PENDING"
