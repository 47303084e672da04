"""What must be true of jobs, workers and time, as plain dicts: written from the promises, not from the engines.

Where the promises leave room the model says what is allowed: which of several equal jobs goes first is not its affair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

SCHEDULED, WAITING, QUEUED, RUNNING = "SCHEDULED", "WAITING", "QUEUED", "RUNNING"
SUCCEEDED, FAILED, CANCELLED, EXPIRED = "SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"
FINAL = (SUCCEEDED, FAILED, CANCELLED, EXPIRED)


class Times(NamedTuple):
    """Seconds that the model counts with: those of the engines' configuration."""

    ttl: float
    grace: float
    result: float
    dead: float
    dedup: float
    most_lost: int


@dataclass
class Body:
    """What a job is submitted with. `due` and `expires` are wall-clock milliseconds, 0 for none."""

    queue: str
    priority: int = 0
    ordering: str = ""
    limited: bool = False
    key: str = ""
    keep: bool = False
    due: int = 0
    expires: int = 0
    digest: int = 0


@dataclass
class Job:
    """One job. `rank` is when it became ready, `token` that of its lease or 0, `over` those that count no more."""

    name: str
    body: Body
    submitted: int
    state: str
    rank: int = 0
    token: int = 0
    worker: str = ""
    ended_by: int = 0
    given: set[int] = field(default_factory=set)
    over: set[int] = field(default_factory=set)
    marked: bool = False
    lost: int = 0
    retries: int = 0
    keep_until: int = 0
    result: bytes = b""


@dataclass
class Worker:
    """One on the list. `connected` may take jobs, `deadline` is when it is given up."""

    process: int
    connected: bool
    deadline: float


