"""Celery's names for states, and the tree of exceptions."""

from __future__ import annotations

import builtins

import pytest

from tqbroker import exceptions, states
from tqbroker.states import Phase, RevokeEffect, state_of
from tqbroker.v1 import job_pb2, queue_pb2


def test_phases_are_those_of_the_wire() -> None:
    wire = {name.removeprefix("STATE_"): number for name, number in job_pb2.State.items() if number}

    assert {phase.name: phase.value for phase in Phase} == wire


def test_a_phase_is_shown_as_its_word() -> None:
    assert (str(Phase.QUEUED), f"{Phase.RUNNING}") == ("QUEUED", "RUNNING")


def test_effects_are_those_of_the_wire() -> None:
    wire = {name.removeprefix("CANCEL_EFFECT_") for name, number in queue_pb2.CancelEffect.items() if number}

    assert {effect.name for effect in RevokeEffect} == wire


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_a_state(phase: Phase) -> None:
    assert state_of(phase) in states.ALL_STATES
    assert (phase in states.FINAL) == (state_of(phase) in states.READY_STATES)


def test_a_job_scheduled_after_a_failure_is_in_retry() -> None:
    assert (state_of(Phase.SCHEDULED), state_of(Phase.SCHEDULED, retries=1)) == (states.PENDING, states.RETRY)


def test_all_errors_have_one_base_and_are_in_the_drawing() -> None:
    drawing = exceptions.__doc__ or ""
    for name in exceptions.__all__:
        kind = getattr(exceptions, name)
        assert issubclass(kind, (exceptions.TqbrokerError, SystemExit))
        assert name in drawing or name == "RemoteTraceback"
    assert issubclass(exceptions.TimeoutError, builtins.TimeoutError)
    assert issubclass(exceptions.EncodeError, TypeError)
