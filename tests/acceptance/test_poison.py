"""Jobs that take their process with them: contained after three losses, named, and alone in their misfortune."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.mutants.catching import catches

from tqbroker import AsyncResult
from tqbroker.exceptions import WorkerLostError
from tqbroker.ids import text_of
from tqbroker.operations import JobFilter
from tqbroker.states import Phase

DEATHS = {
    "SIGSEGV": "SIGSEGV",
    "SIGKILL": "SIGKILL",
    "SIGABRT": "SIGABRT",
    "exit": "ended with exit code 7",
    "memory": "SIGKILL",
}
"""How a job ends its process, and what is said of that."""

pytestmark = pytest.mark.proof("T22")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("poison")) as place:
        place.broker()
        place.worker()
        place.worker("-P", "thread", "-Q", "threads", name="threads")
        yield place


def quarantined(job: AsyncResult[Any], patience: float = PATIENCE) -> WorkerLostError:
    with pytest.raises(WorkerLostError) as raised:
        job.get(timeout=patience)
    return raised.value


def poisoned(shop: Delivery, by: str, patience: float = PATIENCE) -> int:
    """A job ends its process so: it is quarantined with cause and memory, alone. How many jobs there were."""
    gate = f"beside-{by}"
    beside = shop.tasks.wait.delay(gate)
    until(lambda: beside.phase is Phase.RUNNING, "the neighbour to run")
    poison = shop.tasks.die.delay(by)
    behind = [shop.tasks.mark.delay(number) for number in range(200)]

    error = quarantined(poison, patience)
    shop.open(gate)

    assert DEATHS[by] in str(error)
    peak = re.search(r"peak memory was (\d+) MiB", str(error))
    assert peak is not None
    assert by != "memory" or int(peak[1]) >= shop.tasks.HOG
    assert (poison.state, poison.phase) == ("FAILURE", Phase.FAILED)
    assert (poison.lost_leases, poison.retries, len(shop.trace(poison))) == (3, 0, 3)
    lost = [attempt for attempt in poison.attempts if attempt.verdict == "lost"]
    assert len(lost) == 3
    for attempt in lost:
        assert attempt.worker == "worker@test"
        assert attempt.ended_ms >= attempt.started_ms > 0
        assert attempt.failure is not None
        assert DEATHS[by] in attempt.failure.message
        assert "peak memory was" in attempt.failure.message
    assert beside.get(timeout=PATIENCE) == gate
    assert [job.get(timeout=PATIENCE) for job in behind] == list(range(200))
    assert {job.lost_leases for job in (beside, *behind)} == {0}
    return 2 + len(behind)


@pytest.mark.parametrize("by", DEATHS)
def test_a_job_that_ends_its_process_is_quarantined_with_cause_and_memory(
    shop: Delivery, by: str, counts: Counter[str]
) -> None:
    counts.update(kills=3, jobs=poisoned(shop, by))


@catches("lost_jobs_uncounted")
def test_a_job_that_ends_its_process_shows_that_it_is_tried_for_ever(folder: Path, mutant: str) -> None:
    with delivery(folder) as place:
        place.broker(mutant=mutant)
        place.worker()
        with pytest.raises(TimeoutError):
            poisoned(place, "SIGSEGV", patience=5)
        assert len([line for line in place.trace() if line["word"] == "die"]) > 3


@catches("cause_of_death_untold")
def test_a_job_that_ends_its_process_shows_that_nobody_says_why(folder: Path, mutant: str) -> None:
    with delivery(folder) as place:
        place.broker()
        place.worker(mutant=mutant)
        with pytest.raises(AssertionError, match="SIGSEGV"):
            poisoned(place, "SIGSEGV")


def test_a_killed_job_may_have_been_out_of_memory_and_says_so(shop: Delivery, counts: Counter[str]) -> None:
    assert "probably by the kernel's out-of-memory killer" in str(quarantined(shop.tasks.die.delay("SIGKILL")))
    counts.update(kills=3, jobs=1)


def test_quarantined_jobs_are_dead_letters_and_can_be_redriven(shop: Delivery, counts: Counter[str]) -> None:
    poison = shop.tasks.die.delay("SIGSEGV")
    quarantined(poison)

    dead = shop.app.operator.jobs(JobFilter(phases=frozenset({Phase.FAILED}), error="WorkerLostError"))
    assert poison.id in [text_of(job.key) for job in dead]
    done = shop.tqbroker("dead", "redrive", poison.id)
    assert done.returncode == 0, done.stderr

    again = shop.app.AsyncResult(poison.id)
    quarantined(again)
    assert len([attempt for attempt in again.attempts if attempt.verdict == "lost"]) == 6
    counts.update(kills=6, jobs=1)


def test_losses_are_counted_apart_from_retries(shop: Delivery, counts: Counter[str]) -> None:
    job = shop.tasks.die_and_fail.delay()

    assert job.get(timeout=PATIENCE) == [1, 1]
    assert (job.lost_leases, job.retries) == (1, 1)
    assert [attempt.verdict for attempt in job.attempts] == ["lost", "retry"]
    counts.update(kills=1, jobs=1)


def test_a_job_that_is_to_run_at_most_once_is_not_run_again(shop: Delivery, counts: Counter[str]) -> None:
    job = shop.tasks.at_most_once.delay()

    error = quarantined(job)
    assert "acks_late=False" in str(error)
    assert len([line for line in shop.trace() if line["word"] == "at_most_once"]) == 1
    counts.update(kills=1, jobs=1)


def test_a_pool_of_threads_contains_it_too_and_jobs_behind_it_run(shop: Delivery, counts: Counter[str]) -> None:
    poison = shop.tasks.die.apply_async(("SIGSEGV",), queue="threads")
    quarantined(poison)
    behind = [shop.tasks.mark.apply_async((number,), queue="threads") for number in range(50)]

    assert "SIGSEGV" in str(quarantined(poison))
    assert (poison.lost_leases, poison.retries) == (3, 0)
    assert [job.get(timeout=PATIENCE) for job in behind] == list(range(50))
    counts.update(kills=3, jobs=2 + len(behind))


@pytest.mark.parametrize(("pool", "neighbour"), [("thread", "wait"), ("asyncio", "await_gate"), ("asyncio", "wait")])
def test_neighbours_in_the_same_process_outlive_it(
    folder: Path, pool: str, neighbour: str, counts: Counter[str]
) -> None:
    with delivery(folder) as place:
        place.broker()
        place.worker("-P", pool, "-c", "4")
        beside = [getattr(place.tasks, neighbour).delay("gate") for _ in range(3)]
        until(lambda: all(job.phase is Phase.RUNNING for job in beside), "the neighbours to run")
        poison = place.tasks.die.delay("SIGSEGV")
        until(lambda: poison.lost_leases == 2, "the process to die twice")
        behind = [place.tasks.mark.delay(number) for number in range(50)]
        assert [job.get(timeout=PATIENCE) for job in behind] == list(range(50))

        place.open("gate")

        assert "SIGSEGV" in str(quarantined(poison))
        assert [attempt.verdict for attempt in poison.attempts] == ["lost"] * 3
        for attempt in poison.attempts:
            assert attempt.failure is not None
            assert "(SIGSEGV); its peak memory was" in attempt.failure.message
        assert [job.get(timeout=PATIENCE) for job in beside] == ["gate"] * 3
        assert max(job.lost_leases for job in beside) <= 2
        counts.update(kills=3, jobs=1 + len(beside) + len(behind))


def test_the_number_of_losses_is_configured_and_a_lost_worker_counts(folder: Path, counts: Counter[str]) -> None:
    with delivery(folder) as place:
        place.broker("--max-lost-leases", "2")
        worker = place.worker()
        held = place.tasks.wait.delay("never")
        poison = place.tasks.die.delay("SIGSEGV")
        quarantined(poison)
        until(lambda: held.phase is Phase.RUNNING, "the job to run")

        for losses in (1, 2):
            worker.kill()
            worker.start()  # under the same name, so nobody waits for the one before
            until(partial(has_lost, held, losses), f"loss {losses}")

        counts.update(kills=4, jobs=2)
        assert (poison.lost_leases, len(place.trace(poison))) == (2, 2)
        assert "worker worker@test" in str(quarantined(held))
        assert [attempt.verdict for attempt in held.attempts] == ["lost", "lost"]
        for attempt in held.attempts:
            assert attempt.worker == "worker@test"
            assert attempt.ended_ms >= attempt.started_ms > 0


def has_lost(job: AsyncResult[Any], losses: int) -> bool:
    return job.lost_leases == losses and job.phase in (Phase.RUNNING, Phase.FAILED)


def test_the_worker_itself_lives_on(shop: Delivery) -> None:
    assert all(daemon.running for daemon in shop.daemons)
    assert shop.app.control.ping() == [{"threads@test": {"ok": "pong"}}, {"worker@test": {"ok": "pong"}}]
