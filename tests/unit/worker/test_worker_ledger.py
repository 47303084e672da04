from __future__ import annotations

from collections.abc import Callable

import pytest

from tqbroker_worker.jobs import Jobs
from tqbroker_worker.ledger import Ending, Ledger, Successes
from tqbroker_worker.places import Trail
from tqbroker_worker.protocol import Done, Ended, Verdict


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def successes(jobs: Jobs, result: bytes = b"1") -> Successes:
    count = len(jobs)
    return Successes(Done("json", jobs.tokens, [result] * count, [1] * count, [2] * count, []), [jobs] * count)


def test_an_outcome_is_kept_until_its_message_is_acknowledged(ledger: Ledger, make_jobs: Callable[..., Jobs]) -> None:
    jobs = make_jobs(3)
    ledger.add(successes(jobs))
    assert (ledger.waiting, len(ledger)) == (3, 3)
    ledger.take(2)
    assert (ledger.waiting, len(ledger), ledger.messages_out) == (0, 3, 1)
    ledger.acked(1)
    assert [token for token, _ in ledger.leases()] == jobs.tokens
    ledger.acked(2)
    assert len(ledger) == 0


def test_after_a_break_everything_unacknowledged_goes_out_again_in_its_order(
    ledger: Ledger, make_jobs: Callable[..., Jobs]
) -> None:
    for number in range(3):
        ledger.add(successes(make_jobs(2, first=10 * number)))
        if number < 2:
            ledger.take(number + 2)
    ledger.acked(2)
    ledger.rewind()
    again = ledger.take(2)
    assert [outcome.tokens() for outcome in again] == [[10, 11], [20, 21]]
    assert [outcome.again for outcome in again] == [True, False]


def test_outcomes_of_lost_leases_are_dropped_even_from_the_middle_of_columns(
    ledger: Ledger, make_jobs: Callable[..., Jobs]
) -> None:
    jobs = make_jobs(3)
    ledger.add(successes(jobs))
    ledger.add(Ending(Ended(9, Verdict.FAILED, None), make_jobs(1, first=9)))
    ledger.drop({2, 9})
    assert ledger.waiting == 2
    assert [outcome.tokens() for outcome in ledger.take(2)] == [[1, 3]]


def test_what_jobs_have_submitted_stays_with_them_when_others_are_dropped(
    ledger: Ledger, make_jobs: Callable[..., Jobs]
) -> None:
    jobs = make_jobs(4)
    trails = {1: Trail(b"a" * 16, []), 3: Trail(b"", ["text"])}
    ledger.add(Successes(Done("json", jobs.tokens, [b"1"] * 4, [1] * 4, [2] * 4, [], trails), [jobs] * 4))
    ledger.drop({1, 2})
    (outcome,) = ledger.take(2)
    assert isinstance(outcome, Successes)
    assert outcome.done.trails == {1: Trail(b"", ["text"])}
    assert outcome.size() == 6


def test_what_the_broker_cannot_store_now_waits_for_the_retry_and_survives_its_acknowledgement(
    ledger: Ledger, make_jobs: Callable[..., Jobs]
) -> None:
    ledger.add(successes(make_jobs(3)))
    ledger.take(2)
    ledger.keep({2})
    ledger.acked(2)
    assert (ledger.waiting, len(ledger)) == (0, 1)
    assert [token for token, _ in ledger.leases()] == [2]
    ledger.retry()
    again = ledger.take(3)
    assert [(outcome.tokens(), outcome.again) for outcome in again] == [([2], True)]


def test_a_message_carries_no_more_than_fits(ledger: Ledger, make_jobs: Callable[..., Jobs]) -> None:
    for number in range(4):
        ledger.add(successes(make_jobs(1, first=number), result=b"x" * (600 << 10)))
    assert [len(ledger.take(number)) for number in (2, 3, 4)] == [2, 2, 0]


def test_returned_jobs_are_told_once_and_not_held_afterwards(ledger: Ledger) -> None:
    ledger.give_back([1, 2])
    assert ledger.waiting == 2
    assert ledger.take_returned() == [1, 2]
    assert ledger.take_returned() == []
    assert len(ledger) == 0
