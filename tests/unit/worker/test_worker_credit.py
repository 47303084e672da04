from __future__ import annotations

import pytest

from tqbroker_worker.credit import MAX_WINDOW, NOTHING, Credit, Offer


@pytest.fixture
def credit() -> Credit:
    return Credit()


def deliver_and_run(credit: Credit, task: str, count: int, us: float) -> None:
    credit.delivered(task, count, 10 * count)
    credit.measured(task, count, count * us)


def test_an_unknown_task_gets_one_job_a_slot(credit: Credit) -> None:
    credit.delivered("tasks.new", 1, 10)
    assert credit.offer(4, 0) == Offer(4, 4, frozenset())


def test_a_task_is_fast_only_after_several_short_runs(credit: Credit) -> None:
    credit.measured("tasks.a", 2, 20)
    assert not credit.is_fast("tasks.a")
    credit.measured("tasks.a", 1, 10)
    assert credit.is_fast("tasks.a")


def test_a_long_task_never_becomes_fast(credit: Credit) -> None:
    deliver_and_run(credit, "tasks.slow", 50, 200_000)
    assert credit.offer(2, 0) == Offer(2, 2, frozenset())


def test_the_window_of_short_jobs_grows_to_thousands_within_a_few_rounds(credit: Credit) -> None:
    window, rounds = 2, 0
    while window < 2000:
        deliver_and_run(credit, "tasks.noop", window, 5)
        window, rounds = credit.offer(2, 0).window, rounds + 1
    assert rounds <= 8
    assert credit.offer(64, 0).window == MAX_WINDOW


def test_the_window_holds_some_tens_of_milliseconds_of_work(credit: Credit) -> None:
    deliver_and_run(credit, "tasks.short", 500, 5_000)
    assert 2 * 3 <= credit.offer(2, 0).window <= 2 * 12


def test_a_change_to_longer_jobs_shrinks_the_window_as_soon_as_they_are_delivered(credit: Credit) -> None:
    deliver_and_run(credit, "tasks.longer", 100, 15_000)
    for _ in range(20):
        deliver_and_run(credit, "tasks.noop", 1000, 5)
    before = credit.offer(2, 0).window
    credit.delivered("tasks.longer", 2000, 20_000)
    assert credit.offer(2, 0).window < before / 100


def test_slots_taken_by_long_jobs_get_nothing_ahead(credit: Credit) -> None:
    deliver_and_run(credit, "tasks.noop", 2000, 5)
    assert credit.offer(2, 2).window == 2
    assert credit.offer(2, 1).window < credit.offer(2, 0).window


def test_large_arguments_bound_the_window(credit: Credit) -> None:
    credit.measured("tasks.big", 1000, 5000)
    credit.delivered("tasks.big", 1000, 1000 << 20)
    assert credit.offer(2, 0).window <= 32


def test_one_long_run_takes_a_task_off_the_fast_ones_and_short_ones_bring_it_back(credit: Credit) -> None:
    credit.measured("tasks.a", 100, 1000)
    credit.measured("tasks.a", 1, 5_000_000)
    assert not credit.is_fast("tasks.a")
    credit.measured("tasks.a", 500, 5000)
    assert credit.is_fast("tasks.a")


def test_without_slots_nothing_is_offered(credit: Credit) -> None:
    assert credit.offer(0, 0) == NOTHING


def test_only_noticeable_changes_are_told() -> None:
    fast = frozenset({"tasks.a"})
    old = Offer(2, 1000, fast)
    assert old.differs(None)
    assert not old.differs(old)
    assert not NOTHING.differs(NOTHING)
    assert not Offer(2, 1100, fast).differs(old)
    assert not Offer(2, 700, fast).differs(old)
    assert Offer(2, 1300, fast).differs(old)
    assert Offer(2, 500, fast).differs(old)
    assert Offer(1, 1000, fast).differs(old)
    assert Offer(2, 1000, frozenset()).differs(old)
