"""The judge of a simulated world: what must be true when faults have stopped and everything is quiet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.contracts.witness import counted
from tests.proof.simulation.flows import Flow, faults
from tests.proof.simulation.record import Record

from tqbroker_broker.answers import Job, QueueCounts
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.firings import iso
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.records import State
from tqbroker_broker.schedules import Misfire, ScheduleState

AGAIN = ("retry", "requeue")
"""Ends of a run after which the job runs again."""

LIMIT = 5


@dataclass
class Store:
    """What the store says at the end: every job that was ever submitted by id, and the counts it keeps."""

    jobs: Mapping[str, Job]
    queues: Mapping[str, QueueCounts]
    schedules: Sequence[ScheduleState]

    def firings(self) -> dict[str, dict[str, list[str]]]:
        """The jobs of each firing: by the name of the schedule, then by the planned moment."""
        found: dict[str, dict[str, list[str]]] = {state.schedule.name: {} for state in self.schedules}
        for text, job in self.jobs.items():
            stamps = dict(stamp.split("=", 1) for stamp in job.head.traits.stamps) if job.head is not None else {}
            if "planned" in stamps:
                found.setdefault(stamps["schedule"], {}).setdefault(stamps["planned"], []).append(text)
        return found


def violations(record: Record, store: Store, flows: Iterable[Flow]) -> list[str]:
    """Every broken promise, in words; a few of each kind."""
    found = list(record.problems)
    for rule in (_not_final, _never_submitted, _tokens, _too_often, _lost, _slots, _results, _told):
        found += _few(rule(record, store))
    found += _few([fault for flow in flows for fault in faults(flow, store.jobs, record.runs)])
    if (scanned := counted(store.jobs.values())) != store.queues:
        found.append(f"I8: the counts are {store.queues}, the jobs {scanned}")
    return found


def _not_final(record: Record, store: Store) -> list[str]:
    return [
        f"I1: {text} was acknowledged and is {store.jobs[text].state.name}: {store.jobs[text]}"
        for text in record.acked
        if store.jobs[text].state not in FINAL
    ]


def _never_submitted(record: Record, store: Store) -> list[str]:
    fired = {text for moments in store.firings().values() for jobs in moments.values() for text in jobs}
    return [f"I2: {text} ran and was never submitted" for text in record.runs.keys() - record.invoked.keys() - fired]


def _slots(record: Record, store: Store) -> list[str]:
    """Each moment of a schedule has one job at most, and of one that catches up with everything none is left out."""
    wrong = []
    fired = store.firings()
    for state in store.schedules:
        schedule, moments = state.schedule, fired[state.schedule.name]
        wrong += [f"I7: {schedule.name} fired twice for {moment}" for moment, jobs in moments.items() if len(jobs) > 1]
        if state.fired != len(moments):
            wrong.append(f"I7: {schedule.name} has fired {state.fired} times and has {len(moments)} jobs")
        due = {iso(moment) for moment in range(state.born_ms + schedule.every_ms, state.last_ms + 1, schedule.every_ms)}
        if moments.keys() - due:
            wrong.append(f"I7: {schedule.name} fired for {sorted(moments.keys() - due)}, which is no moment of it")
        if schedule.misfire is Misfire.ALL and due - moments.keys():
            wrong.append(f"I7: {schedule.name} never fired for {sorted(due - moments.keys())}")
    return wrong


def _tokens(record: Record, store: Store) -> list[str]:
    """They rise from attempt to attempt, and the one that ended a job is above all under which it ever ran."""
    wrong = []
    for text, job in store.jobs.items():
        tokens = [attempt.token for attempt in job.attempts]
        if tokens != sorted(set(tokens)):
            wrong.append(f"I3: the tokens of {text} do not rise: {tokens}")
        highest = max((run.token for run in record.runs.get(text, [])), default=0)
        if job.state is State.SUCCEEDED and job.token < highest:
            wrong.append(f"I3: {text} was ended under {job.token:x}, after it was handed out under {highest:x}")
    return wrong


def _too_often(record: Record, store: Store) -> list[str]:
    """A job runs once, and once more each time it asked for it, or its worker died or was away for too long."""
    wrong = []
    for text, runs in record.runs.items():
        counted_runs = [run for run in runs if run.verdict not in AGAIN and not record.may_lose(run.worker, run)]
        if len(counted_runs) > 1:
            wrong.append(f"I4: {text} ran {len(runs)} times and lost {store.jobs[text].lost} leases: {runs}")
    return wrong


def _lost(record: Record, store: Store) -> list[str]:
    """A lease is lost only when its worker died, or was away for longer than it may be."""
    return [
        f"I4: {text} lost a lease of {attempt.worker}, which did nothing wrong: {record.by_token.get(attempt.token)}"
        for text, job in store.jobs.items()
        for attempt in job.attempts
        if attempt.verdict is Verdict.LOST and not record.may_lose(attempt.worker, record.by_token.get(attempt.token))
    ]


def _results(record: Record, store: Store) -> list[str]:
    wrong = []
    for text, job in store.jobs.items():
        if job.state is State.SUCCEEDED:
            run = record.by_token.get(job.token)
            if run is None or run.job != text or run.result != job.result:
                wrong.append(f"I5: {text} has the result {job.result!r}, its run was {run}")
    return wrong


def _told(record: Record, store: Store) -> list[str]:
    """What somebody heard of the end of a job is what it ended with."""
    return [
        f"I1: {text} was told to be {State(state).name}, and is {store.jobs[text].state.name}"
        for text, told in record.told.items()
        for state, result in told
        if (state, result) != (int(store.jobs[text].state), store.jobs[text].result)
    ]


def _few(found: list[str]) -> list[str]:
    more = Counter(each[:2] for each in found)
    return found if len(found) <= LIMIT else [*found[:LIMIT], f"... of {dict(more)}"]
