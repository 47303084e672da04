"""A schedule that fires every second, and whether each second has had its one job (I7)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tests.acceptance.harness.checker import fired
from tests.acceptance.harness.waiting import PATIENCE
from tests.acceptance.harness.wire import Wire

from tqbroker.v1 import admin_pb2, job_pb2, schedule_pb2

SECOND_MS = 1000
PLANNED = "planned="
"""The stamp of a job that says for which moment it was made."""


class Ticks:
    """The schedule `tick` of a broker: every whole second, and what is missed is made up for."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        schedule = schedule_pb2.Schedule(
            name="tick",
            every_ms=SECOND_MS,
            relative=True,
            misfire=schedule_pb2.MISFIRE_ALL,
            misfire_max=10_000,
            job=job_pb2.JobBatch(task="tasks.tick", format="json", args=[b"[[],{}]"]),
        )
        request = admin_pb2.SetSchedulesRequest(put=[schedule])
        wire.admin.SetSchedules(request, timeout=PATIENCE, wait_for_ready=True)
        state = self.info()  # it may have fired by now
        self.first_ms = state.recent[0].planned_unix_ms if state.recent else state.next_unix_ms

    def info(self) -> schedule_pb2.ScheduleInfo:
        """What the broker says of it."""
        request = admin_pb2.ListSchedulesRequest()
        (found,) = self._wire.admin.ListSchedules(request, timeout=PATIENCE, wait_for_ready=True).schedules
        return found

    def jobs(self) -> Iterator[job_pb2.JobStatus]:
        """All that it has submitted."""
        request = admin_pb2.ListJobsRequest(filter=admin_pb2.JobFilter(stamps=["schedule=tick"]), limit=1000)
        while True:
            page = self._wire.admin.ListJobs(request, timeout=PATIENCE, wait_for_ready=True)
            yield from page.jobs
            if not page.cursor:
                return
            request.cursor = page.cursor

    def check(self) -> int:
        """Fails unless every second from the first to the last that was dealt with has one job. Returns how many."""
        state = self.info()
        expected = list(range(self.first_ms, state.last_unix_ms + 1, SECOND_MS))
        stamps = [stamp for job in self.jobs() for stamp in job.traits.stamps if stamp.startswith(PLANNED)]
        moments = [moment for moment in map(_moment, stamps) if moment <= state.last_unix_ms]  # more fire meanwhile
        faults = fired(moments, expected)
        if (state.fired, state.skipped) != (len(expected), 0):
            faults.append(f"I7: {len(expected)} moments have passed: {state.fired} fired, {state.skipped} skipped")
        assert not faults, "\n".join(faults)
        assert [firing.planned_unix_ms for firing in state.recent] == expected[-10:]
        return len(expected)


def _moment(stamp: str) -> int:
    return round(datetime.fromisoformat(stamp.removeprefix(PLANNED)).timestamp() * 1000)
