"""The table of transitions, walked, and the decisions after an attempt."""

from __future__ import annotations

import pytest

from tqbroker_broker.lifecycle import FINAL, NEW, TRANSITIONS, Attempt, Next, after_attempt, keep_until, may
from tqbroker_broker.records import State, Verdict

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


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_final_state_is_the_end(state: State) -> None:
    assert TRANSITIONS[state] == frozenset()
    assert not any(may(state, after) for after in State)


@pytest.mark.parametrize("state", [state for state in STATES if state not in FINAL])
def test_every_other_state_can_end_in_success_and_in_cancel(state: State) -> None:
    assert {State.SUCCEEDED, State.CANCELLED} <= reachable(state)


def test_a_new_job_can_reach_every_state_but_that_of_a_workflow() -> None:
    assert reachable(NEW) == set(STATES) - {State.WAITING}


@pytest.mark.parametrize("state", STATES)
def test_only_what_runs_can_succeed_or_fail(state: State) -> None:
    assert may(state, State.SUCCEEDED) == (state is State.RUNNING)
    assert may(state, State.FAILED) == (state is State.RUNNING)


@pytest.mark.parametrize("state", STATES)
def test_only_what_is_queued_can_run(state: State) -> None:
    assert may(state, State.RUNNING) == (state is State.QUEUED)


@pytest.mark.parametrize("state", STATES)
def test_a_transition_leads_to_another_known_state(state: State) -> None:
    assert not may(state, state)
    assert not may(state, State.UNKNOWN)


def test_a_job_that_does_not_exist_yet_is_neither_running_nor_final() -> None:
    assert {state for state in STATES if may(NEW, state)} == {State.SCHEDULED, State.QUEUED}


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


# -- retention ---------------------------------------------------------------------------------------------------------


def test_a_result_is_kept_as_long_as_the_job_says_or_else_the_broker() -> None:
    assert keep_until(1000, 50, 9000) == 1050
    assert keep_until(1000, 0, 9000) == 10_000
