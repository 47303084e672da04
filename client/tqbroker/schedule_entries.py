"""Entries of beat_schedule and periodic tasks, to values for the broker."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.option_rules import text
from tqbroker.schedule_options import MAX_NAME, NAMES, check_names, check_zone, wire_options, zone_name
from tqbroker.schedule_values import Declared, When

_log = logging.getLogger("tqbroker")

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.call import Head

MAX_SCHEDULES = 10_000
"""Schedules that a broker keeps at most."""

MAX_JOB = 64 * 1024
"""Bytes of the arguments and headers of a schedule: the broker keeps them in memory."""

_KNOWN = NAMES | {"task", "schedule", "args", "kwargs", "options"}
_NAME = text(MAX_NAME)
_NOT_HERE = {
    "eta": "each job is due when the schedule fires: write start=",
    "task_id": "each firing makes a job of its own",
    "idempotency_key": "each firing makes a job of its own",
    **dict.fromkeys(
        ("unique_for", "unique_until", "unique_on_conflict", "unique_key"),
        "jobs of a schedule hold no unique key: write overlap='skip'",
    ),
    **dict.fromkeys(
        ("link", "link_error", "chord"),
        "a schedule submits one job: schedule a task that submits the workflow",
    ),
}


class Call(NamedTuple):
    """What each firing calls."""

    task: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]


def declared(app: App) -> list[Declared]:
    """See `tqbroker.schedules.declared`."""
    app.finalize()
    _ = app.conf.zone  # an unknown one is refused here, where a worker starts, and not in its first job
    twice = sorted(app.periodic_tasks.keys() & app.conf.beat_schedule.keys())
    if twice:
        _log.warning("beat_schedule replaces the periodic tasks of the same names: %s", ", ".join(twice))
    entries = {**app.periodic_tasks, **app.conf.beat_schedule}
    if entries and not app.main:
        raise ImproperlyConfigured(
            "the app declares schedules and has no name, by which the broker knows whose they are: write App('name')"
        )
    if len(entries) > MAX_SCHEDULES:
        raise ImproperlyConfigured(f"the app declares {len(entries)} schedules, a broker keeps {MAX_SCHEDULES}")
    return [declare(app, name, entry) for name, entry in sorted(entries.items())]


def declare(app: App, name: str, entry: Any) -> Declared:
    """One entry in Celery's form: a mapping with "task" and "schedule". Raises ImproperlyConfigured naming it."""
    try:
        _NAME.check("its name", name)
        if not isinstance(entry, Mapping):
            raise TypeError(f"{entry!r:.200} is not allowed: write {{'task': ..., 'schedule': ...}}")
        check_names(entry, _KNOWN)
        for needed in ("task", "schedule"):
            if entry.get(needed) is None:
                raise ValueError(f"{needed!r} is missing")
        own = {name: value for name, value in entry.items() if name in NAMES}
        call = Call(entry["task"], entry.get("args") or (), entry.get("kwargs") or {}, entry.get("options") or {})
        return declare_call(app, name, entry["schedule"], call, own)
    except (TypeError, ValueError, ImproperlyConfigured) as error:
        raise ImproperlyConfigured(f"schedule {name!r}: {error}") from None


def declare_call(app: App, name: str, schedule: Any, call: Call, options: Mapping[str, Any]) -> Declared:
    """One schedule of one call. Raises TypeError, ValueError or ImproperlyConfigured."""
    when = when_of(app, schedule, options)
    if when.every_ms == 0 and options.get("deadline") is None:
        options = {**options, "deadline": app.conf.beat_cron_starting_deadline or None}
    head, data = _job(app, call)
    return Declared(name, when, head, data, **wire_options(options, app.conf))


def when_of(app: App, schedule: Any, options: Mapping[str, Any]) -> When:
    """When a schedule in any of its forms fires."""
    from tqbroker.schedules import maybe_schedule

    found = maybe_schedule(schedule, bool(options.get("relative")))
    if found is None:
        raise ValueError("it has no schedule: give seconds, crontab(...) or a line of cron")
    zone = options.get("zone")
    own = getattr(found, "zone", None)
    if zone and own and zone != own:
        raise ValueError(f"zone={zone!r} and {found!r} name two zones: give one of them")
    chosen = zone or own
    if chosen:
        check_zone(chosen)
    when: When = found.when(zone_name(app.conf) if chosen is None else chosen)
    return when


def _job(app: App, call: Call) -> tuple[Head, bytes]:
    """What the jobs have in common, and their encoded arguments, checked as those of a call are."""
    from tqbroker import codec
    from tqbroker.options import check_call_options
    from tqbroker.parameters import positional
    from tqbroker.plans import prepare, prepare_by_name

    options = {name: value for name, value in call.options.items() if value is not None}
    _check_options(options)
    name = _task_name(call.task)
    check_call_options(options, f"a schedule of {name}")
    args = positional(call.args, f"a schedule of {name}")
    task = app.tasks.get(name)
    if task is None:
        head, _ = prepare_by_name(app, name, args, call.kwargs, options)
    else:
        task.check(args, call.kwargs)
        head, _ = prepare(task, args, call.kwargs, options)
    _check_head(head)
    data = codec.encode_call(args, call.kwargs, head.format)
    size = len(data) + len(head.headers)
    if size > MAX_JOB:
        raise ValueError(f"its arguments and headers take {size} bytes, allowed are {MAX_JOB}: store them elsewhere")
    return head, data


def _task_name(task: Any) -> str:
    name = task if isinstance(task, str) else getattr(task, "name", None)
    if not isinstance(name, str):
        raise TypeError(f"task={task!r:.200} is not allowed: give the name of a task, or the task")
    return name


def _check_options(options: Mapping[str, Any]) -> None:
    for name, why in _NOT_HERE.items():
        if options.get(name):
            raise ValueError(f"{name}= does not go with a schedule: {why}")


def _check_head(head: Head) -> None:
    if head.expires_unix_ms:
        raise ValueError("expires= is a moment, but each job needs its own: give seconds, or end= for the schedule")
    if head.traits.unique is not None:
        raise ValueError(
            f"{head.task} is unique, and jobs of a schedule hold no unique key: schedule a task that submits it"
        )