class Model:
    """All of it. Methods are called with what the engines were asked, and say what they must have answered."""

    def __init__(self, times: Times, wall: int, mono: float) -> None:
        self.times = times
        self.wall, self.mono = wall, mono
        self.jobs: dict[str, Job] = {}
        self.remembered: dict[str, tuple[int, int, int]] = {}
        self.keys: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        self.awaited: set[str] = set()
        self.listed: dict[str, int] = {}
        self.recovered_at = 0.0
        self.old_rank = 0
        self.paused: set[str] = set()
        self.longest: dict[str, int] = {}
        self.limit = 0
        self.highest_token = 0
        self.last_beat: float | None = None
        self._rank = 0

    def next_rank(self) -> int:
        self._rank += 1
        return self._rank

    # -- who waits ---------------------------------------------------------------------------------------------------

    def recovering(self) -> bool:
        """Whether workers from before the start are awaited: until they are back, or given up."""
        return bool(self.awaited)

    def withheld(self, job: Job) -> bool:
        """Whether an awaited worker may have it."""
        return self.recovering() and job.state == QUEUED and job.rank <= self.old_rank

    def running(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == RUNNING]

    def is_free(self, job: Job) -> bool:
        """Whether it may be handed out now, to a worker that takes from its queue."""
        body = job.body
        if job.state != QUEUED or job.marked or self.withheld(job) or body.queue in self.paused:
            return False
        if 0 < body.expires <= self.wall:
            return False
        guarded = bool(body.ordering) or (body.limited and self.limit > 0)
        return not (guarded and self.recovering()) and not self.is_crowded(body)

    def is_crowded(self, body: Body) -> bool:
        """Whether another job has its ordering key, or others fill its limit."""
        beside = [each.body for each in self.running()]
        if body.ordering and any((each.queue, each.ordering) == (body.queue, body.ordering) for each in beside):
            return True
        return body.limited and 0 < self.limit <= sum(each.limited for each in beside)

    # -- jobs --------------------------------------------------------------------------------------------------------

    def enqueue(self, names: Iterable[str], body: Body) -> list[str]:
        """What becomes of each: "stored", or why not."""
        return [self._enqueue(name, body) for name in names]

    def _enqueue(self, name: str, body: Body) -> str:
        digest = self.jobs[name].body.digest if name in self.jobs else self.remembered.get(name, (None,))[0]
        if digest is not None:
            return "DUPLICATE" if digest == body.digest else "CONFLICT"
        if body.key and (holder := self.keys.get(body.key)):
            return f"{'KEPT' if body.keep else 'NOT_UNIQUE'} {holder}"
        waiting = [
            job for job in self.jobs.values() if job.body.queue == body.queue and job.state in (SCHEDULED, QUEUED)
        ]
        if 0 < self.longest.get(body.queue, 0) <= len(waiting):
            return "QUEUE_FULL"
        delayed = body.due > self.wall
        state, rank = (SCHEDULED, 0) if delayed else (QUEUED, self.next_rank())
        self.jobs[name] = Job(name, body, self.wall, state, rank)
        if body.key:
            self.keys[body.key] = name
        return "stored"

    def hand_out(self, worker: str, queues: Iterable[str], most: int, given: list[tuple[str, int]]) -> str:
        """Whether these jobs may have been handed out, in this order, and no fewer; if not, why."""
        connected = worker in self.workers and self.workers[worker].connected
        for name, token in given:
            job = self.jobs[name]
            if not connected or job.body.queue not in queues or not self.is_free(job):
                return f"{name} was handed out, and is {job}"
            rivals = [each for each in self.jobs.values() if each.body.queue in queues and self.is_free(each)]
            if any(each.body.priority > job.body.priority for each in rivals):
                return f"{name} went before one of higher priority"
            same = [
                each for each in rivals if (each.body.queue, each.body.priority) == (job.body.queue, job.body.priority)
            ]
            if any(each.rank < job.rank for each in same):
                return f"{name} went before one that was ready earlier"
            if token <= self.highest_token:
                return f"{name} has the token {token}, after {self.highest_token}"
            self.highest_token = token
            job.over |= job.given
            job.given.add(token)
            self._take(job, worker, token)
        left = [job.name for job in self.jobs.values() if connected and job.body.queue in queues and self.is_free(job)]
        return f"{left} were not handed out" if left and len(given) < most else ""

    def _take(self, job: Job, worker: str, token: int) -> None:
        job.state, job.token, job.worker = RUNNING, token, worker

    def end(self, worker: str, token: int, verdict: str, delay: int, result: bytes) -> str:
        """What becomes of an outcome: "accepted", ALREADY or STALE. `delay` is that of a retry, in milliseconds."""
        job = next((job for job in self.running() if (job.worker, job.token) == (worker, token)), None)
        if job is None:
            return self._refusal(token)
        self._end(job, verdict, delay, result)
        return "accepted"

    def _refusal(self, token: int) -> str:
        known = [job.ended_by for job in self.jobs.values()] + [ended_by for _, ended_by, _ in self.remembered.values()]
        return "ALREADY" if token in known else "STALE"

    def _end(self, job: Job, verdict: str, delay: int = 0, result: bytes = b"") -> None:
        token, job.token, job.worker = job.token, 0, ""
        if verdict == "SUCCEEDED":
            job.result = result
            self._finish(job, SUCCEEDED, token)
            return
        job.over.add(token)
        job.lost += verdict == "LOST"
        if job.marked or verdict == "CANCELLED":
            self._finish(job, CANCELLED, token)
        elif verdict in ("FAILED", "REJECTED") or job.lost >= self.times.most_lost:
            self._finish(job, FAILED, token)
        elif verdict == "LOST":
            job.state = QUEUED
        elif verdict == "RETRY" and delay:
            job.retries += 1
            job.state, job.body.due = SCHEDULED, self.wall + delay
        else:
            job.retries += verdict == "RETRY"
            job.state, job.rank = QUEUED, self.next_rank()

    def lose(self, job: Job) -> None:
        """Its worker is gone: no outcome has ended this attempt."""
        self._end(job, "LOST")
        if job.state in FINAL:
            job.ended_by = 0

    def _finish(self, job: Job, state: str, token: int = 0) -> None:
        job.state, job.ended_by = state, token
        seconds = max(self.times.result, self.times.dead) if state == FAILED else self.times.result
        job.keep_until = self.wall + int(seconds * 1000)
        if self.keys.get(job.body.key) == job.name:
            del self.keys[job.body.key]

    def release(self, worker: str, token: int) -> None:
        """Unstarted: back to its place, uncounted."""
        for job in self.running():
            if (job.worker, job.token) == (worker, token):
                job.over.add(token)
                job.state, job.token, job.worker = QUEUED, 0, ""

    def cancel(self, name: str) -> str:
        """What a cancel does."""
        job = self.jobs.get(name)
        if job is None:
            return "FINAL" if name in self.remembered else "UNKNOWN"
        if job.state in FINAL:
            return "FINAL"
        if job.state == RUNNING or self.withheld(job):
            job.marked = True
            return "RUNNING" if job.state == RUNNING else "PENDING"
        self._finish(job, CANCELLED)
        return "CANCELLED"

    def redrive(self, name: str) -> str:
        """A dead letter begins anew, above every token that was ever given."""
        job = self.jobs.get(name)
        if job is None:
            return "UNKNOWN"
        if job.state == RUNNING or self.withheld(job):
            return "RUNNING"
        if job.state != FAILED:
            return "WRONG_STATE"
        job.state, job.rank, job.ended_by = QUEUED, self.next_rank(), 0
        job.over |= job.given
        job.lost = job.retries = job.keep_until = job.body.expires = 0
        job.marked = False
        return "DONE"

    def forget(self, names: Iterable[str]) -> int:
        """Drops final jobs; how many."""
        final = [name for name in dict.fromkeys(names) if name in self.jobs and self.jobs[name].state in FINAL]
        for name in final:
            self._drop(name)
        return len(final)

    def _drop(self, name: str) -> None:
        job = self.jobs.pop(name)
        until = job.submitted + int(self.times.dedup * 1000)
        if until > self.wall:
            self.remembered[name] = job.body.digest, job.ended_by, until

    # -- workers -----------------------------------------------------------------------------------------------------

    def join(self, worker: str, process: int, held: dict[int, str]) -> set[int] | None:
        """The tokens that are not its own any more; None when the name is taken."""
        known = self.workers.get(worker)
        if known and known.connected and known.process != process:
            return None
        resumes = known is None or known.process == process
        self.workers[worker] = Worker(process, True, self.mono + self.times.ttl)
        in_time = self.recovering()
        self.awaited.discard(worker)
        kept = {token for token, name in held.items() if self._adopts(worker, token, name, resumes, in_time)}
        for job in self.running():
            if job.worker == worker and job.token not in kept:
                if resumes:
                    self.release(worker, job.token)
                else:
                    self.lose(job)
        ended = {job.ended_by for job in self.jobs.values()} | {by for _, by, _ in self.remembered.values()}
        return held.keys() - kept - ended

    def _adopts(self, worker: str, token: int, name: str, resumes: bool, in_time: bool) -> bool:
        """Whether a lease is still its own: live, or from before the start and not ended, and nobody else's since."""
        job = self.jobs.get(name)
        if job is None:
            return False
        if job.state == RUNNING:
            if token < job.token:
                job.over.add(token)
            return resumes and (job.worker, job.token) == (worker, token)
        if job.state != QUEUED or token in job.over:
            return False
        late = not in_time and self.is_crowded(job.body)
        if late or self.listed.get(worker) != self.workers[worker].process:
            job.over |= {given for given in job.given if given <= token}
            return False
        self._take(job, worker, token)
        return True

    def part(self, worker: str, process: int) -> None:
        known = self.workers.get(worker)
        if known and known.process == process and worker not in self.awaited:
            known.connected = False
            known.deadline = min(known.deadline, self.mono + self.times.grace)

    def leave(self, worker: str, process: int, stored: int) -> None:
        """For good, if it is the process that is on the list."""
        if stored == process:
            for job in self.running():
                if job.worker == worker:
                    self.release(worker, job.token)
            self.workers.pop(worker, None)
            self.awaited.discard(worker)

    def extend(self, worker: str, process: int) -> None:
        known = self.workers.get(worker)
        if known and known.process == process and known.connected:
            known.deadline = self.mono + self.times.ttl

    # -- time --------------------------------------------------------------------------------------------------------

    def beat(self) -> float:
        """By how much all leases are extended: the time the broker did not run."""
        elapsed = self.mono - self.last_beat if self.last_beat is not None else 0.0
        self.last_beat = self.mono
        stalled = max(0.0, elapsed - 1.0)
        self.recovered_at += stalled
        for worker in self.workers.values():
            worker.deadline += stalled
        return stalled

    def due(self) -> None:
        """What is due is ready, the longest overdue first."""
        late = [job for job in self.jobs.values() if job.state == SCHEDULED and job.body.due <= self.wall]
        for job in sorted(late, key=lambda job: job.body.due):
            job.state, job.rank = QUEUED, self.next_rank()

    def expire(self) -> tuple[set[str], set[str]]:
        """The jobs that time has ended, and the workers that are given up."""
        before = {name for name, job in self.jobs.items() if job.state in FINAL}
        silent = {name for name, worker in self.workers.items() if worker.deadline <= self.mono}
        for job in self.running():
            if job.worker in silent:
                self.lose(job)
        for name in silent:
            del self.workers[name]
            self.awaited.discard(name)
        for job in self.jobs.values():
            if job.state in (QUEUED, SCHEDULED) and not self.withheld(job):
                if job.marked:
                    self._finish(job, CANCELLED)
                elif 0 < job.body.expires <= self.wall:
                    self._finish(job, EXPIRED)
        ended = {name for name, job in self.jobs.items() if job.state in FINAL} - before
        for name in [name for name, job in self.jobs.items() if job.state in FINAL and job.keep_until <= self.wall]:
            self._drop(name)
        self.remembered = {name: known for name, known in self.remembered.items() if known[2] > self.wall}
        return ended, silent

    def restart(self) -> None:
        """Leases are in memory: their jobs wait for the workers that had them."""
        self.awaited = set(self.workers)
        self.listed = {name: worker.process for name, worker in self.workers.items()}
        self.recovered_at = self.mono + self.times.ttl
        self.old_rank = self._rank
        self.last_beat = None
        for job in self.running():
            job.state, job.token, job.worker = QUEUED, 0, ""
        for worker in self.workers.values():
            worker.connected, worker.deadline = False, self.recovered_at
