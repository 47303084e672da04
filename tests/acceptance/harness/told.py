"""The broker's own history: what its event log tells of each job, compared with what it says of the job now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tests.acceptance.harness.wire import Wire, texts

from tqbroker.v1 import admin_pb2, job_pb2

SENT, LOST = admin_pb2.EVENT_KIND_SENT, admin_pb2.EVENT_KIND_LOST
ENDS = (admin_pb2.EVENT_KIND_SUCCEEDED, admin_pb2.EVENT_KIND_FAILED, admin_pb2.EVENT_KIND_REVOKED)


class Told(NamedTuple):
    """The kinds of events of each job in their order, and what is wrong with the numbers of the log itself."""

    kinds: Mapping[str, list[int]]
    gaps: list[str]


def everything(wire: Wire) -> Told:
    """All that the log has now."""
    kinds: dict[str, list[int]] = {}
    gaps: list[str] = []
    known = 0
    for columns in wire.events():
        ids = texts(columns.ids)
        if columns.first != known + 1:
            gaps.append(f"I1: event {known} is followed by event {columns.first}")
        known = columns.first + max(len(ids), 1) - 1
        for job in ids:
            kinds.setdefault(job, []).append(columns.kind)
    return Told(kinds, gaps)


def discord(told: Told, statuses: Mapping[str, job_pb2.JobStatus]) -> list[str]:
    """Where log and jobs do not agree. `statuses` are of jobs that have ended, and were never redriven."""
    wrong = list(told.gaps)
    for job, status in statuses.items():
        kinds = told.kinds.get(job, [])
        names = [admin_pb2.EventKind.Name(admin_pb2.EventKind.ValueType(kind)) for kind in kinds]
        counted = Counter(kinds)
        if counted[SENT] != 1 or sum(counted[kind] for kind in ENDS) != 1 or kinds[-1] not in ENDS:
            wrong.append(f"I1: the log tells of job {job}: {names}")
        elif counted[LOST] != status.lost_leases:
            wrong.append(f"I4: job {job} has lost {status.lost_leases} leases, and the log tells: {names}")
    return wrong
