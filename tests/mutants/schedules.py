"""Bugs of schedules."""

from __future__ import annotations

import os
from collections.abc import Callable
from heapq import heapify
from typing import Any

from msgspec.structs import replace
from tests.mutants.registry import Plant, mutant

from tqbroker_broker import firings
from tqbroker_broker.cron import next_after
from tqbroker_broker.records import Time
from tqbroker_broker.scheduler import Scheduler
from tqbroker_broker.schedules import Fire, ScheduleState
from tqbroker_broker.storage.lmdb import firing
from tqbroker_broker.storage.lmdb.group import Group


@mutant("after the clock was put back, schedules fire again for the moments that come again", breaks="P9")
def schedule_looks_back(plant: Plant) -> None:
    watch, settle = Scheduler._watch, firings.settle

    def forgetful(self: Scheduler, now: Time) -> None:
        if now.wall_ms < self._seen.wall_ms:
            for name, state in self._states.items():
                next_ms = next_after(state.schedule, now.wall_ms, state.born_ms)
                self._states[name] = replace(state, next_ms=next_ms, last_ms=0)
            self._due = [(state.next_ms, name) for name, state in self._states.items()]
            heapify(self._due)
        watch(self, now)

    def careless(state: ScheduleState | None, fire: Fire, *rest: Callable[..., Any]) -> Any:
        return settle(state and replace(state, last_ms=0), fire, *rest)

    plant(Scheduler, "_watch", forgetful)
    plant(firing, "settle", careless)
    plant(firings, "job_id", lambda name, born_ms, planned_ms: os.urandom(16))


@mutant("what a schedule has fired for is not in the commit of its job", breaks="P9")
def slot_not_in_the_commit(plant: Plant) -> None:
    store = firing._store

    def in_memory_only(group: Group, state: ScheduleState) -> None:
        if not state.fired:
            store(group, state)
        else:
            group.effects.append(lambda: group.store.schedules.update({state.schedule.name: state}))

    plant(firing, "_store", in_memory_only)
