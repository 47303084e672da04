"""Dead letters: jobs that failed are kept whole, survive a kill, and are sent back or dropped when somebody says so."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.waiting import until
from tests.acceptance.harness.workshop import Workshop

from tqbroker import AsyncResult

Failed = list[AsyncResult[Any]]


def failed(shop: Workshop, labels: list[str], why: str, **options: Any) -> Failed:
    """Dead letters of `tasks.fragile`."""
    jobs = shop.send_many("fragile", labels, why, **options)
    for job in jobs:
        assert isinstance(job.get(timeout=20, propagate=False), (ValueError, KeyError))
    return jobs


def dead(shop: Workshop, *arguments: str) -> list[dict[str, Any]]:
    done = shop.tqbroker("dead", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture
def daemons(workshop: Workshop) -> tuple[Daemon, Daemon]:
    """A broker and a worker."""
    return workshop.broker(), workshop.worker()


def test_failed_jobs_are_kept_whole_over_a_kill_right_after_the_answer(
    workshop: Workshop, daemons: tuple[Daemon, Daemon]
) -> None:
    jobs = failed(workshop, ["a", "b"], "no money", stamps={"order": "7"})

    workshop.restart(daemons[0])

    found = dead(workshop, "list", "--stamp", "order=7")
    assert [each["id"] for each in found] == [job.id for job in jobs]
    shown = json.loads(workshop.tqbroker("jobs", "show", jobs[0].id, "--json").stdout)
    assert shown["args"] == ["a", "no money"]
    assert [attempt["error"] for attempt in shown["attempts"]] == ["ValueError: no money"]
    assert "fragile" in shown["attempts"][0]["traceback"]


def test_one_is_redriven_under_its_id_and_survives_a_kill_right_after_the_answer(
    workshop: Workshop, daemons: tuple[Daemon, Daemon]
) -> None:
    broker, worker = daemons
    (job,) = failed(workshop, ["again"], "no money")
    workshop.open_gate("mended")
    worker.stop()

    assert [each["effect"] for each in dead(workshop, "redrive", job.id)] == ["redriven"]
    workshop.restart(broker)
    worker.start()

    until(lambda: workshop.app.AsyncResult(job.id).state == "SUCCESS", "the job to end well")
    assert workshop.app.AsyncResult(job.id).get() == "again"
    assert dead(workshop, "list") == []


def test_many_are_redriven_by_filter_and_others_stay(workshop: Workshop, daemons: tuple[Daemon, Daemon]) -> None:
    values = failed(workshop, [f"v{number}" for number in range(20)], "no money")
    (key,) = failed(workshop, ["k"], "key")
    workshop.open_gate("mended")

    planned = dead(workshop, "redrive", "--error", "ValueError", "--dry-run")
    assert len(planned) == 20
    assert len(dead(workshop, "list")) == 21

    done = dead(workshop, "redrive", "--error", "ValueError")

    assert {each["id"] for each in done} == {job.id for job in values}
    workshop.noted("end", "v", 20)
    until(lambda: [each["id"] for each in dead(workshop, "list")] == [key.id], "only the other error to be left")


def test_one_is_redriven_with_other_arguments(workshop: Workshop, daemons: tuple[Daemon, Daemon]) -> None:
    (job,) = failed(workshop, ["typo"], "no money")

    dead(workshop, "redrive", job.id, "--args", '["corrected"]')

    workshop.noted("end", "corrected")
    until(lambda: workshop.app.AsyncResult(job.id).state == "SUCCESS", "the job to end well")
    assert workshop.app.AsyncResult(job.id).args == ("corrected",)


def test_redriven_jobs_are_spread_over_time(workshop: Workshop, daemons: tuple[Daemon, Daemon]) -> None:
    failed(workshop, [f"s{number}" for number in range(6)], "no money")
    workshop.open_gate("mended")
    begun = time.time()

    dead(workshop, "redrive", "--all", "--rate", "5/s")

    ends = [note.at for note in workshop.noted("end", "s", 6)]
    assert ends[-1] - begun > 0.9


def test_purged_ones_are_gone_also_after_a_kill(workshop: Workshop, daemons: tuple[Daemon, Daemon]) -> None:
    jobs = failed(workshop, ["a", "b", "c"], "no money")

    assert len(dead(workshop, "purge", jobs[0].id)) == 1
    assert len(dead(workshop, "purge", "--task", "tasks.fragile")) == 2
    workshop.restart(daemons[0])

    assert dead(workshop, "list") == []
    assert workshop.app.AsyncResult(jobs[1].id).state == "UNKNOWN"


def test_dead_letters_are_counted_by_queue(workshop: Workshop, daemons: tuple[Daemon, Daemon]) -> None:
    failed(workshop, ["a", "b"], "no money")

    (queue,) = json.loads(workshop.tqbroker("queues", "--json").stdout)

    assert (queue["name"], queue["failed"]) == ("default", 2)
    assert "dead" in workshop.tqbroker("queues").stdout.splitlines()[0].lower()
