from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tqbroker import App
from tqbroker.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, TaskRevokedError
from tqbroker.request import Request
from tqbroker.retrying import Ending, backoff, delay_ms, ending_of
from tqbroker.task import Task


def make(**options: Any) -> Task[..., Any]:
    app = App("tasks", broker="tq://localhost")

    @app.task(bind=True, **options)
    def work(self: Any, how: str = "") -> None:
        if how == "retry":
            raise self.retry(exc=ValueError("why"), countdown=5)

    return work


def ending(error: BaseException, retries: int = 0, cancelled: bool = False, **options: Any) -> Ending:
    request = Request("id", "tasks.work", (), {}, retries=retries)
    request.cancelled = cancelled
    return ending_of(make(**options), request, error)


def test_an_exception_fails_the_job_unless_the_task_retries_for_it() -> None:
    error = ValueError("no")
    assert ending(error) == ("FAILURE", error)
    assert ending(error, autoretry_for=(KeyError,)) == ("FAILURE", error)
    assert ending(error, autoretry_for=(Exception,), dont_autoretry_for=(ValueError,)) == ("FAILURE", error)
    state, retry = ending(error, autoretry_for=ValueError)
    assert (state, retry.exc, retry.when, retry.__cause__) == ("RETRY", error, 180, error)


def test_retries_end_with_the_exception_or_with_one_that_says_so() -> None:
    error = ValueError("no")
    assert ending(error, retries=2, autoretry_for=(ValueError,)).state == "RETRY"
    assert ending(error, retries=3, autoretry_for=(ValueError,)) == ("FAILURE", error)
    assert ending(error, retries=0, autoretry_for=(ValueError,), max_retries=0) == ("FAILURE", error)
    assert ending(error, retries=99, autoretry_for=(ValueError,), max_retries=None).state == "RETRY"
    state, final = ending(Retry(), retries=3)
    assert (state, type(final)) == ("FAILURE", MaxRetriesExceededError)
    assert "max_retries is 3" in str(final)


def test_the_exception_keeps_the_traceback_of_its_task() -> None:
    with pytest.raises(ValueError, match="no") as caught:
        raise ValueError("no")
    before = caught.value.__traceback__
    final = ending(caught.value, retries=3, autoretry_for=(ValueError,)).value
    assert final is caught.value
    assert final.__traceback__ is before


def test_retry_kwargs_go_into_automatic_retries() -> None:
    error = ValueError("no")
    kwargs = {"max_retries": 5, "countdown": 2, "args": (7,)}
    state, retry = ending(error, retries=4, autoretry_for=(ValueError,), retry_kwargs=kwargs)
    assert (state, retry.when, retry.call) == ("RETRY", 2, ((7,), {}))
    assert ending(error, retries=5, autoretry_for=(ValueError,), retry_kwargs=kwargs).state == "FAILURE"


def test_backoff_doubles_up_to_its_most_and_jitter_draws_below_it() -> None:
    assert [backoff(3, n, 20, jitter=False) for n in range(5)] == [3, 6, 12, 20, 20]
    assert backoff(1, 10_000, 600, jitter=False) == 600
    drawn = [backoff(1, 5, 600, jitter=True) for _ in range(200)]
    assert 0 <= min(drawn) < 8 < 24 < max(drawn) <= 32
    options: Any = {"autoretry_for": (ValueError,), "retry_backoff": 2, "retry_jitter": False}
    assert ending(ValueError(), retries=2, **options).value.when == 8


def test_a_retry_raised_by_hand_is_in_the_time_it_says() -> None:
    assert ending(Retry("later", when=9)).value.when == 9
    assert ending(Retry()).value.when == 180
    moment = ending(Retry(when=datetime(2030, 1, 1))).value.when
    assert moment == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "expected"),
    [(1.0001, 1001), (0, 0), (-3, 0), (datetime.fromtimestamp(107, UTC), 7000), (datetime.fromtimestamp(1, UTC), 0)],
)
def test_a_delay_is_whole_milliseconds_and_never_early(when: Any, expected: int) -> None:
    assert delay_ms(Retry(when=when), 100.0) == expected


def test_ignore_reject_and_revoked_are_endings_of_their_own() -> None:
    assert ending(Ignore()).state == "IGNORED"
    assert ending(Reject("broken")).state == "REJECTED"
    assert ending(TaskRevokedError(), cancelled=True).state == "REVOKED"
    assert ending(TaskRevokedError()).state == "FAILURE"


def test_retry_says_when_and_why() -> None:
    assert str(Retry(when=3)) == "Retry in 3s"
    assert str(Retry(exc=ValueError("no"), when=3)) == "Retry in 3s: ValueError('no')"
    assert str(Retry("message", ValueError(), 3)) == "message"
    assert Retry(when=datetime(2030, 1, 1, tzinfo=UTC)).humanize() == "at 2030-01-01 00:00:00+00:00"


def test_a_direct_call_that_asks_for_a_retry_raises_why() -> None:
    with pytest.raises(ValueError, match="why"):
        make()("retry")
    with pytest.raises(Retry, match="can be retried"):
        make().retry()


def test_retry_takes_no_options_of_calls() -> None:
    with pytest.raises(TypeError, match=r"no queue.*keeps its queue"):
        make().retry(queue="other")


def test_a_retry_that_is_not_thrown_counts_when_the_body_has_returned() -> None:
    app = App("tasks", broker="tq://localhost")
    seen = []

    @app.task(bind=True)
    def work(self: Any, count: int) -> int:
        seen.append(count)
        if count < 2:
            self.retry(args=(count + 1,), throw=False, countdown=timedelta(hours=1))
        return count

    assert work.apply((0,)).get() == 2
    assert seen == [0, 1, 2]


def test_new_arguments_of_a_retry_are_compared_with_the_signature() -> None:
    app = App("tasks", broker="tq://localhost")

    @app.task(bind=True)
    def work(self: Any, count: int) -> None:
        self.retry(args=(1, 2, 3))

    with pytest.raises(TypeError, match=r"tasks\.work|work"):
        work.apply((0,)).get()
