"""What the broker did not store of what it was told: for good, or for the time being."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tqbroker._daemon import get_logger
from tqbroker.v1 import errors_pb2
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_worker.ledger import Ledger
from tqbroker_worker.notes import Notes

_LATER = frozenset(
    {errors_pb2.REASON_STORE_FULL, errors_pb2.REASON_BUSY, errors_pb2.REASON_STOPPING, errors_pb2.REASON_AMBIGUOUS}
)
"""Reasons with which the broker asks to keep an outcome and send it again."""
_GONE = frozenset({errors_pb2.REASON_LEASE_LOST, errors_pb2.REASON_OTHER_STORE})
"""Reasons with which an outcome has no effect; any other concerns what its job said while it ran."""
_RETRY_MS = 1000
"""When to send it again if the broker does not say."""
MOST_LOGGED = 10
"""Ids in one line of the log."""


class Refusals:
    """Keeps what is to be sent again until it is time. `wake` is called then.

    `later(seconds, function)` calls a function after a while.
    """

    def __init__(
        self,
        ledger: Ledger,
        notes: Notes,
        later: Callable[[float, Callable[[], None]], object],
        wake: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._notes = notes
        self._later = later
        self._wake = wake
        self._log = get_logger("tqbroker.worker")
        self._retry_planned = False

    def take(self, refused: Sequence[pb.Refused]) -> None:
        """Takes the refusals of one message in. To be called before its acknowledgement is."""
        passing = {each.token for each in refused if each.error.reason in _LATER}
        final = {each.token: each.error.message for each in refused if each.token not in passing}
        said = self._notes.refused(final, passing)
        self._without_effect({each.token: each.error.message for each in refused if each.error.reason in _GONE})
        if passing:
            outcomes = Counter(each.token for each in refused if each.token in passing) - Counter(said)
            self._ledger.keep(set(outcomes))
            self._plan_retry(max(each.error.retry_after_ms for each in refused) or _RETRY_MS)

    def _without_effect(self, gone: Mapping[int, str]) -> None:
        leases = [(token, source) for token, source in self._ledger.sent() if token in gone]
        if leases:
            why = gone[leases[0][0]]
            ids = [source.id_of(token) for token, source in leases[:MOST_LOGGED]]
            self._log.warning(f"{len(leases)} outcomes had no effect: {why}", ids=ids)

    def _plan_retry(self, delay_ms: int) -> None:
        if not self._retry_planned:
            self._retry_planned = True
            self._log.warning(f"the broker has no room now: what it cannot store is sent again in {delay_ms} ms")
            self._later(delay_ms / 1000, self._retry)

    def _retry(self) -> None:
        self._retry_planned = False
        self._ledger.retry()
        self._notes.retry()
        self._wake()
