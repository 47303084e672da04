"""What becomes of stored schedules when operators put, pause and resume some, or an app declares its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from tqbroker_broker.cron import next_after, same_times
from tqbroker_broker.schedules import OPERATOR, Schedule, ScheduleState


class Revision(NamedTuple):
    """What is to be stored, and which names are to go."""

    put: list[ScheduleState]
    remove: list[str]


def source_of(app: str) -> str:
    """The source of what an app declares."""
    return f"app {app}"


def put(known: Mapping[str, ScheduleState], schedules: Iterable[Schedule], now_ms: int) -> list[ScheduleState]:
    """What an operator sets: from now on it is the operator's."""
    states = []
    for schedule in schedules:
        old = known.get(schedule.name)
        state = _revised(old, schedule, now_ms) if old else _made(schedule, now_ms)
        states.append(replace(state, source=OPERATOR, by_hand=False))
    return states


def declare(known: Mapping[str, ScheduleState], app: str, schedules: Iterable[Schedule], now_ms: int) -> Revision:
    """All that an app declares: what it does not declare any more goes, what others have set stays as it is.

    What has not changed is not put again. A pause or resumption by hand stays until the app says the same.
    """
    source = source_of(app)
    named = {schedule.name: schedule for schedule in schedules}
    states = []
    for name, schedule in named.items():
        old = known.get(name)
        if old is None:
            states.append(replace(_made(schedule, now_ms), source=source))
        elif old.source == source:
            state = _declared(old, schedule, now_ms)
            states += [state] if state != old else []
    gone = [name for name, state in known.items() if state.source == source and name not in named]
    return Revision(states, gone)


def _declared(old: ScheduleState, schedule: Schedule, now_ms: int) -> ScheduleState:
    by_hand = old.by_hand and schedule.paused != old.schedule.paused
    if by_hand:
        schedule = replace(schedule, paused=old.schedule.paused)
    state = old if schedule == old.schedule else _revised(old, schedule, now_ms)
    return replace(state, by_hand=by_hand)


def turned(state: ScheduleState, now_ms: int, *, paused: bool) -> ScheduleState:
    """Paused or resumed by hand. What it would have fired for while it was paused is let go by."""
    if state.schedule.paused == paused:
        return state
    by_hand = state.source != OPERATOR and not state.by_hand
    return replace(_revised(state, replace(state.schedule, paused=paused), now_ms), by_hand=by_hand)


def _made(schedule: Schedule, now_ms: int) -> ScheduleState:
    return ScheduleState(schedule, OPERATOR, now_ms, next_after(schedule, now_ms, now_ms))


def _revised(old: ScheduleState, schedule: Schedule, now_ms: int) -> ScheduleState:
    """Another version. If it fires at other times it begins anew; else what is due already stays due."""
    if not same_times(old.schedule, schedule):
        born_ms = max(now_ms, old.born_ms + 1)
        next_ms = next_after(schedule, born_ms, born_ms)
        return replace(old, schedule=schedule, born_ms=born_ms, last_ms=0, next_ms=next_ms)
    after_ms = old.next_ms - 1 if old.next_ms else max(now_ms, old.last_ms)
    return replace(old, schedule=schedule, next_ms=next_after(schedule, after_ms, old.born_ms))
