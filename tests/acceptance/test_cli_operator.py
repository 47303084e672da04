"""The operator's commands as they are typed: queues, jobs, dead letters, limits, workers and events."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until

FAILED, USAGE, NOT_FOUND = 1, 2, 3
NOBODY = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The tasks of the guide with a broker and a worker that takes two queues."""
    place = Site(tmp_path_factory.mktemp("shop"), "first_steps")
    place.broker()
    place.worker("-Q", "default,mail")
    yield place
    place.close()


def printed(site: Site, *arguments: str) -> str:
    done = site.tqbroker(*arguments)
    assert done.returncode == os.EX_OK, done.stdout + done.stderr
    return done.stdout.strip()


def data(site: Site, *arguments: str) -> Any:
    return json.loads(printed(site, *arguments, "--json"))


def refused(site: Site, code: int, *arguments: str) -> str:
    done = site.tqbroker(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def failed_job(site: Site, amount: int) -> str:
    """A dead letter."""
    job = printed(site, "call", "tasks.spend", str(amount))
    site.tqbroker("result", job, "--wait")
    return job


# -- exit codes ------------------------------------------------------------------------------------------------------


def test_a_command_for_ids_that_changed_nothing_does_not_exit_with_0(shop: Site) -> None:
    ended = printed(shop, "call", "tasks.add", "1", "2")
    printed(shop, "result", ended, "--wait")

    assert "0 of 1 jobs changed" in refused(shop, FAILED, "jobs", "cancel", ended)
    assert "0 of 2 jobs changed" in refused(shop, FAILED, "jobs", "cancel", ended, NOBODY)
    assert "0 of 1 jobs changed" in refused(shop, NOT_FOUND, "jobs", "drop", NOBODY)
    refused(shop, NOT_FOUND, "jobs", "run-now", NOBODY, "--json")
    refused(shop, FAILED, "dead", "redrive", ended)
    printed(shop, "jobs", "drop", ended, NOBODY)
    printed(shop, "dead", "redrive", "--task", "tasks.nobody")


def test_purge_of_dead_letters_drops_no_result_that_somebody_waits_for(shop: Site) -> None:
    ended = printed(shop, "call", "tasks.add", "1", "2")
    printed(shop, "result", ended, "--wait")

    assert "no dead letter, so nothing was dropped" in refused(shop, FAILED, "dead", "purge", ended)
    assert printed(shop, "result", ended) == "3"


# -- queues ----------------------------------------------------------------------------------------------------------


def test_a_paused_queue_keeps_its_jobs_and_says_so(shop: Site) -> None:
    printed(shop, "queues", "pause", "mail")
    job = printed(shop, "call", "tasks.add", "1", "2", "--queue", "mail")

    (shown,) = data(shop, "jobs", "list", "--queue", "mail", "--state", "queued")
    assert (shown["id"], shown["waits_for"]) == (job, "paused")
    (mail,) = [queue for queue in data(shop, "queues") if queue["name"] == "mail"]
    assert (mail["queued"], mail["rule"]["paused"]) == (1, True)

    printed(shop, "queues", "resume", "mail")
    assert printed(shop, "result", job, "--wait") == "3"


def test_a_full_queue_refuses_and_says_how_many_it_takes(shop: Site) -> None:
    printed(shop, "queues", "set", "small", "--max-length", "2")
    for number in range(2):
        printed(shop, "call", "tasks.add", "1", str(number), "--queue", "small")

    said = refused(shop, FAILED, "call", "tasks.add", "1", "9", "--queue", "small")

    assert "queue small holds its max_length of 2 jobs" in said
    assert printed(shop, "queues", "purge", "small", "--yes") == "cancelled 2 jobs of queue small"


def test_a_queue_with_jobs_is_not_deleted_and_an_empty_one_is(shop: Site) -> None:
    printed(shop, "queues", "set", "brief", "--ttl", "3600")
    printed(shop, "call", "tasks.add", "1", "1", "--queue", "brief")

    assert "brief" in refused(shop, FAILED, "queues", "delete", "brief")

    printed(shop, "queues", "purge", "brief", "--yes")
    printed(shop, "queues", "delete", "brief")
    assert "brief" not in [queue["name"] for queue in data(shop, "queues") if queue["rule"]["ttl_ms"]]


def test_purging_a_queue_that_is_not_there_is_not_found(shop: Site) -> None:
    assert "nowhere" in refused(shop, NOT_FOUND, "queues", "purge", "nowhere", "--yes")


# -- jobs ------------------------------------------------------------------------------------------------------------


def test_a_scheduled_job_is_listed_rescheduled_and_run_now(shop: Site) -> None:
    job = printed(shop, "call", "tasks.add", "20", "2", "--countdown", "3600")
    before = data(shop, "jobs", "show", job)
    assert before["phase"] == "SCHEDULED"

    printed(shop, "jobs", "reschedule", job, "--countdown", "7200")
    assert data(shop, "jobs", "show", job)["due_ms"] > before["due_ms"]

    printed(shop, "jobs", "run-now", job)
    assert printed(shop, "result", job, "--wait") == "22"


def test_a_job_is_moved_to_a_queue_that_somebody_takes(shop: Site) -> None:
    job = printed(shop, "call", "tasks.add", "30", "2", "--queue", "lost")
    assert data(shop, "jobs", "show", job)["waits_for"] == "no worker takes queue lost"

    printed(shop, "jobs", "move", "--queue", "lost", "--to-queue", "mail", "--priority", "9")

    assert printed(shop, "result", job, "--wait") == "32"
    assert data(shop, "jobs", "show", job)["priority"] == 9


def test_a_dry_run_says_what_would_be_cancelled_and_cancels_nothing(shop: Site) -> None:
    job = printed(shop, "call", "tasks.add", "1", "2", "--queue", "dry")

    (said,) = data(shop, "jobs", "cancel", "--queue", "dry", "--dry-run")
    assert (said["id"], bool(said["effect"])) == (job, True)
    assert data(shop, "jobs", "show", job)["phase"] == "QUEUED"

    printed(shop, "jobs", "cancel", "--queue", "dry")
    assert data(shop, "jobs", "show", job)["phase"] == "CANCELLED"


def test_a_running_job_is_cancelled_by_force(shop: Site) -> None:
    job = printed(shop, "call", "tasks.slow_add", "1", "2", "60")
    until(lambda: data(shop, "jobs", "show", job)["phase"] == "RUNNING", "the job gets there")

    printed(shop, "jobs", "cancel", job, "--terminate")

    until(lambda: data(shop, "jobs", "show", job)["phase"] == "CANCELLED", "the job gets there")


def test_all_jobs_must_be_asked_for_in_so_many_words(shop: Site) -> None:
    assert "--all" in refused(shop, USAGE, "jobs", "cancel")
    assert "either" in refused(shop, USAGE, "jobs", "cancel", NOBODY, "--queue", "mail")


def test_an_unknown_job_is_not_found(shop: Site) -> None:
    assert NOBODY in refused(shop, NOT_FOUND, "jobs", "show", NOBODY)


# -- dead letters ----------------------------------------------------------------------------------------------------


def test_a_dead_letter_is_shown_with_its_attempts_and_redriven_with_other_arguments(shop: Site) -> None:
    job = failed_job(shop, 7)

    assert job in printed(shop, "dead", "list", "--error", "NotEnoughError")
    assert "cannot spend 7" in printed(shop, "jobs", "show", job)

    printed(shop, "dead", "redrive", job, "--args", "[8]")
    until(lambda: len(data(shop, "jobs", "show", job)["attempts"]) == 2, "the job gets there")
    shown = data(shop, "jobs", "show", job)
    assert [attempt["error"] for attempt in shown["attempts"]] == [
        "NotEnoughError: cannot spend 7",
        "NotEnoughError: cannot spend 8",
    ]


def test_dead_letters_are_redriven_at_a_rate(shop: Site) -> None:
    jobs = [failed_job(shop, amount) for amount in (100, 101, 102)]

    done = data(shop, "dead", "redrive", *jobs, "--rate", "1/h")

    assert [job["id"] for job in done] == jobs
    dues = [data(shop, "jobs", "show", job)["due_ms"] for job in jobs]
    assert dues[2] - dues[1] == 3_600_000
    printed(shop, "jobs", "cancel", *jobs)


def test_dead_letters_are_purged_by_filter(shop: Site) -> None:
    job = failed_job(shop, 9)

    done = data(shop, "dead", "purge", "--task", "tasks.spend")

    assert job in [each["id"] for each in done]
    assert data(shop, "dead", "list") == []


# -- limits ----------------------------------------------------------------------------------------------------------


def test_a_limit_is_set_listed_and_removed(shop: Site) -> None:
    printed(shop, "limits", "set", "task:tasks.other", "--concurrency", "2", "--rate", "10/s 100/m")

    (limit,) = data(shop, "limits", "list")
    assert limit["name"] == "task:tasks.other"
    assert limit["rates"] == [{"count": 10, "period_ms": 1000}, {"count": 100, "period_ms": 60_000}]

    printed(shop, "limits", "remove", "task:tasks.other")
    assert data(shop, "limits", "list") == []


def test_a_limit_of_one_at_a_time_is_why_the_second_job_waits(shop: Site) -> None:
    printed(shop, "limits", "set", "task:tasks.slow_add", "--concurrency", "1")
    first = printed(shop, "call", "tasks.slow_add", "1", "2", "60")
    until(lambda: data(shop, "jobs", "show", first)["phase"] == "RUNNING", "the job gets there")

    second = printed(shop, "call", "tasks.slow_add", "1", "2", "0")

    assert data(shop, "jobs", "show", second)["waits_for"] == "limit task:tasks.slow_add"
    printed(shop, "jobs", "cancel", first, "--terminate")
    assert printed(shop, "result", second, "--wait") == "3"
    printed(shop, "limits", "remove", "task:tasks.slow_add")


def test_a_rate_that_is_none_is_a_usage_error(shop: Site) -> None:
    assert "10/s" in refused(shop, USAGE, "limits", "set", "task:x", "--rate", "often")


# -- workers and events ----------------------------------------------------------------------------------------------


def test_workers_answer_what_they_are_asked(shop: Site) -> None:
    assert data(shop, "inspect", "ping") == {"worker@test": {"ok": "pong"}}
    assert "tasks.add" in data(shop, "inspect", "registered")["worker@test"]
    assert [queue["name"] for queue in data(shop, "inspect", "active_queues")["worker@test"]] == ["default", "mail"]
    assert data(shop, "inspect", "stats")["worker@test"]["pool"]["max-concurrency"] == 2
    assert "MainThread" in printed(shop, "inspect", "stacks")
    assert data(shop, "inspect", "conf")["worker@test"]["task_default_queue"] == "default"


def test_a_worker_that_is_not_there_is_named_and_fails_the_command(shop: Site) -> None:
    assert "nobody@here" in refused(shop, FAILED, "inspect", "ping", "-d", "nobody@here")


def test_a_worker_takes_another_queue_when_told(shop: Site) -> None:
    job = printed(shop, "call", "tasks.add", "1", "1", "--queue", "extra")

    printed(shop, "control", "add_consumer", "extra")
    assert printed(shop, "result", job, "--wait") == "2"

    printed(shop, "control", "cancel_consumer", "extra")
    until(lambda: "extra" not in printed(shop, "workers"), "the worker lets go of the queue")


def test_events_go_on_behind_the_last_one_seen(shop: Site) -> None:
    def events(*arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in printed(shop, "events", "--json", *arguments).splitlines()]

    last = events()[-1]["number"]
    job = printed(shop, "call", "tasks.add", "4", "4", "--wait")
    assert job == "8"
    until(lambda: "task-succeeded" in [event["type"] for event in events("--after", str(last))], "the event is there")

    news = events("--after", str(last))
    assert [event["number"] for event in news] == list(range(last + 1, last + 1 + len(news)))
    assert [event["type"] for event in news] == ["task-sent", "task-started", "task-succeeded"]
