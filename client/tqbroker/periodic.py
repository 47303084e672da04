"""What `add_periodic_task` is given, as an entry in the form of beat_schedule."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.schedule_entries import Call
from tqbroker.schedule_options import MAX_NAME, split, wire_options
from tqbroker.schedules import maybe_schedule

if TYPE_CHECKING:
    from tqbroker.app import App

_log = logging.getLogger("tqbroker")

_WORKFLOWS = frozenset({"chain", "group", "chord", "chunks"})


def entry_of(
    app: App,
    schedule: Any,
    sig: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    name: str | None,
    opts: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    """The name of the schedule and its entry. Raises ImproperlyConfigured for what cannot be scheduled."""
    own, of_call = split(opts)
    try:
        call = call_of(sig, args, kwargs, of_call)
        key = name or in_words(call)
        found = maybe_schedule(schedule, bool(own.get("relative")))
        if found is None:
            raise ValueError("it has no schedule: give seconds, crontab(...) or a line of cron")
        wire_options(own, app.conf)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"periodic task {name or sig!r:.200}: {error}") from None
    entry = {"task": call.task, "schedule": found, "args": call.args, "kwargs": call.kwargs, "options": call.options}
    entry |= own
    if app.periodic_tasks.get(key, entry) != entry:
        _log.warning("periodic task %s replaces another one of that name: give each a name= of its own", key)
    return key, entry


def call_of(sig: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Call:
    """The call of a signature, to which arguments and options are added; of a task, or of the name of one."""
    if not isinstance(sig, Mapping):
        name = sig if isinstance(sig, str) else getattr(sig, "name", None)
        if not isinstance(name, str):
            raise TypeError(f"{sig!r:.200} is not allowed: give a signature (task.s(...)), a task, or the name of one")
        return Call(name, tuple(args), dict(kwargs), dict(options))
    kind = sig.get("subtask_type")
    if kind in _WORKFLOWS:
        raise TypeError(f"a {kind} is not scheduled by itself: schedule a task that submits it")
    if sig.get("immutable"):
        args, kwargs = (), {}
    return Call(
        sig["task"],
        (*args, *(sig.get("args") or ())),
        {**(sig.get("kwargs") or {}), **kwargs},
        {**(sig.get("options") or {}), **options},
    )


def in_words(call: Call) -> str:
    """The call as it is written, which is the name of a periodic task that has none."""
    given = [*map(repr, call.args), *(f"{name}={value!r}" for name, value in call.kwargs.items())]
    words = f"{call.task}({', '.join(given)})"
    if len(words) > MAX_NAME or not words.isprintable():
        raise ValueError(f"its arguments make no name of up to {MAX_NAME} printable characters: give name=")
    return words
