"""A child of a simulated worker: it runs jobs for virtual seconds, in as many slots as it has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.proof.simulation.bodies import Body, read
from tests.proof.simulation.record import Run

from tqbroker.failures import FailureData
from tqbroker_worker.handover import Handover
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.protocol import Cancel, Done, Down, Ended, HandBack, Unstarted, Verdict
from tqbroker_worker.seats import Seat

if TYPE_CHECKING:
    from tests.proof.simulation.daemon import Process, WorkerHost

FAILURE = FailureData("ValueError", "builtins", "no such thing", "", b"[]", "json")
DIED = FailureData("WorkerLostError", "tqbroker.exceptions", "the child died", "", b"[]", "json")

VERDICTS = {
    "fail": Verdict.FAILED,
    "retry": Verdict.RETRY,
    "requeue": Verdict.REQUEUED,
    "reject": Verdict.REJECTED,
    "cancel": Verdict.CANCELLED,
}


class Child:
    """One child process, as the hand-over sees it through its seat."""

    def __init__(self, slots: int, handover: Handover, worker: WorkerHost, process: Process) -> None:
        self.seat = Seat(slots, self._take, lambda: self._started)
        self._handover = handover
        self._worker = worker
        self._process = process
        self._started = 0
        self._waiting: dict[int, Jobs] = {}
        self._running: dict[int, Run] = {}
        self._dead = False

    # -- what the parent says ----------------------------------------------------------------------------------------

    def _take(self, message: Down) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(message, Jobs):
            self._waiting.update(dict.fromkeys(message.tokens, message))
            loop.call_soon(self._start_some)
        elif isinstance(message, HandBack):
            loop.call_soon(self._hand_back, list(self._waiting))
        elif isinstance(message, Cancel):
            loop.call_soon(self._cancel, message)

    def _hand_back(self, tokens: list[int]) -> None:
        back = [token for token in tokens if self._waiting.pop(token, None) is not None]
        if back and not self._dead:
            self._handover.unstarted(self.seat, Unstarted(back))

    def _cancel(self, message: Cancel) -> None:
        """What has not begun goes back; what runs may take notice, and does when it is forced."""
        self._hand_back(message.tokens)
        for token in message.tokens:
            if token in self._running and (message.force or self._worker.rng.random() < 0.5):
                self._end(token, "cancel")

    # -- running -----------------------------------------------------------------------------------------------------

    def _start_some(self) -> None:
        while not self._dead and self._waiting and len(self._running) < self.seat.slots:
            token = next(iter(self._waiting))
            self._start(token, self._waiting.pop(token))

    def _start(self, token: int, jobs: Jobs) -> None:
        job, body = jobs.id_of(token), read(jobs.args[jobs.tokens.index(token)])
        loop, record = asyncio.get_running_loop(), self._worker.record
        runs = record.runs.setdefault(job, [])
        run = Run(job, self._worker.host.name, self._process.number, token, loop.time())
        run.handed = _handed(jobs, token)
        runs.append(run)
        record.by_token[token] = run
        record.say(f"{run.worker}/{run.process} runs {job} under {token:x}")
        self._started += 1
        self._running[token] = run
        loop.call_later(body.seconds, self._ends, token, body, len(runs) - 1)

    def _ends(self, token: int, body: Body, number: int) -> None:
        """The time of a run is over; a machine that stands still ends nothing."""
        if self._dead or token not in self._running:
            return
        if self._worker.host.frozen:
            asyncio.get_running_loop().call_later(0.5, self._ends, token, body, number)
            return
        self._end(token, body.end(number), int(body.retry_in * 1000), int(body.seconds * 1e6))

    def _end(self, token: int, end: str, retry_in_ms: int = 0, runtime_us: int = 1000) -> None:
        run = self._running.pop(token)
        loop = asyncio.get_running_loop()
        run.ended, run.verdict = loop.time(), end
        self._worker.record.say(f"{run.worker} ends {run.job} with {end}")
        began_ms = self._worker.now_ms()
        if end == "ok":
            run.result = b'"%s %x"' % (run.job.encode(), token)
            self._handover.done(self.seat, Done("json", [token], [run.result], [began_ms], [runtime_us], []))
        else:
            failure = FAILURE if end in ("fail", "reject", "retry") else None
            delay = retry_in_ms if end == "retry" else 0
            self._handover.ended(
                self.seat, Ended(token, VERDICTS[end], failure, began_ms, runtime_us, retry_in_ms=delay)
            )
        self._start_some()

    # -- the end -----------------------------------------------------------------------------------------------------

    def die(self) -> None:
        """The process dies; its parent sees it."""
        for run in self._running.values():
            run.ended, run.verdict = asyncio.get_running_loop().time(), "crashed"
        self.forget()
        self._handover.crashed(self.seat, DIED)

    def forget(self) -> None:
        """The parent died too, or has left."""
        self._dead = True
        self._running.clear()
        self._waiting.clear()


def _handed(jobs: Jobs, token: int) -> list[bytes] | None:
    """What a job of a workflow is handed."""
    extra = jobs.extras.get(jobs.tokens.index(token))
    place = extra.place if extra is not None else None
    return list(place.inputs.values) if place is not None and place.inputs is not None else None
