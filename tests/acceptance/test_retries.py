"""Retries, refusals and hooks of tasks as Celery has them, with every attempt kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import AsyncResult
from tqbroker.exceptions import MaxRetriesExceededError
from tqbroker.ids import key_of
from tqbroker.operations import Reschedule
from tqbroker.states import Phase


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("retries")) as place:
        place.broker()
        place.worker("--loglevel", "info")
        place.worker("-P", "thread", "-Q", "thread", name="thread")
        place.worker("-P", "asyncio", "-Q", "asyncio", name="asyncio")
        yield place


def log_of(place: Delivery) -> Daemon:
    return next(daemon for daemon in place.daemons if daemon.name == "worker")


def fails(job: AsyncResult[object], kind: str, words: str = "") -> None:
    """The job must end FAILED with an exception of this class."""
    with pytest.raises(Exception, match=words) as raised:
        job.get(timeout=PATIENCE)
    assert type(raised.value).__name__ == kind
    assert (job.state, job.phase) == ("FAILURE", Phase.FAILED)


def verdicts(job: AsyncResult[object]) -> list[str]:
    return [attempt.verdict for attempt in job.attempts]


def retried(job: AsyncResult[object], times: int) -> bool:
    return job.retries == times


def run_now(place: Delivery, job: AsyncResult[object]) -> None:
    """Waits until a retry is planned, and does not wait for its moment."""
    until(lambda: job.phase is Phase.SCHEDULED, f"a retry of {job.id}")
    list(place.app.operator.edit([key_of(job.id)], Reschedule()))


# -- self.retry ------------------------------------------------------------------------------------------------------


def test_every_attempt_is_kept_with_worker_times_error_and_traceback(shop: Delivery) -> None:
    begun = time.time() * 1000 - 1
    job = shop.tasks.flaky.delay(2)
    assert job.get(timeout=PATIENCE) == 2

    first, second = job.attempts
    for number, attempt in enumerate((first, second)):
        assert (attempt.worker, attempt.verdict) == ("worker@test", "retry")
        assert begun <= attempt.started_ms <= attempt.ended_ms <= time.time() * 1000
        assert attempt.next_due_ms - attempt.ended_ms in range(30, 80)  # default_retry_delay is 50 ms
        assert attempt.failure is not None
        assert (attempt.failure.type, attempt.failure.message) == ("FlakyError", f"failure {number}")
        assert 'raise FlakyError(f"failure {self.request.retries}")' in attempt.failure.traceback
        assert "tqbroker_worker" not in attempt.failure.traceback
    assert first.next_due_ms <= second.started_ms
    assert (job.retries, job.lost_leases, job.state) == (2, 0, "SUCCESS")


def test_a_job_between_two_attempts_says_so(shop: Delivery) -> None:
    job = shop.tasks.flaky.delay(1, countdown=3600)
    until(lambda: job.phase is Phase.SCHEDULED, "the retry to be planned")

    assert (job.state, job.retries, verdicts(job)) == ("RETRY", 1, ["retry"])
    due_ms = shop.app.operator.job(key_of(job.id)).due_ms
    assert due_ms == job.attempts[0].next_due_ms
    assert abs(due_ms / 1000 - time.time() - 3600) < 60
    run_now(shop, job)
    assert job.get(timeout=PATIENCE) == 1


def test_a_retry_at_a_moment(shop: Delivery) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1)
    job = shop.tasks.flaky.delay(1, eta=due)

    assert job.get(timeout=PATIENCE) == 1
    (attempt,) = job.attempts
    assert 0 <= attempt.next_due_ms - int(due.timestamp() * 1000) < 1000  # the broker counts in milliseconds
    assert shop.app.operator.job(key_of(job.id)).started_ms >= attempt.next_due_ms


def test_after_the_last_retry_the_reason_is_raised(shop: Delivery) -> None:
    job = shop.tasks.flaky.delay(99)

    fails(job, "FlakyError", "failure 3")
    assert (job.retries, verdicts(job)) == (3, ["retry", "retry", "retry", "failed"])
    assert 'FlakyError(f"failure' in (job.traceback or "")


def test_without_a_reason_too_many_retries_are_the_reason(shop: Delivery) -> None:
    job = shop.tasks.retry_without_reason.delay()

    with pytest.raises(MaxRetriesExceededError, match="was retried 1 times, max_retries is 1"):
        job.get(timeout=PATIENCE)
    assert verdicts(job) == ["retry", "failed"]


def test_a_call_of_retry_may_allow_fewer_or_more(shop: Delivery) -> None:
    fewer, more = shop.tasks.flaky.delay(9, max_retries=1), shop.tasks.flaky.delay(5, max_retries=5)

    fails(fewer, "FlakyError", "failure 1")
    assert more.get(timeout=PATIENCE) == 5


def test_retries_for_ever(shop: Delivery) -> None:
    assert shop.tasks.stubborn.delay(20).get(timeout=PATIENCE) == 20


def test_a_retry_with_other_arguments(shop: Delivery) -> None:
    job = shop.tasks.count_down.delay(3)

    assert job.get(timeout=PATIENCE) == [3, 2, 1]
    assert (job.args, job.retries) == ((0,), 3)


def test_a_retry_that_does_not_raise_takes_place_when_the_body_has_returned(shop: Delivery) -> None:
    job = shop.tasks.retry_quietly.delay()

    assert job.get(timeout=PATIENCE) == "attempt 2"
    assert verdicts(job) == ["retry"]


def test_a_retry_cannot_change_the_queue_and_says_so(shop: Delivery) -> None:
    fails(shop.tasks.retry_elsewhere.delay(), "TypeError", "takes no queue: a job keeps its queue")


@pytest.mark.parametrize("pool", ["thread", "asyncio"])
def test_other_pools_retry_alike(shop: Delivery, pool: str) -> None:
    jobs = [shop.tasks.flaky.apply_async((2,), queue=pool) for _ in range(5)]
    told = shop.tasks.told.apply_async((1, 1), queue=pool)
    coroutine = shop.tasks.aflaky.apply_async((2,), queue=pool)

    assert [job.get(timeout=PATIENCE) for job in (*jobs, coroutine)] == [2] * 6
    assert {tuple(verdicts(job)) for job in (*jobs, coroutine)} == {("retry", "retry")}
    assert told.get(timeout=PATIENCE) == "done"
    assert shop.words(told)[-2:] == ["on_success", "after_return"]


# -- by itself -------------------------------------------------------------------------------------------------------


def test_named_exceptions_are_retried_with_a_growing_pause(shop: Delivery) -> None:
    job = shop.tasks.reach.delay("away")
    for done in (1, 2, 3):
        until(partial(retried, job, done), f"retry {done}")
        run_now(shop, job)
    with pytest.raises(ConnectionError):
        job.get(timeout=PATIENCE)

    pauses = [round((each.next_due_ms - each.ended_ms) / 1000, 1) for each in job.attempts[:-1]]
    assert pauses == [1, 2, 4]
    assert verdicts(job) == ["retry", "retry", "retry", "failed"]


def test_the_pause_and_the_number_of_retries_have_their_bounds(shop: Delivery) -> None:
    job = shop.tasks.reach_once_more.delay()
    run_now(shop, job)
    with pytest.raises(ConnectionError):
        job.get(timeout=PATIENCE)

    assert verdicts(job) == ["retry", "failed"]
    assert round((job.attempts[0].next_due_ms - job.attempts[0].ended_ms) / 1000, 1) == 1


def test_exceptions_carved_out_are_not_retried(shop: Delivery) -> None:
    job = shop.tasks.reach.delay("forbidden")

    with pytest.raises(PermissionError):
        job.get(timeout=PATIENCE)
    assert verdicts(job) == ["failed"]


# -- neither success nor failure -------------------------------------------------------------------------------------


def test_an_ignored_job_is_over_without_a_value(shop: Delivery) -> None:
    job = shop.tasks.ignore.delay()

    assert job.get(timeout=PATIENCE) is None
    assert verdicts(job) == []


def test_a_rejected_job_is_a_dead_letter_with_its_reason(shop: Delivery) -> None:
    job = shop.tasks.reject.delay()

    fails(job, "Reject", "not mine")
    assert verdicts(job) == ["rejected"]


def test_a_job_that_puts_itself_back_runs_again_and_is_not_a_retry(shop: Delivery) -> None:
    job = shop.tasks.reject_first.delay("accepted")
    until(lambda: len(job.attempts) >= 2, "the job to be put back twice")

    shop.open("accepted")

    assert job.get(timeout=PATIENCE) == 0
    assert set(verdicts(job)) == {"requeued"}
    assert (job.retries, job.lost_leases) == (0, 0)


def test_an_expected_exception_fails_the_job_in_one_line_of_the_log(shop: Delivery) -> None:
    job = shop.tasks.expected.delay()

    fails(job, "ExpectedError", "as usual")
    line = log_of(shop).expect(f"tasks.expected[{job.id}] raised expected")
    assert (line.event["level"], "exception" in line.event) == ("info", False)


# -- hooks -----------------------------------------------------------------------------------------------------------


def test_hooks_of_a_job_that_fails_at_last(shop: Delivery) -> None:
    job = shop.tasks.told.delay(9, 1)
    fails(job, "FlakyError", "again")

    assert shop.words(job) == ["before_start", "body", "on_retry", "before_start", "body", "on_failure", "after_return"]
    values = [line["value"] for line in shop.trace(job) if "value" in line]
    assert values == ["FlakyError('again')", "FlakyError('again')", "FAILURE"]


def test_hooks_of_a_job_that_succeeds_at_last(shop: Delivery) -> None:
    job = shop.tasks.told.delay(1, 1)
    assert job.get(timeout=PATIENCE) == "done"

    assert shop.words(job) == ["before_start", "body", "on_retry", "before_start", "body", "on_success", "after_return"]


# -- through the death of the broker ---------------------------------------------------------------------------------


def test_no_attempt_is_lost_with_a_broker_that_is_killed_between_them(folder: Path) -> None:
    with delivery(folder) as place:
        broker = place.broker()
        place.worker()
        planned = place.tasks.flaky.delay(2, countdown=0.5)
        busy = [place.tasks.flaky.delay(3, countdown=0.05) for _ in range(40)]
        until(lambda: len(planned.attempts) == 1, "the first attempt to end")
        seen = planned.attempts

        broker.kill()
        place.started(broker)

        assert planned.get(timeout=PATIENCE) == 2
        assert planned.attempts[0] == seen[0]
        assert verdicts(planned) == ["retry", "retry"]
        assert [job.get(timeout=PATIENCE) for job in busy] == [3] * len(busy)
        assert {tuple(verdicts(job)) for job in busy} == {("retry",) * 3}
        assert {job.lost_leases for job in busy} == {0}
