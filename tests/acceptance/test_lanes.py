"""Order between jobs: priorities, ordering keys, tenants and limits, true over all workers and over restarts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest
from tests.acceptance.harness.waiting import gone, until
from tests.acceptance.harness.workshop import Workshop, at_most_at_once, at_most_within

from tqbroker.operations import Event, EventKind

KEYS = ("ann", "bob", "cid")
SLACK = 0.1
"""Seconds that a start may be noted late on a loaded machine: two starts then look closer together than they were."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One broker and two workers for what needs nothing of its own."""
    place = Workshop(tmp_path_factory.mktemp("lanes"))
    place.broker()
    place.worker(name="first")
    place.worker(name="second")
    yield place
    place.close()


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:04}" for number in range(count)]


# -- priority --------------------------------------------------------------------------------------------------------


def test_a_higher_priority_goes_first_and_within_one_the_older_job(workshop: Workshop) -> None:
    workshop.broker()
    for priority in (0, 9, 4):
        workshop.send_many("step", numbered(f"p{priority}", 5), priority=priority)
    last = workshop.send("step", "p0-last", priority=0)

    workshop.worker("-c", "1")
    last.get(timeout=20)

    wanted = numbered("p9", 5) + numbered("p4", 5) + numbered("p0", 5)
    assert workshop.labels() == [*wanted, "p0-last"]


def test_a_negative_priority_is_refused_before_anything_is_sent(shop: Workshop) -> None:
    with pytest.raises(ValueError, match="0 to 9"):
        shop.send("step", "x", priority=-1)


# -- ordering keys ---------------------------------------------------------------------------------------------------


def test_jobs_of_an_ordering_key_run_one_at_a_time_and_in_order_over_two_workers(shop: Workshop) -> None:
    with shop.app.batch():
        jobs = [shop.send("step", f"{key}-{number:04}", 0.01, ordering_key=key) for number in range(20) for key in KEYS]
    for job in jobs:
        job.get(timeout=20)

    notes = [note for key in KEYS for note in shop.notes(prefix=key)]
    for key in KEYS:
        assert shop.labels(prefix=key) == numbered(key, 20)
        assert at_most_at_once(shop.notes(prefix=key)) == 1
    assert at_most_at_once(notes) > 1
    assert len({note.worker for note in notes}) == 2


def test_a_job_behind_another_of_its_key_says_so(shop: Workshop) -> None:
    shop.send("hold", "first", "key", ordering_key="dan")
    shop.noted("start", "first")

    second = shop.send("step", "second", ordering_key="dan", priority=9)
    other = shop.send("step", "other", ordering_key="eve")

    shop.waits_for(second, "ordering key dan")
    assert other.get(timeout=20) == "other"
    shop.open_gate("key")
    assert second.get(timeout=20) == "second"


def test_a_job_lost_with_its_worker_runs_again_before_the_next_of_its_key(workshop: Workshop) -> None:
    workshop.broker("--grace", "0.3")
    worker = workshop.worker(name="first")
    workshop.send("hold", "k-0", ordering_key="k")
    workshop.noted("start", "k-0")
    rest = workshop.send_many("step", ["k-1", "k-2", "k-3"], ordering_key="k")
    workshop.worker(name="second")

    children = worker.children()
    worker.kill()
    gone(children)
    workshop.open_gate()
    rest[-1].get(timeout=20)

    starts = workshop.notes("start", "k-")
    assert [note.label for note in starts] == ["k-0", "k-0", "k-1", "k-2", "k-3"]
    assert [note.lost for note in starts[:2]] == [0, 1]


def test_an_ordering_key_holds_over_a_kill_of_the_broker(workshop: Workshop) -> None:
    broker = workshop.broker()
    workshop.worker(name="first")
    workshop.worker(name="second")
    jobs = workshop.send_many("step", numbered("k", 40), 0.02, ordering_key="k")
    workshop.noted("end", "k", 10)

    workshop.restart(broker)
    for job in jobs:
        job.get(timeout=20)

    assert workshop.labels(prefix="k") == numbered("k", 40)
    assert at_most_at_once(workshop.notes(prefix="k")) == 1


# -- tenants ---------------------------------------------------------------------------------------------------------

QUIET = 50
NOISY = 1500
WORK = 0.02


def quiet_waits(workshop: Workshop, name: str) -> list[float]:
    """Seconds from submit to start for one job of each quiet tenant, submitted all at once; the shortest first."""
    submitted = time.time()
    jobs = [workshop.send("step", f"{name}-{number}", WORK, tenant=f"quiet-{number}") for number in range(QUIET)]
    jobs[-1].get(timeout=20)
    return sorted(note.at - submitted for note in workshop.noted("start", f"{name}-", QUIET))


def test_a_noisy_tenant_does_not_make_quiet_ones_wait(workshop: Workshop) -> None:
    workshop.broker()
    workshop.worker()
    workshop.send("step", "warm", WORK).get(timeout=20)
    empty = quiet_waits(workshop, "empty")
    backlog = workshop.send_many("step", numbered("noisy", NOISY), WORK, tenant="noisy")
    workshop.noted("start", "noisy")

    crowded = quiet_waits(workshop, "crowded")

    assert backlog[-1].state == "PENDING", "the backlog ended too early to tell"
    usual, now = statistics.mean(empty), statistics.mean(crowded)
    print(f"quiet wait: {usual:.3f} s empty, {now:.3f} s crowded; longest {empty[-1]:.3f} s, {crowded[-1]:.3f} s")
    # What the slots are at work with when the first quiet job comes is 20 ms each; the rest is for a loaded machine.
    assert now < 2 * usual + 0.1
    assert crowded[-1] < 2 * empty[-1] + 0.1
    noisy = [note for note in workshop.notes("start", "noisy") if note.at < workshop.notes("start", "crowded")[-1].at]
    assert len(noisy) < QUIET


