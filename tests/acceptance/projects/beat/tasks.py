"""Periodic tasks as in Celery's documentation: entries, `add_periodic_task`, and the settings of its beat."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tqbroker import Celery, Task
from tqbroker.schedules import crontab, schedule

app = Celery("proj")
app.config_from_object(
    {
        "timezone": "Europe/London",
        "enable_utc": True,
        "beat_scheduler": "celery.beat:PersistentScheduler",
        "beat_schedule_filename": "celerybeat-schedule",
        "beat_sync_every": 1,
        "beat_max_loop_interval": 5,
        "beat_cron_starting_deadline": 60,
    }
)


class Often(schedule):
    """A kind of schedule of the project's own."""

    def __init__(self) -> None:
        super().__init__(timedelta(hours=2))


app.conf.beat_schedule = {
    "add-every-30-seconds": {"task": "tasks.add", "schedule": 30.0, "args": (16, 16)},
    "add-every-monday-morning": {
        "task": "tasks.add",
        "schedule": crontab(hour=7, minute=30, day_of_week=1),
        "args": (16, 16),
    },
    "hourly": {
        "task": "tasks.place",
        "schedule": timedelta(hours=1),
        "kwargs": {"why": "hourly"},
        "relative": True,
        "options": {"queue": "mail", "priority": 7, "expires": 30, "headers": {"a": 1}},
    },
    "office hours": {"task": "tasks.add", "schedule": crontab.from_string("*/15 8-17/2 1-7,15-21 * mon-fri")},
    "often": {"task": "tasks.add", "schedule": Often()},
}


@app.on_after_configure.connect
def setup_periodic_tasks(sender: Celery, **kwargs: Any) -> None:
    sender.add_periodic_task(10.0, say.s("hello"), name="add every 10")
    sender.add_periodic_task(30.0, say.s("world"), expires=10)
    sender.add_periodic_task(crontab(hour=7, minute=30, day_of_week=1), say.s("Happy Mondays!"))


@app.on_after_finalize.connect
def more_periodic_tasks(sender: Celery, **kwargs: Any) -> None:
    sender.add_periodic_task(3600, say.s("finalized"), name="finalized")


@app.task
def say(arg: str) -> str:
    return arg


@app.task
def add(x: int = 1, y: int = 1) -> int:
    return x + y


@app.task(bind=True)
def place(self: Task[..., Any], why: str) -> list[Any]:
    request = self.request
    return [why, request.queue, request.priority, dict(request.headers), request.expires is not None]
