"""The one judge of all tests that break something: what must hold whatever was killed.

    I1  every acknowledged job comes to exactly one end
    I2  no job runs that was never submitted
    I3  the tokens of a job's attempts rise, and only the last attempt is believed
    I4  a job runs once, and once more for each lease that the test has made it lose
    I5  the result is what the body returned, byte for byte
    I6  what follows a workflow's jobs (a chord's body) runs under one id
    I7  a schedule fires for each of its moments, once
    I8  the counts of the broker are those of its rows
    I9  every row of the store can be read, and the indexes agree
    I10 memory, threads, descriptors and files stay within bounds

I1 to I6 are judged here, I7 by `fired`, I8 and I9 on the closed store (fixtures.py), I10 by footprint.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tests.acceptance.harness.history import Events, Run
from tests.acceptance.harness.told import Told, discord

from tqbroker import codec
from tqbroker.v1 import job_pb2
from tqbroker_worker.credit import MAX_APART, MAX_WINDOW

SUCCEEDED = job_pb2.STATE_SUCCEEDED
LIMIT = 10
BATCH = 64
"""Outcomes that a process may not have reported yet when it is killed alone, and no more: its parent has the others."""
HELD = MAX_WINDOW + MAX_APART
"""Leases that a worker holds at most: what it may lose when it is killed, outcomes that are on their way among them."""


class Injected(NamedTuple):
    """What a test has done to deserve that jobs run again.

    `killed` are processes that ran task bodies and were killed: only what they had started may start again, if its
    outcome was not long reported, and only as often as the broker counts a lost lease. `lost` is how many leases may be
    lost in all. `counted` is False where the broker was killed together with a worker: leases are in its memory, so it
    cannot know which were lost. `alone` are those of the killed whose worker has lived on.
    """

    killed: Collection[int] = ()
    lost: int = 0
    counted: bool = True
    alone: Collection[int] = ()

    def reported(self, events: Events) -> set[Run]:
        """What has run in a killed process and ended so long before others that its outcome cannot be lost."""
        unsent = {pid: BATCH if pid in self.alone else HELD for pid in self.killed}
        return {run for pid, most in unsent.items() for run in events.ended.get(pid, ())[:-most]}


NOTHING = Injected()


def violations(
    events: Events,
    statuses: Mapping[str, job_pb2.JobStatus],
    injected: Injected = NOTHING,
    told: Told | None = None,
) -> list[str]:
    """Every broken promise, in words; at most ten of a kind.

    `statuses` has what the broker says of each acknowledged id, after all is quiet; `told` its event log, if it is to
    be judged too. What each call must come to stands in the history: most succeed with their number.
    """
    found = _cut(_not_final(events, statuses))
    found += _cut(_not_run(events))
    found += _cut(_never_submitted(events))
    found += _cut(_stale(events, statuses))
    found += _cut(_too_often(events, statuses, injected))
    if told is not None:
        found += _cut(discord(told, {job: statuses[job] for job in events.acknowledged.values() if job in statuses}))
    total = sum(status.lost_leases for status in statuses.values())
    if total > injected.lost:
        found.append(f"I4: {total} leases were lost, at most {injected.lost} may be")
    return found


def check(
    events: Events,
    statuses: Mapping[str, job_pb2.JobStatus],
    injected: Injected = NOTHING,
    told: Told | None = None,
) -> None:
    """Fails with everything that `violations` finds."""
    assert not (found := violations(events, statuses, injected, told)), "\n".join(found)


def fired(planned_ms: Sequence[int], expected_ms: Sequence[int]) -> list[str]:
    """What is wrong with the moments for which a schedule has submitted jobs."""
    counts = Counter(planned_ms)
    twice = [f"I7: {moment} has {count} jobs" for moment, count in counts.items() if count > 1]
    missing = [f"I7: {moment} has no job" for moment in expected_ms if moment not in counts]
    extra = [f"I7: {moment} has a job and is no moment of the schedule" for moment in set(counts) - set(expected_ms)]
    return _cut(twice) + _cut(missing) + _cut(extra)


def _not_final(events: Events, statuses: Mapping[str, job_pb2.JobStatus]) -> list[str]:
    wrong = []
    for number, job in events.acknowledged.items():
        status, end = statuses.get(job), events.end_of(number)
        state = "not known" if status is None else job_pb2.State.Name(status.state)
        if status is None or state != f"STATE_{end.state}":
            wanted = "" if end.state == "SUCCEEDED" else f", not {end.state}"
            wrong.append(f"I1: job {job} of call {number} was acknowledged and is {state}{wanted}: {status}")
        elif status.state == SUCCEEDED:
            value = codec.decode(status.result, status.result_format or "json")
            if value != end.value:
                wrong.append(f"I5: job {job} of call {number} has the result {value!r}")
    return wrong


def _not_run(events: Events) -> list[str]:
    return [
        f"I1: job {job} of call {number} was acknowledged and did not run to its end {end.runs} times"
        for number, job in events.acknowledged.items()
        if (end := events.end_of(number)).runs > sum(run.id == job for run in events.ends[number])
    ]


def _never_submitted(events: Events) -> list[str]:
    wrong = [f"I2: call {number} ran and was never made" for number in events.starts if number not in events.invoked]
    for number, runs in events.starts.items():
        ids = {run.id for run in runs}
        if len(ids) > 1:
            wrong.append(f"I6: call {number} ran under several ids: {sorted(ids)}")
        if events.acknowledged.get(number, min(ids)) not in ids:
            wrong.append(
                f"I2: call {number} ran as {sorted(ids)} but was acknowledged as {events.acknowledged[number]}"
            )
        if events.refused.get(number) == "rejected":
            wrong.append(f"I2: call {number} ran although its caller was told that it was rejected")
    return wrong


def _stale(events: Events, statuses: Mapping[str, job_pb2.JobStatus]) -> list[str]:
    wrong = []
    for number, runs in events.starts.items():
        tokens = [run.token for run in runs]
        if tokens != sorted(set(tokens)):
            wrong.append(f"I3: the tokens of call {number} do not rise: {tokens}")
        status = statuses.get(runs[0].id)
        if status is not None and status.state == SUCCEEDED and status.token != max(tokens):
            wrong.append(f"I3: call {number} ran under {tokens} and ended under {status.token}, not the last of them")
    return wrong


def _too_often(events: Events, statuses: Mapping[str, job_pb2.JobStatus], injected: Injected) -> list[str]:
    reported = injected.reported(events)
    return [
        f"I4: call {number} ran {len(runs)} times: {runs}"
        for number, runs in events.starts.items()
        if len(runs) > events.end_of(number).runs + _excused(runs, statuses, injected, reported)
    ]


def _excused(
    runs: Sequence[Run], statuses: Mapping[str, job_pb2.JobStatus], injected: Injected, reported: Collection[Run]
) -> int:
    """How many of these runs may have been for nothing."""
    cut_short = sum(run.pid in injected.killed and run not in reported for run in runs)
    status = statuses.get(runs[0].id)  # a job whose caller got no answer is not asked for
    return min(cut_short, status.lost_leases) if status is not None and injected.counted else cut_short


def _cut(found: list[str]) -> list[str]:
    return found if len(found) <= LIMIT else [*found[:LIMIT], f"... and {len(found) - LIMIT} more of these"]
