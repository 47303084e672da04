"""Dead letters: jobs that failed are kept whole, survive a kill, and are sent back or dropped when somebody says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One broker and one worker for all."""
    place = Workshop(tmp_path_factory.mktemp("dead"))
    place.broker()
    place.worker()
    yield place
    place.close()


@pytest.fixture
def shop(place: Workshop) -> Workshop:
    """The same without any dead letter, and with what is broken still broken."""
    place.tqbroker("dead", "purge", "--all")
    place.close_gate("mended")
    return place


def test_failed_jobs_are_kept_whole_over_a_kill_right_after_the_answer(shop: Workshop) -> None:
    jobs = failed(shop, ["a", "b"], "no money", stamps={"order": "7"})

    shop.restart(shop.daemons[0])

    found = dead(shop, "list", "--stamp", "order=7")
    assert [each["id"] for each in found] == [job.id for job in jobs]
    shown = json.loads(shop.tqbroker("jobs", "show", jobs[0].id, "--json").stdout)
    assert shown["args"] == ["a", "no money"]
    assert [attempt["error"] for attempt in shown["attempts"]] == ["ValueError: no money"]
    assert "fragile" in shown["attempts"][0]["traceback"]


def test_one_is_redriven_under_its_id_and_survives_a_kill_right_after_the_answer(shop: Workshop) -> None:
    broker, worker = shop.daemons
    (job,) = failed(shop, ["again"], "no money")
    shop.open_gate("mended")
    worker.stop()

    assert [each["effect"] for each in dead(shop, "redrive", job.id)] == ["redriven"]
    shop.restart(broker)
    worker.start()

    until(lambda: shop.app.AsyncResult(job.id).state == "SUCCESS", "the job to end well")
    assert shop.app.AsyncResult(job.id).get() == "again"
    assert dead(shop, "list") == []


def test_many_are_redriven_by_filter_and_others_stay(shop: Workshop) -> None:
    values = failed(shop, [f"v{number}" for number in range(20)], "no money")
    (key,) = failed(shop, ["k"], "key")
    shop.open_gate("mended")

    planned = dead(shop, "redrive", "--error", "ValueError", "--dry-run")
    assert len(planned) == 20
    assert len(dead(shop, "list")) == 21

    done = dead(shop, "redrive", "--error", "ValueError")

    assert {each["id"] for each in done} == {job.id for job in values}
    shop.noted("end", "v", 20)
    until(lambda: [each["id"] for each in dead(shop, "list")] == [key.id], "only the other error to be left")


def test_one_is_redriven_with_other_arguments(shop: Workshop) -> None:
    (job,) = failed(shop, ["typo"], "no money")

    dead(shop, "redrive", job.id, "--args", '["corrected"]')

    shop.noted("end", "corrected")
    until(lambda: shop.app.AsyncResult(job.id).state == "SUCCESS", "the job to end well")
    assert shop.app.AsyncResult(job.id).args == ("corrected",)


def test_redriven_jobs_are_spread_over_time(shop: Workshop) -> None:
    failed(shop, [f"s{number}" for number in range(6)], "no money")
    shop.open_gate("mended")
    begun = time.time()

    dead(shop, "redrive", "--all", "--rate", "5/s")

    ends = [note.at for note in shop.noted("end", "s", 6)]
    assert ends[-1] - begun > 0.9


def test_purged_ones_are_gone_also_after_a_kill(shop: Workshop) -> None:
    jobs = failed(shop, ["a", "b", "c"], "no money")

    assert len(dead(shop, "purge", jobs[0].id)) == 1
    assert len(dead(shop, "purge", "--task", "tasks.fragile")) == 2
    shop.restart(shop.daemons[0])

    assert dead(shop, "list") == []
    assert shop.app.AsyncResult(jobs[1].id).state == "UNKNOWN"


def test_dead_letters_are_counted_by_queue(shop: Workshop) -> None:
    failed(shop, ["a", "b"], "no money")

    (queue,) = json.loads(shop.tqbroker("queues", "--json").stdout)

    assert (queue["name"], queue["failed"]) == ("default", 2)
    assert "dead" in shop.tqbroker("queues").stdout.splitlines()[0].lower()
