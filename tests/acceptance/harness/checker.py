"""The one judge of all tests that break something: what must hold whatever was killed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tests.acceptance.harness.history import Events, Run

from tqbroker import codec
from tqbroker.v1 import job_pb2

SUCCEEDED = job_pb2.STATE_SUCCEEDED
LIMIT = 10
MANY = 10**9


class Injected(NamedTuple):
    """What a test has done to deserve that jobs run again.

    `killed` are processes that ran task bodies and were killed: only what they had started may start again, and only as
    often as the broker counts a lost lease. `lost` is how many leases may be lost in all; None leaves that to `killed`.
    `counted` is False where the broker was killed together with a worker: leases are in its memory, so it cannot know
    which were lost.
    """

    killed: Collection[int] = ()
    lost: int | None = None
    counted: bool = True

    @property
    def most_lost(self) -> int:
        """How many leases may be lost in all."""
        return (MANY if self.killed else 0) if self.lost is None else self.lost


NOTHING = Injected()


def violations(events: Events, statuses: Mapping[str, job_pb2.JobStatus], injected: Injected = NOTHING) -> list[str]:
    """Every broken promise, in words; at most ten of a kind.

    `statuses` has what the broker says of each acknowledged id, after all is quiet. The result of a job must be its
    number.
    """
    found = _cut(_not_final(events, statuses))
    found += _cut(_not_run(events))
    found += _cut(_never_submitted(events))
    found += _cut(_too_often(events, statuses, injected))
    total = sum(status.lost_leases for status in statuses.values())
    if total > injected.most_lost:
        found.append(f"{total} leases were lost, at most {injected.most_lost} may be")
    return found


def check(events: Events, statuses: Mapping[str, job_pb2.JobStatus], injected: Injected = NOTHING) -> None:
    """Fails with everything that `violations` finds."""
    assert not (found := violations(events, statuses, injected)), "\n".join(found)


def _not_final(events: Events, statuses: Mapping[str, job_pb2.JobStatus]) -> list[str]:
    wrong = []
    for number, job in events.acknowledged.items():
        status = statuses.get(job)
        if status is None or status.state != SUCCEEDED:
            state = "not known" if status is None else job_pb2.State.Name(status.state)
            wrong.append(f"job {job} of call {number} was acknowledged and is {state}: {status}")
        elif (value := codec.decode(status.result, status.result_format or "json")) != number:
            wrong.append(f"job {job} of call {number} has the result {value!r}")
    return wrong


def _not_run(events: Events) -> list[str]:
    return [
        f"job {job} of call {number} was acknowledged and did not run to its end"
        for number, job in events.acknowledged.items()
        if not any(run.id == job for run in events.ends[number])
    ]


def _never_submitted(events: Events) -> list[str]:
    wrong = [f"call {number} ran and was never made" for number in events.starts if number not in events.invoked]
    for number, runs in events.starts.items():
        ids = {run.id for run in runs}
        if len(ids) > 1:
            wrong.append(f"call {number} ran under several ids: {sorted(ids)}")
        if events.acknowledged.get(number, min(ids)) not in ids:
            wrong.append(f"call {number} ran as {sorted(ids)} but was acknowledged as {events.acknowledged[number]}")
        if events.refused.get(number) == "rejected":
            wrong.append(f"call {number} ran although its caller was told that it was rejected")
    return wrong


def _too_often(events: Events, statuses: Mapping[str, job_pb2.JobStatus], injected: Injected) -> list[str]:
    return [
        f"call {number} ran {len(runs)} times: {runs}"
        for number, runs in events.starts.items()
        if len(runs) > 1 + _excused(runs, statuses, injected)
    ]


def _excused(runs: Sequence[Run], statuses: Mapping[str, job_pb2.JobStatus], injected: Injected) -> int:
    """How many of these runs may have been for nothing."""
    cut_short = sum(run.pid in injected.killed for run in runs)
    status = statuses.get(runs[0].id)  # a job whose caller got no answer is not asked for
    return min(cut_short, status.lost_leases) if status is not None and injected.counted else cut_short


def _cut(found: list[str]) -> list[str]:
    return found if len(found) <= LIMIT else [*found[:LIMIT], f"... and {len(found) - LIMIT} more of these"]
