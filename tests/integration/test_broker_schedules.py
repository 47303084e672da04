"""Schedules over the wire: set, listed, previewed, declared by workers, and fired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest
from tests.integration.broker_harness import SECONDS, TASK, Site, error_of, running

from tqbroker.v1 import admin_pb2 as pb
from tqbroker.v1 import errors_pb2, job_pb2, queue_pb2, schedule_pb2

JOB = job_pb2.JobBatch(task=TASK, format="json", args=[b"[[1,2],{}]"])
DAY_MS = 86_400_000


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path) as site:
        yield site


def schedule(name: str = "tick", **fields: Any) -> schedule_pb2.Schedule:
    when = {} if fields.keys() & {"every_ms", "cron", "crontab"} else {"cron": "0 3 * * *"}
    return schedule_pb2.Schedule(**{"name": name, "job": JOB, **when, **fields})


async def put(site: Site, *schedules: schedule_pb2.Schedule, **fields: Any) -> None:
    await site.admin.SetSchedules(pb.SetSchedulesRequest(put=schedules, **fields), timeout=SECONDS)


async def listed(site: Site) -> dict[str, schedule_pb2.ScheduleInfo]:
    response = await site.admin.ListSchedules(pb.ListSchedulesRequest(), timeout=SECONDS)
    return {info.schedule.name: info for info in response.schedules}


async def until(site: Site, wanted: Callable[[schedule_pb2.ScheduleInfo], bool], name: str = "tick") -> Any:
    """Looks at a schedule until it is as wanted."""
    async with asyncio.timeout(SECONDS):
        while not wanted(info := (await listed(site))[name]):  # noqa: ASYNC110  # nobody is told of a firing
            await asyncio.sleep(0.02)
    return info


async def test_a_schedule_is_listed_as_it_was_set(site: Site) -> None:
    crontab = schedule_pb2.Crontab(
        minute="*/5", hour="8-17", day_of_month="*", month_of_year="*", day_of_week="mon-fri"
    )
    wanted = schedule(
        crontab=crontab,
        zone="Europe/Berlin",
        jitter_ms=5000,
        start_unix_ms=1,
        end_unix_ms=4_000_000_000_000,
        overlap=schedule_pb2.OVERLAP_QUEUE_ONE,
        misfire=schedule_pb2.MISFIRE_ALL,
        misfire_max=7,
        deadline_ms=60_000,
        job=job_pb2.JobBatch(
            task=TASK,
            queue="mail",
            priority=3,
            format="json",
            args=[b"[]"],
            countdown_ms=10,
            expires_in_ms=20_000,
            headers=b"{}",
            traits=job_pb2.Traits(tenant="t", stamps=["run=1"]),
        ),
    )
    await put(site, wanted)

    info = (await listed(site))["tick"]

    assert info.schedule == wanted
    assert (info.source, info.fired, info.skipped, info.last_unix_ms) == ("operator", 0, 0, 0)
    assert info.next_unix_ms % 300_000 == 0


async def test_a_schedule_fires_and_says_with_which_jobs(site: Site) -> None:
    await put(site, schedule(every_ms=200))

    info = await until(site, lambda info: info.fired >= 2)

    first = info.recent[0]
    status = await site.status(UUID(first.job))
    assert (status.task, status.state, status.submitted_unix_ms >= first.planned_unix_ms) == (
        TASK,
        job_pb2.STATE_QUEUED,
        True,
    )
    assert "schedule=tick" in status.traits.stamps
    assert info.next_unix_ms > info.last_unix_ms == info.recent[-1].planned_unix_ms


async def test_the_job_of_a_firing_reaches_a_worker(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=1)
    await put(site, schedule(every_ms=200))

    ((job, token),) = await worker.delivered()
    await worker.acked(await worker.succeed(token))

    assert job in [UUID(firing.job) for firing in (await listed(site))["tick"].recent]
    assert (await site.status(job)).state == job_pb2.STATE_SUCCEEDED


async def test_many_large_schedules_are_listed_in_several_answers(site: Site) -> None:
    job = job_pb2.JobBatch(task=TASK, format="json", args=[b"x" * 60_000])
    names = [f"{number:03}" for number in range(120)]
    await put(site, *(schedule(name, job=job) for name in names))

    answers = [await site.admin.ListSchedules(pb.ListSchedulesRequest(), timeout=SECONDS)]
    while answers[-1].more:
        after = answers[-1].schedules[-1].schedule.name
        answers.append(await site.admin.ListSchedules(pb.ListSchedulesRequest(after=after), timeout=SECONDS))

    assert [info.schedule.name for answer in answers for info in answer.schedules] == names
    assert len(answers) == 3


async def test_a_paused_schedule_rests_until_it_is_resumed(site: Site) -> None:
    await put(site, schedule(every_ms=100))
    await until(site, lambda info: info.fired > 0)
    await put(site, pause=["tick"])
    paused = (await listed(site))["tick"]
    assert (paused.schedule.paused, paused.next_unix_ms) == (True, 0)

    await put(site, resume=["tick"])

    assert (await until(site, lambda info: info.fired > paused.fired)).skipped == paused.skipped
    await put(site, remove=["tick"])
    assert await listed(site) == {}


async def test_a_job_out_of_turn_is_submitted_once_however_often_it_is_asked_for(site: Site) -> None:
    await put(site, schedule(paused=True))
    job = uuid4()
    for _ in range(2):
        await site.admin.RunSchedule(pb.RunScheduleRequest(name="tick", id=job.bytes), timeout=SECONDS)

    assert (await site.status(job)).state == job_pb2.STATE_QUEUED
    assert (await listed(site))["tick"].fired == 0


async def test_a_preview_shows_what_is_stored_and_what_is_not(site: Site) -> None:
    await put(site, schedule(cron="@daily", paused=True))
    after = 1_800_000_000_000
    stored = await site.admin.PreviewSchedule(
        pb.PreviewScheduleRequest(name="tick", after_unix_ms=after, count=2), timeout=SECONDS
    )
    crontab = schedule_pb2.Crontab(minute="0", hour="0", day_of_month="13", month_of_year="*", day_of_week="fri")
    other = await site.admin.PreviewSchedule(
        pb.PreviewScheduleRequest(schedule=schedule(crontab=crontab), after_unix_ms=after), timeout=SECONDS
    )

    assert list(stored.planned_unix_ms) == [1_800_057_600_000, 1_800_144_000_000]
    assert len(other.planned_unix_ms) == 5
    assert "both" in other.warnings[0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (schedule(name=""), "name of a schedule"),
        (schedule(cron="* * * *"), "five fields"),
        (schedule(cron="61 * * * *"), "the minute of the cron string is '61'"),
        (schedule(crontab=schedule_pb2.Crontab(day_of_week="fro")), "day of week of the crontab is 'fro'"),
        (schedule(zone="Europe/Berlim"), "no time zone 'Europe/Berlim'"),
        (schedule(every_ms=99), "every_ms is 99"),
        (schedule(start_unix_ms=5, end_unix_ms=5), "ends before it starts"),
        (schedule(overlap=9), "overlap is 9"),
        (schedule(job=job_pb2.JobBatch(task=TASK, format="json")), "the job has 0 args"),
        (schedule(job=job_pb2.JobBatch(task=TASK, format="json", args=[b"x" * 70_000])), "70000 bytes"),
        (schedule_pb2.Schedule(name="tick", job=JOB), "has 0 of them"),
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused_with_a_reason(
    site: Site, wrong: schedule_pb2.Schedule, words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await put(site, schedule("good"), wrong)

    error = error_of(failure.value)
    assert error.reason in (errors_pb2.REASON_INVALID, errors_pb2.REASON_TOO_LARGE)
    assert words in error.message
    assert await listed(site) == {}


async def test_what_is_not_there_cannot_be_changed_or_run(site: Site) -> None:
    calls = [
        site.admin.SetSchedules(pb.SetSchedulesRequest(pause=["no"]), timeout=SECONDS),
        site.admin.SetSchedules(pb.SetSchedulesRequest(put=[schedule()], remove=["no"]), timeout=SECONDS),
        site.admin.RunSchedule(pb.RunScheduleRequest(name="no", id=bytes(16)), timeout=SECONDS),
        site.admin.PreviewSchedule(pb.PreviewScheduleRequest(name="no"), timeout=SECONDS),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        assert error_of(failure.value).reason == errors_pb2.REASON_NOT_FOUND
    assert await listed(site) == {}


async def test_a_worker_declares_the_schedules_of_its_app(site: Site) -> None:
    await put(site, schedule("mine"))
    declared = schedule_pb2.DeclaredSchedules(app="shop", schedules=[schedule("a"), schedule("b"), schedule("mine")])
    await site.attach("w1", schedules=declared).start()
    assert {name: info.source for name, info in (await listed(site)).items()} == {
        "a": "app shop",
        "b": "app shop",
        "mine": "operator",
    }

    await site.attach("w2", schedules=schedule_pb2.DeclaredSchedules(app="shop", schedules=[schedule("b")])).start()
    await site.attach("w3").start()

    assert sorted(await listed(site)) == ["b", "mine"]


async def test_a_worker_whose_app_names_an_unknown_time_zone_works_and_what_was_declared_before_stays(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    shop = schedule_pb2.DeclaredSchedules(app="shop", schedules=[schedule("a")])
    await site.attach("w1", schedules=shop).start()
    nowhere = schedule("b", cron="* * * * *", zone="Nowhere/Land")
    worker = site.attach("w2", schedules=schedule_pb2.DeclaredSchedules(app="shop", schedules=[nowhere]))
    await worker.start()

    assert sorted(await listed(site)) == ["a"]
    assert any("w2" in text and "Nowhere/Land" in text for text in caplog.messages)


async def test_schedules_outlive_the_broker(tmp_path: Path) -> None:
    async with running(tmp_path, f"lmdb:{tmp_path / 'store'}") as site:
        await put(site, schedule(every_ms=100))
        before = await until(site, lambda info: info.fired >= 3)
        await put(site, pause=["tick"])
        before = (await listed(site))["tick"]
    async with running(tmp_path, f"lmdb:{tmp_path / 'store'}") as site:
        assert (await listed(site))["tick"] == before
        ids = job_pb2.Ids(uuids=b"".join(UUID(firing.job).bytes for firing in before.recent))
        response = await site.queue.Get(queue_pb2.GetRequest(ids=ids), timeout=SECONDS)
        assert {job.state for job in response.jobs} == {job_pb2.STATE_QUEUED}
