"""Schedules at work: what is due is submitted, and operators and apps change them, one after the other.

The store is the truth. What is kept here of each schedule is enough to know when to look at it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TypeVar

from msgspec.structs import replace

from tqbroker._failpoint import hit
from tqbroker_broker import revisions
from tqbroker_broker.agenda import Agenda
from tqbroker_broker.cron import Plan, instants, plan
from tqbroker_broker.dispatch import Dispatcher
from tqbroker_broker.firings import iso, job_now, new_job
from tqbroker_broker.guard import Guard, settled
from tqbroker_broker.inflight import InFlight
from tqbroker_broker.records import JobId, NewJobs, Time
from tqbroker_broker.refusals import NotFound, TooLarge, UnknownZone
from tqbroker_broker.schedules import MAX_SCHEDULES, Fire, FireAnswer, Schedule, ScheduleState
from tqbroker_broker.storage import Unavailable
from tqbroker_broker.waiters import Waiters

T = TypeVar("T")

log = logging.getLogger("tqbroker.broker")

SLICE, SLICE_BYTES = 1000, 8 << 20
"""Jobs that one look submits, and about how many bytes: more wait for the next, which follows at once."""

JUMP_MS = 1000
"""A wall clock that moves by so much more or less than time has passed was set."""

STALL = 10.0
"""Seconds between two looks after which the broker was not at work: looks come every half second."""


class Scheduler:
    """All schedules, and the moment at which the next of them is due."""

    def __init__(
        self, guard: Guard, dispatcher: Dispatcher, waiters: Waiters, agenda: Agenda, inflight: InFlight
    ) -> None:
        self.stopped = False
        self._guard = guard
        self._dispatcher = dispatcher
        self._waiters = waiters
        self._agenda = agenda
        self._inflight = inflight
        self._states: dict[str, ScheduleState] = {}
        self._due: list[tuple[int, str]] = []
        self._one_by_one = asyncio.Lock()
        self._seen = Time(0, 0.0)
        self._awake_ms = 0
        self._refused = False

    def opened(self, now: Time) -> None:
        """The store is open: what was planned before is missed."""
        self._seen, self._awake_ms = now, now.wall_ms - 1
        self._follow()

    def _follow(self) -> None:
        """Takes over what is stored."""
        self._states = {state.schedule.name: state for state in self._guard.engine.schedules()}
        self._due = [(state.next_ms, name) for name, state in self._states.items() if state.next_ms]
        heapify(self._due)

    @property
    def next_ms(self) -> int:
        """When the next schedule is due, 0 for never."""
        while self._due and not self._is_current(*self._due[0]):
            heappop(self._due)
        return self._due[0][0] if self._due else 0

    def _is_current(self, next_ms: int, name: str) -> bool:
        state = self._states.get(name)
        return state is not None and state.next_ms == next_ms

    async def _write(self, verb: Awaitable[T]) -> T:
        """A change, for which a stop waits."""
        self._inflight.enter(0)
        try:
            return await self._guard.do(verb)
        finally:
            self._inflight.leave(0)

    # -- firing ------------------------------------------------------------------------------------------------------

    async def run(self, now: Time) -> bool:
        """Fires what is due. Returns whether more is. What the store has no room for now is tried again.

        When stopped nothing is planned either: a moment that has come would make upkeep run without a pause.
        """
        self._watch(now)
        if self.stopped:
            return False
        if 0 < self.next_ms <= now.wall_ms:
            async with self._one_by_one:
                if not await self._fire_due(now):
                    return False
        next_ms = self.next_ms
        self._agenda.due_at(next_ms, now)
        return 0 < next_ms <= now.wall_ms

    def _watch(self, now: Time) -> None:
        """Notices that the clock was set, or that the broker stood still."""
        passed = now.mono - self._seen.mono
        jump_ms = now.wall_ms - self._seen.wall_ms - passed * 1000
        self._seen = now
        if passed > STALL or abs(jump_ms) > JUMP_MS:
            self._awake_ms = now.wall_ms - 1
        if jump_ms < -JUMP_MS and self._states:
            text = "the clock was put back by %.0f s: no schedule fires again for a moment it has fired for"
            log.warning(text, -jump_ms / 1000)

    async def _fire_due(self, now: Time) -> bool:
        """One slice. False when the store has no room for it."""
        fires = self._fires(now)
        try:
            answers = await self._write(self._guard.engine.fire(fires, now))
        except Unavailable as error:
            self._put_off(error, now)
            return False
        except BaseException:
            self._follow()
            raise
        hit("in_fire")
        self._refused = False
        for fire, answer in zip(fires, answers, strict=True):
            self._fired(fire, answer, now)
        if any(answer.gone for answer in answers):
            self._follow()
        return True

    def _put_off(self, error: Unavailable, now: Time) -> None:
        """What is due now counts as missed when there is room again."""
        self._follow()
        self._awake_ms = now.wall_ms - 1
        if not self._refused:
            log.warning("schedules that are due have to wait: %s", error)
        self._refused = True

    def _fires(self, now: Time) -> list[Fire]:
        """What the schedules that are due are to do, as much as one look takes."""
        fires: list[Fire] = []
        room = SLICE
        while room > 0 and 0 < self.next_ms <= now.wall_ms:
            _, name = heappop(self._due)
            state = self._states[name]
            cost = 1 + len(state.schedule.args) * SLICE // SLICE_BYTES
            try:
                fire = self._planned(state, max(1, room // cost), now)
            except UnknownZone as error:  # of a machine before this one, or of before an upgrade: the others fire
                log.error("schedule %s does not fire until the broker starts again: %s", name, error)
                continue
            room -= cost * max(1, len(fire.jobs))
            fires.append(fire)
        return fires

    def _planned(self, state: ScheduleState, room: int, now: Time) -> Fire:
        """The Fire of a schedule that is due; of one with many firings the first of them."""
        found = plan(state, now.wall_ms, self._awake_ms)
        self._tell_missed(state, found)
        planned, until_ms, next_ms = found.planned_ms, found.until_ms, found.next_ms
        if len(planned) > room:
            until_ms, next_ms = planned[room - 1], planned[room]
            planned = planned[:room]
        jobs = [new_job(state, moment, now.wall_ms) for moment in planned]
        return Fire(state.schedule.name, state.born_ms, planned, jobs, found.skipped, until_ms, next_ms)

    def _tell_missed(self, state: ScheduleState, found: Plan) -> None:
        late = sum(moment <= self._awake_ms for moment in found.planned_ms)
        if found.skipped:
            text = "schedule %s has missed firings up to %s: %s are submitted now, %s let go by"
            log.warning(text, state.schedule.name, iso(found.until_ms), late, found.skipped)
        elif late:
            text = "schedule %s is late with firings up to %s: %s of them"
            log.info(text, state.schedule.name, iso(found.until_ms), late)

    def _fired(self, fire: Fire, answer: FireAnswer, now: Time) -> None:
        """What follows from an answer. A schedule that is gone is looked up again by the caller."""
        for moment, job in answer.firings:
            if job:
                log.debug("schedule %s has fired for %s: job %s", fire.name, iso(moment), job.hex())
            else:
                text = "schedule %s skips %s: an earlier job has not ended, or its queue or unique key refuses another"
                log.info(text, fire.name, iso(moment))
        self._waiters.ended(answer.final)
        self._dispatcher.wake_queues(answer.woken)
        self._agenda.due_at(answer.next_due_ms, now)
        if not answer.gone:
            state = replace(self._states[fire.name], next_ms=fire.next_ms, last_ms=fire.until_ms)
            self._states[fire.name] = state
            if state.next_ms:
                heappush(self._due, (state.next_ms, fire.name))

    # -- looking -----------------------------------------------------------------------------------------------------

    def states(self) -> list[ScheduleState]:
        """Every schedule, by name."""
        return self._guard.engine.schedules()

    def job_now(self, name: str, job: JobId, now: Time) -> NewJobs:
        """A job of a schedule out of turn, under an id of the caller's. Raises NotFound."""
        return job_now(self._known([name])[0].schedule, job, now.wall_ms)

    def preview(self, which: str | Schedule, after_ms: int, count: int) -> tuple[Schedule, list[int]]:
        """When a schedule fires next, stored under a name or not stored, as if it were not paused. Raises NotFound."""
        now_ms = self._guard.now().wall_ms
        if isinstance(which, str):
            state = self._known([which])[0]
            schedule, born_ms, first = state.schedule, state.born_ms, max(state.last_ms, after_ms or now_ms)
        else:
            schedule, born_ms, first = which, min(now_ms, after_ms or now_ms), after_ms or now_ms
        return schedule, list(islice(instants(schedule, first, born_ms), count))

    def _known(self, names: Sequence[str]) -> list[ScheduleState]:
        states = {state.schedule.name: state for state in self.states()}
        missing = next((name for name in names if name not in states), None)
        if missing is not None:
            text = f"there is no schedule {missing!r}, so nothing was done: `tqbroker schedules list` shows all"
            raise NotFound(text, schedule=missing)
        return [states[name] for name in names]

    # -- changing ----------------------------------------------------------------------------------------------------

    async def change(
        self, put: Sequence[Schedule], remove: Sequence[str], pause: Sequence[str], resume: Sequence[str]
    ) -> None:
        """What an operator orders, in one commit, also when its caller goes away. Raises NotFound, TooLarge."""
        await settled(self._change(put, remove, pause, resume))

    async def _change(
        self, put: Sequence[Schedule], remove: Sequence[str], pause: Sequence[str], resume: Sequence[str]
    ) -> None:
        async with self._one_by_one:
            now = self._guard.now()
            self._known(remove)
            states = revisions.put(self._by_name(), put, now.wall_ms)
            states += [revisions.turned(state, now.wall_ms, paused=True) for state in self._known(pause)]
            states += [revisions.turned(state, now.wall_ms, paused=False) for state in self._known(resume)]
            await self._store(states, list(remove), now)

    async def declare(self, app: str, schedules: Sequence[Schedule]) -> None:
        """All that an app declares. Raises TooLarge."""
        await settled(self._declare(app, schedules))

    async def _declare(self, app: str, schedules: Sequence[Schedule]) -> None:
        async with self._one_by_one:
            now = self._guard.now()
            put, remove = revisions.declare(self._by_name(), app, schedules, now.wall_ms)
            if put or remove:
                await self._store(put, remove, now)
                log.info("app %s declares schedules: %s new or changed, %s removed", app, len(put), len(remove))

    def _by_name(self) -> dict[str, ScheduleState]:
        return {state.schedule.name: state for state in self.states()}

    async def _store(self, put: list[ScheduleState], remove: list[str], now: Time) -> None:
        names = self._by_name().keys() - set(remove) | {state.schedule.name for state in put}
        if len(names) > MAX_SCHEDULES:
            raise TooLarge(f"there can be {MAX_SCHEDULES} schedules, and with these there would be {len(names)}")
        await self._write(self._guard.engine.put_schedules(put, remove, now))
        self._follow()
        self._agenda.due_at(self.next_ms, now)
