"""What a firing is: its job, and what the ledger of its schedule says afterwards. Decided without disk or clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b

from msgspec.structs import replace

from tqbroker_broker.answers import Enqueued
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.records import JobId, NewJobs, State
from tqbroker_broker.schedules import (
    KEPT_FIRINGS,
    Fire,
    FireAnswer,
    Firing,
    Overlap,
    Schedule,
    ScheduleState,
    job_id,
    may_fire,
)

GONE = FireAnswer(0, 0, frozenset(), gone=True)


def new_job(state: ScheduleState, planned_ms: int, now_ms: int) -> NewJobs:
    """The job of one firing that is submitted now. It starts late by the jitter of its moment, plus any countdown."""
    schedule = state.schedule
    job = job_id(schedule.name, state.born_ms, planned_ms)
    jitter = int.from_bytes(job[:6], "big") % schedule.jitter_ms if schedule.jitter_ms else 0
    return _new_job(schedule, job, max(now_ms, planned_ms + jitter), now_ms, (f"planned={iso(planned_ms)}",))


def job_now(schedule: Schedule, job: JobId, now_ms: int) -> NewJobs:
    """A job of a schedule that is submitted out of turn."""
    return _new_job(schedule, job, now_ms, now_ms, ())


def _new_job(schedule: Schedule, job: JobId, start_ms: int, now_ms: int, stamps: tuple[str, ...]) -> NewJobs:
    traits = schedule.head.traits
    key = traits.ordering_key
    if schedule.overlap is Overlap.QUEUE_ONE and not key:
        key = f"schedule:{schedule.name}"
    stamps = (*traits.stamps, f"schedule={schedule.name}", *stamps)
    due_ms = start_ms + schedule.countdown_ms
    return NewJobs(
        replace(schedule.head, traits=replace(traits, stamps=stamps, ordering_key=key)),
        [job],
        [schedule.args],
        [blake2b(b"schedule\0" + schedule.name.encode() + job, digest_size=16).digest()],
        due_ms if due_ms > now_ms else 0,
        start_ms + schedule.expires_in_ms if schedule.expires_in_ms else 0,
        [schedule.unique] if schedule.unique else (),
    )


def iso(moment: int) -> str:
    """A moment as people write it, in UTC."""
    at = datetime.fromtimestamp(moment // 1000, UTC).replace(microsecond=moment % 1000 * 1000)
    return at.isoformat(timespec="milliseconds" if moment % 1000 else "seconds").replace("+00:00", "Z")


def settle(
    state: ScheduleState | None,
    fire: Fire,
    state_of: Callable[[JobId], State],
    submit: Callable[[NewJobs], Enqueued],
) -> tuple[ScheduleState | None, FireAnswer]:
    """Does what a Fire asks for, given the state that is stored. Returns the state to be stored, None for no change.

    `state_of` tells the state of a job as this commit sees it, `submit` stores one job in it.
    """
    if state is None or state.born_ms != fire.born_ms or state.schedule.paused:
        return None, GONE
    if fire.until_ms <= state.last_ms:
        return None, FireAnswer(0, 0, frozenset())
    ledger = _Ledger(state, state_of, submit)
    for planned_ms, jobs in zip(fire.planned_ms, fire.jobs, strict=True):
        if planned_ms > state.last_ms:
            ledger.fire(planned_ms, jobs)
    return ledger.settled(fire), ledger.answer(fire)


class _Ledger:
    """One Fire at work."""

    def __init__(
        self, state: ScheduleState, state_of: Callable[[JobId], State], submit: Callable[[NewJobs], Enqueued]
    ) -> None:
        self._state = state
        self._overlap = state.schedule.overlap
        self._state_of = state_of
        self._submit = submit
        self._live = list(dict.fromkeys((*state.live, *(firing.job for firing in state.recent if firing.job))))
        self._firings: list[Firing] = []
        self._woken: set[str] = set()
        self._due_ms: list[int] = []
        self._final: list[JobId] = []

    def fire(self, planned_ms: int, jobs: NewJobs) -> None:
        """Submits one job, unless an earlier one, its queue or its unique key forbids it."""
        job = b""
        if self._may_fire():
            answer = self._submit(jobs)
            self._final += answer.final
            if answer.stored:
                (job,) = jobs.ids
                self._live.append(job)
                self._note(jobs)
        self._firings.append(Firing(planned_ms, job))

    def _may_fire(self) -> bool:
        if self._overlap is Overlap.ALLOW:
            return True
        states = {job: self._state_of(job) for job in self._live}
        self._live = [job for job, state in states.items() if state not in FINAL and state is not State.UNKNOWN]
        return may_fire(self._overlap, list(states.values()))

    def _note(self, jobs: NewJobs) -> None:
        if jobs.due_ms:
            self._due_ms.append(jobs.due_ms)
        else:
            self._woken.add(jobs.head.queue)

    def settled(self, fire: Fire) -> ScheduleState:
        """The state to be stored."""
        state, answer = self._state, self.answer(fire)
        return replace(
            state,
            next_ms=fire.next_ms,
            last_ms=fire.until_ms,
            fired=state.fired + answer.fired,
            skipped=state.skipped + answer.skipped,
            recent=(*state.recent, *self._firings)[-KEPT_FIRINGS:],
            live=() if self._overlap is Overlap.ALLOW else tuple(self._live),
        )

    def answer(self, fire: Fire) -> FireAnswer:
        """What became of it."""
        fired = sum(bool(firing.job) for firing in self._firings)
        return FireAnswer(
            fired,
            len(self._firings) - fired + fire.skipped,
            frozenset(self._woken),
            min(self._due_ms, default=0),
            firings=tuple(self._firings),
            final=tuple(self._final),
        )
