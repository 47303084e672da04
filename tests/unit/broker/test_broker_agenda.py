"""When the next tick comes."""

from __future__ import annotations

import pytest

from tqbroker_broker.agenda import LEAST, PAUSE, Agenda
from tqbroker_broker.records import Time

NOW = Time(1_800_000_000_000, 1127.1788052463576)


def left_of(seconds: float, due_ms: int = 0) -> float:
    """How long a tick that asks for so much, at the latest for this moment, lets pass."""
    agenda = Agenda()
    agenda.plan(NOW, seconds, due_ms)
    return agenda.left(NOW)


def test_what_a_clock_can_hardly_tell_from_nothing_is_slept_and_not_spun_through() -> None:
    assert left_of(2e-13) == pytest.approx(LEAST)


def test_what_is_to_be_done_at_once_is() -> None:
    assert left_of(0.0) == 0.0
    assert left_of(PAUSE, NOW.wall_ms) == 0.0


def test_nobody_is_judged_less_often_than_every_pause() -> None:
    assert left_of(60.0) == pytest.approx(PAUSE)


def test_a_job_that_is_due_before_is_seen_to_in_time() -> None:
    assert left_of(PAUSE, NOW.wall_ms + 20) == pytest.approx(0.02)
