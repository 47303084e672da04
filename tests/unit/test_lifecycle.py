"""The table of transitions, walked, and the decisions after an attempt."""

from __future__ import annotations

import pytest

from tqbroker_broker.attempts import Ending, Failure, PastAttempt, Verdict
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import (
    FINAL,
    NEW,
    TRANSITIONS,
    Attempt,
    Next,
    after_attempt,
    expiry,
    holds_key,
    keep_until,
    kept_attempts,
    may,
    past_attempt,
)
from tqbroker_broker.records import State
from tqbroker_broker.rules import Unique, UniqueConflict, UniqueUntil

STATES = [state for state in State if state is not State.UNKNOWN]


def reachable(start: State | None) -> set[State]:
    """Every state that some chain of transitions leads to."""
    found: set[State] = set()
    ahead = [start]
    while ahead:
        new = TRANSITIONS[ahead.pop()] - found
        found |= new
        ahead += new
    return found


def attempt(
    verdict: Verdict, *, retry_in_ms: int = 0, retries: int = 0, lost: int = 0, cancel_requested: bool = False
) -> Attempt:
    return Attempt(verdict, retry_in_ms, retries, lost, cancel_requested)


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_speaks_of_every_state_and_of_no_other() -> None:
    assert set(TRANSITIONS) == {NEW, *STATES}
    assert set().union(*TRANSITIONS.values()) <= set(STATES)


@pytest.mark.parametrize("state", sorted(FINAL - {State.FAILED}))
def test_a_final_state_is_the_end(state: State) -> None:
    assert TRANSITIONS[state] == frozenset()
    assert not any(may(state, after) for after in State)


def test_only_a_redrive_leads_out_of_a_final_state_and_only_out_of_failed() -> None:
    assert TRANSITIONS[State.FAILED] == {State.QUEUED, State.SCHEDULED, State.WAITING}


@pytest.mark.parametrize("state", [state for state in STATES if state not in FINAL])
def test_every_other_state_can_end_in_success_and_in_cancel(state: State) -> None:
    assert {State.SUCCEEDED, State.CANCELLED} <= reachable(state)


def test_a_new_job_can_reach_every_state() -> None:
    assert reachable(NEW) == set(STATES)


@pytest.mark.parametrize("state", STATES)
def test_only_what_runs_can_succeed_and_only_that_or_what_makes_room_or_waits_for_another_can_fail(
    state: State,
) -> None:
    assert may(state, State.SUCCEEDED) == (state is State.RUNNING)
    assert may(state, State.FAILED) == (state in (State.RUNNING, State.QUEUED, State.WAITING))


@pytest.mark.parametrize("state", STATES)
def test_only_what_is_queued_can_run(state: State) -> None:
    assert may(state, State.RUNNING) == (state is State.QUEUED)


@pytest.mark.parametrize("state", STATES)
def test_a_transition_leads_to_another_known_state(state: State) -> None:
    assert not may(state, state)
    assert not may(state, State.UNKNOWN)


def test_a_job_that_does_not_exist_yet_is_neither_running_nor_final() -> None:
    assert {state for state in STATES if may(NEW, state)} == {State.SCHEDULED, State.QUEUED, State.WAITING}


# -- after an attempt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("lost", [0, 2])
@pytest.mark.parametrize("cancel_requested", [False, True])
@pytest.mark.parametrize("retry_in_ms", [0, 1])
def test_what_follows_an_attempt_is_in_the_table(
    verdict: Verdict, lost: int, cancel_requested: bool, retry_in_ms: int
) -> None:
    following = after_attempt(Attempt(verdict, retry_in_ms, 0, lost, cancel_requested), 3)

    assert may(State.RUNNING, following.state)


def test_a_failure_is_final_and_counts_nothing() -> None:
    assert after_attempt(attempt(Verdict.FAILED, retries=2, lost=1), 3) == Next(State.FAILED, 2, 1)


def test_a_rejected_job_fails_and_counts_nothing() -> None:
    assert after_attempt(attempt(Verdict.REJECTED, retry_in_ms=500, retries=2, lost=1), 3) == Next(State.FAILED, 2, 1)


def test_a_job_that_is_put_back_is_queued_and_counts_nothing() -> None:
    assert after_attempt(attempt(Verdict.REQUEUED, retry_in_ms=500, retries=2, lost=1), 3) == Next(State.QUEUED, 2, 1)


def test_a_retry_with_delay_is_scheduled_that_far_away() -> None:
    assert after_attempt(attempt(Verdict.RETRY, retry_in_ms=500, retries=1), 3) == Next(State.SCHEDULED, 2, 0, 500)


def test_a_retry_without_delay_is_queued() -> None:
    assert after_attempt(attempt(Verdict.RETRY, lost=1), 3) == Next(State.QUEUED, 1, 1, 0)


def test_a_lost_lease_is_queued_again_and_counted_apart_from_retries() -> None:
    assert after_attempt(attempt(Verdict.LOST, retries=4), 3) == Next(State.QUEUED, 4, 1)


