"""Jobs that somebody wants ended by force: each of them ends, in every pool, within some seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tqbroker.failures import FailureData
from tqbroker_worker.handover import Handover
from tqbroker_worker.pool import Pool
from tqbroker_worker.protocol import Ended, Verdict
from tqbroker_worker.seats import Seat

GRACE_SECONDS = 5.0
"""How long a job may take to end after its signal: time to put things in order, and short for who waits."""


class Forcing:
    """Stops jobs. `later(seconds, function)` calls a function after a while."""

    def __init__(self, handover: Handover, pool: Pool, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._handover = handover
        self._pool = pool
        self._later = later

    def terminate(self, token: int, signal: str) -> None:
        """Stops this job; `signal` is the name of one, "" means SIGTERM."""
        seat = self._handover.terminate(token, signal)
        if seat is None:
            return
        failure = FailureData("TaskRevokedError", "tqbroker.exceptions", f"terminated by {signal or 'SIGTERM'}")
        ended = Ended(token, Verdict.CANCELLED, failure)
        if self._pool.config.killable:
            seat.doomed[token] = ended
        self._later(GRACE_SECONDS, partial(self._still, seat, ended))

    def _still(self, seat: Seat, ended: Ended) -> None:
        """The job should be over by now: if not, its child is killed, or left to run on where others are in it."""
        if ended.token not in seat.jobs or seat not in self._handover.seats:
            return
        if self._pool.config.killable:
            self._pool.kill_for(seat, [ended])
        else:
            self._handover.give_up(seat, ended)
