"""What a child tells its parent of the app: the limits of tasks, wherever they are said."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker import App
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.schedules import crontab
from tqbroker.v1 import schedule_pb2
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.identity import Identity
from tqbroker_worker.manifest import manifest_of
from tqbroker_worker.protocol import Manifest, decode_up, encode


def work() -> None: ...


@pytest.mark.parametrize(
    ("settings", "options", "rates"),
    [
        ({}, {}, ()),
        ({}, {"rate_limit": "10/s 100/m"}, ((10, 1000), (100, 60_000))),
        ({"task_default_rate_limit": "5/h"}, {}, ((5, 3_600_000),)),
        ({"task_default_rate_limit": "5/h"}, {"rate_limit": 1}, ((1, 1000),)),
        ({"task_annotations": {"t": {"rate_limit": "2/s"}}}, {"rate_limit": "9/s"}, ((2, 1000),)),
        ({"worker_disable_rate_limits": True}, {"rate_limit": "10/s"}, ()),
    ],
)
def test_the_rates_of_a_task_are_its_own_or_the_apps(settings: Any, options: Any, rates: Any) -> None:
    app = App(**settings)
    app.task(name="t", **options)(work)

    found = manifest_of(app).limits.get("t")
    assert (found.rates if found else ()) == rates


def test_a_setting_that_comes_later_reaches_tasks_that_are_there() -> None:
    app = App()
    task = app.task(name="t")(work)
    app.conf.update(task_acks_late=False, task_default_rate_limit="3/s")

    assert task.acks_late is False
    assert manifest_of(app).limits["t"].rates == ((3, 1000),)


def test_a_worker_takes_the_queues_of_its_app_unless_told_otherwise() -> None:
    assert manifest_of(App()).queues == ["default"]
    assert manifest_of(App(task_queues=["mail", "default"], task_default_queue="jobs")).queues == [
        "jobs",
        "mail",
        "default",
    ]


def test_tasks_that_may_start_only_once_are_named() -> None:
    app = App()
    app.task(name="twice")(work)
    app.task(name="once", acks_late=False)(work)

    assert manifest_of(app).at_most_once == ["once"]


def test_settings_for_workers_are_told_as_they_are() -> None:
    told = manifest_of(
        App(
            worker_concurrency=3,
            worker_max_tasks_per_child=10,
            worker_max_memory_per_child=20_000,
            worker_pool="threads",
            task_time_limit=60,
            task_soft_time_limit=50,
            worker_prefetch_multiplier=4,
            worker_proc_alive_timeout=2.5,
            worker_soft_shutdown_timeout=30,
            worker_pool_restarts=False,
            worker_log_format="%(message)s",
            worker_log_color=True,
        )
    ).settings
    assert (told.concurrency, told.max_tasks_per_child, told.max_memory_per_child_kib) == (3, 10, 20_000)
    assert (told.pool, told.prefetch, told.load_ms, told.grace_ms) == ("threads", 4, 2500, 30_000)
    assert (told.limits.soft_ms, told.limits.hard_ms) == (50_000, 60_000)
    assert (told.commands, told.restarts, told.direct) == (True, False, False)
    assert (told.log.line, told.log.task_line, told.log.color) == ("%(message)s", "%(message)s", True)


def hello(app: App) -> pb.Hello:
    """What a worker of this app says first, after the manifest has come through the pipe."""
    manifest = decode_up(encode(manifest_of(app)))
    assert isinstance(manifest, Manifest)
    return Identity.of(WorkerConfig(app="tasks"), manifest).hello()


def test_what_an_app_declares_is_told_under_its_name() -> None:
    app = App("shop", broker="tq://localhost")
    app.task(name="t")(work)
    app.conf.beat_schedule = {"daily": {"task": "t", "schedule": crontab(hour="7"), "options": {"queue": "mail"}}}

    @app.on_after_configure.connect
    def also(sender: App, **_: Any) -> None:
        sender.task(name="late")(work)
        sender.add_periodic_task(5.0, "late", name="often", overlap="skip")

    told = hello(app)
    daily, often = told.schedules.schedules
    assert told.schedules.app == "shop"
    assert {"late", "t"} <= set(told.tasks)
    assert (daily.name, daily.crontab.hour, daily.job.task, daily.job.queue) == ("daily", "7", "t", "mail")
    assert (often.name, often.every_ms, often.overlap) == ("often", 5000, schedule_pb2.OVERLAP_SKIP)
    assert not often.job.HasField("traits")


def test_an_app_that_declares_none_any_more_says_so_and_one_without_a_name_says_nothing() -> None:
    named, nameless = hello(App("shop")), hello(App())
    assert (named.HasField("schedules"), list(named.schedules.schedules)) == (True, [])
    assert not nameless.HasField("schedules")


def test_a_schedule_that_cannot_be_used_is_told_by_name() -> None:
    app = App("shop", beat_schedule={"bad": {"task": "t"}})
    with pytest.raises(ImproperlyConfigured, match="schedule 'bad': 'schedule' is missing"):
        manifest_of(app)