@pytest.mark.parametrize(
    ("lost", "state"), [(0, State.QUEUED), (1, State.QUEUED), (2, State.FAILED), (3, State.FAILED)]
)
def test_the_last_allowed_loss_quarantines(lost: int, state: State) -> None:
    assert after_attempt(attempt(Verdict.LOST, lost=lost), 3) == Next(state, 0, lost + 1)


def test_retries_are_not_limited_by_lost_leases_below_the_limit() -> None:
    assert after_attempt(attempt(Verdict.RETRY, retries=100, lost=2), 3) == Next(State.QUEUED, 101, 2)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_cancel_mark_wins_over_every_ending(verdict: Verdict) -> None:
    following = after_attempt(attempt(verdict, retry_in_ms=500, lost=2, cancel_requested=True), 3)

    assert following == Next(State.CANCELLED, 0, 3 if verdict is Verdict.LOST else 2)


def test_a_worker_may_say_that_it_stopped_the_job() -> None:
    assert after_attempt(attempt(Verdict.CANCELLED, retries=1, lost=2), 3) == Next(State.CANCELLED, 1, 2)


# -- history -----------------------------------------------------------------------------------------------------------

ENDING = Ending(7, Verdict.RETRY, Failure("ValueError", "builtins", "no"), 500, started_ms=90)


def test_the_history_says_who_when_why_and_what_was_planned() -> None:
    kept = past_attempt("w", 7, ENDING, ENDING.failure, Next(State.SCHEDULED, 1, 0, 500), 100)

    assert kept == PastAttempt("w", 7, Verdict.RETRY, 90, 100, ENDING.failure, 600)


@pytest.mark.parametrize("state", [State.QUEUED, State.FAILED])
def test_what_is_not_scheduled_has_no_next_time(state: State) -> None:
    kept = past_attempt("w", 7, ENDING, None, Next(state, 1, 0), 100)

    assert kept is not None
    assert kept.next_due_ms == 0


def test_an_attempt_of_a_cancelled_job_is_not_kept() -> None:
    assert past_attempt("w", 7, ENDING, None, Next(State.CANCELLED, 0, 0), 100) is None


@pytest.mark.parametrize(("most", "kept"), [(1, [1]), (2, [1, 5]), (3, [1, 4, 5]), (5, [1, 2, 3, 4, 5])])
def test_of_many_attempts_the_first_and_the_newest_are_kept(most: int, kept: list[int]) -> None:
    assert kept_attempts([1, 2, 3, 4, 5], most) == kept


# -- unique keys, expiry -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "states"),
    [
        (UniqueUntil.QUEUED, {State.SCHEDULED, State.WAITING}),
        (UniqueUntil.STARTED, {State.SCHEDULED, State.WAITING, State.QUEUED}),
        (UniqueUntil.FINISHED, {State.SCHEDULED, State.WAITING, State.QUEUED, State.RUNNING}),
        (UniqueUntil.TIME, set(STATES)),
    ],
)
def test_a_unique_key_is_held_in_some_states_and_never_beyond_its_time(until: UniqueUntil, states: set[State]) -> None:
    unique = Unique(until, UniqueConflict.REJECT, 50)

    assert {state for state in STATES if holds_key(unique, state, 1000, 1049)} == states
    assert not any(holds_key(unique, state, 1000, 1050) for state in STATES)


def test_a_unique_key_without_a_time_has_no_such_bound() -> None:
    assert holds_key(Unique(UniqueUntil.FINISHED, UniqueConflict.REJECT), State.QUEUED, 0, 1 << 50)
    assert not holds_key(Unique(UniqueUntil.TIME, UniqueConflict.REJECT), State.QUEUED, 0, 0)


@pytest.mark.parametrize(
    ("expires_ms", "due_ms", "ttl_ms", "at"), [(0, 0, 0, 0), (70, 0, 10, 70), (0, 0, 10, 110), (0, 500, 10, 510)]
)
def test_the_expiry_of_a_queue_is_for_jobs_that_name_none_and_begins_when_they_are_due(
    expires_ms: int, due_ms: int, ttl_ms: int, at: int
) -> None:
    assert expiry(expires_ms, due_ms, 100, ttl_ms) == at


# -- retention ---------------------------------------------------------------------------------------------------------


def test_a_result_is_kept_as_long_as_the_job_says_or_else_the_broker() -> None:
    config = StorageConfig(result_ttl=9.0, dead_ttl=20.0)

    assert keep_until(State.SUCCEEDED, 1000, 50, config) == 1050
    assert keep_until(State.CANCELLED, 1000, 0, config) == 10_000


def test_a_dead_letter_is_kept_longer_but_never_shorter_than_the_job_says() -> None:
    config = StorageConfig(result_ttl=9.0, dead_ttl=20.0)

    assert keep_until(State.FAILED, 1000, 50, config) == 21_000
    assert keep_until(State.FAILED, 1000, 30_000, config) == 31_000