def test_a_weight_set_by_the_operator_gives_more_turns(workshop: Workshop) -> None:
    workshop.broker()
    done = workshop.tqbroker("queues", "set", "default", "--weight", "big=3")
    assert "big=3" in done.stdout
    workshop.send_many("step", numbered("big", 90), tenant="big")
    workshop.send_many("step", numbered("small", 90), tenant="small")

    workshop.worker("-c", "1", "--disable-prefetch")
    workshop.noted("start", "", 180)

    first = workshop.labels()[:80]
    big = sum(label.startswith("big") for label in first)
    assert 56 <= big <= 64, f"{big} of the first 80 instead of 60"


# -- rates -----------------------------------------------------------------------------------------------------------


def started_ms(workshop: Workshop) -> list[int]:
    """When the broker handed jobs out, by its own record."""
    events = workshop.app.operator.events(0, [EventKind.STARTED])
    return [event.at_ms for event in events if isinstance(event, Event)]


def test_ten_a_second_holds_over_four_workers(workshop: Workshop) -> None:
    workshop.broker()
    for number in range(4):
        workshop.worker("-c", "1", name=f"w{number}")
    jobs = workshop.send_many("paced", numbered("paced", 45))
    jobs[-1].get(timeout=20)

    times = [note.at for note in workshop.notes("start")]
    span = max(times) - min(times)
    print(f"45 starts in {span:.2f} s, at most {at_most_within(times, 1 - SLACK)} in {1 - SLACK} s")
    assert len(times) == 45
    assert at_most_within(times, 1 - SLACK) <= 10
    assert at_most_within([ms / 1000 for ms in started_ms(workshop)], 0.999) <= 10
    assert span == pytest.approx(4.0, abs=0.5)
    assert len({note.worker for note in workshop.notes("start")}) > 1


@pytest.mark.long
def test_ten_a_second_holds_over_a_minute_and_a_kill_of_the_broker(workshop: Workshop) -> None:
    broker = workshop.broker()
    for number in range(4):
        workshop.worker("-c", "1", name=f"w{number}")
    workshop.send_many("paced", numbered("paced", 900))
    begun = workshop.noted("start", "paced")[0].at
    until(lambda: time.time() > begun + 30, "half of it", 40)

    workshop.restart(broker)
    until(lambda: time.time() > begun + 61, "the end of the minute", 40)

    times = [note.at for note in workshop.notes("start")]
    minute = sum(at < begun + 60 for at in times)
    print(f"{minute} starts in 60 s, at most {at_most_within(times, 1 - SLACK)} in {1 - SLACK} s")
    assert at_most_within(times, 1 - SLACK) <= 10
    assert minute == pytest.approx(600, rel=0.02)


def test_every_window_of_a_limit_holds(shop: Workshop) -> None:
    shop.app.control.rate_limit("tasks.routed", "5/s 8/m")
    jobs = shop.send_many("routed", numbered("window", 12))

    shop.noted("start", "window", 8)
    shop.waits_for(jobs[-1], "limit task:tasks.routed")

    times = [note.at for note in shop.notes("start", "window")]
    assert len(times) == 8
    assert at_most_within(times, 1 - SLACK) <= 5
    shop.app.control.revoke([job.id for job in jobs])
    shop.app.control.rate_limit("tasks.routed", None)


def test_a_rate_is_changed_while_jobs_wait(shop: Workshop) -> None:
    shop.app.control.rate_limit("tasks.step", "1/h")
    jobs = shop.send_many("step", numbered("slow", 100))
    shop.noted("start", "slow")
    shop.waits_for(jobs[-1], "limit task:tasks.step")

    shop.app.control.rate_limit("tasks.step", None)

    jobs[-1].get(timeout=20)


# -- how many at once ------------------------------------------------------------------------------------------------


def test_max_concurrency_holds_over_workers(shop: Workshop) -> None:
    jobs = shop.send_many("few", numbered("few", 40), 0.02)
    for job in jobs:
        job.get(timeout=20)

    assert at_most_at_once(shop.notes(prefix="few")) == 2


def test_max_concurrency_holds_over_a_kill_of_the_broker(workshop: Workshop) -> None:
    broker = workshop.broker()
    workshop.worker(name="first")
    workshop.worker(name="second")
    jobs = workshop.send_many("few_held", numbered("few", 6))
    workshop.noted("start", "few", 2)

    workshop.restart(broker)
    until(lambda: workshop.wire.broker().recovery_left_ms == 0, "both workers to be back")
    workshop.waits_for(jobs[-1], "limit task:tasks.few_held")
    workshop.open_gate()
    for job in jobs:
        job.get(timeout=20)

    assert at_most_at_once(workshop.notes(prefix="few")) == 2
    assert sorted(workshop.labels("end")) == numbered("few", 6)


def test_a_named_limit_is_counted_for_each_key_by_itself(shop: Workshop) -> None:
    shop.tqbroker("limits", "set", "customer-*", "--concurrency", "1")
    for name in ("kim", "leo", "mia"):
        shop.send_many("step", numbered(name, 8), 0.02, limits=f"customer-{name}")
    notes = [note for name in ("kim", "leo", "mia") for note in shop.noted("end", name, 8)]

    assert len(notes) == 24
    runs = [note for name in ("kim", "leo", "mia") for note in shop.notes(prefix=name)]
    assert all(at_most_at_once(shop.notes(prefix=name)) == 1 for name in ("kim", "leo", "mia"))
    assert at_most_at_once(runs) > 1
