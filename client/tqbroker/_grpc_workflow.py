"""Submits of workflows: part after part, each sent again until it is confirmed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc

from tqbroker._grpc_channel import pauses
from tqbroker._grpc_connection import ClosedError, Stubs
from tqbroker._grpc_errors import detail_of, explain, operational, passes, readable, understood, unreachable
from tqbroker.call import Workflow
from tqbroker.exceptions import OperationalError
from tqbroker.shipping import Patience, Verdict
from tqbroker.transport import Refused
from tqbroker.workflow_shipping import Parcel, judge_part, judge_refusal, parcels

if TYPE_CHECKING:
    from tqbroker._grpc_connection import Connection

_FRESH = 1.0
"""Seconds for which an answer proves that the broker is there. Later that is asked first, at the price of a round trip:
what was not sent is surely not stored, and the error can say so."""


class WorkflowSubmitter:
    """All submits of workflows of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heard = float("-inf")

    def submit(self, workflow: Workflow, timeout: float) -> list[Refused]:
        """See Transport.submit_workflow."""
        patience = Patience(timeout, time.monotonic)
        for parcel in parcels(workflow):
            refused = self._deliver(parcel, patience)
            if refused:
                return refused
            patience.renew()
        return []

    def _deliver(self, parcel: Parcel, patience: Patience) -> list[Refused]:
        for pause in pauses():
            verdict = self._attempt(parcel, patience)
            if verdict is not None and verdict.retry_after is None:
                return verdict.refused
            again = (verdict and verdict.retry_after) or pause
            if patience.left() <= again:
                raise parcel.given_up(unreachable(self._connection.address, patience.timeout))
            time.sleep(again)
        raise AssertionError("pauses never end")

    def _attempt(self, parcel: Parcel, patience: Patience) -> Verdict | None:
        """What became of this sending; None when nobody knows, or when nothing was sent."""
        fresh = time.monotonic() - self._heard < _FRESH
        if not fresh and not self._connection.ready(patience.deadline):
            return None
        self._heard = float("-inf")
        try:
            answer = self._connection.once(_call, parcel.request(), max(0.001, patience.left()))
        except ClosedError:
            parcel.unanswered()
            return None
        except grpc.RpcError as error:
            return judge_error(parcel, error, self._connection.address, patience.timeout)
        self._heard = time.monotonic()
        return judge_answer(parcel, answer, self._connection.address)


def judge_answer(parcel: Parcel, answer: Any, address: str) -> Verdict:
    """What an answer means for a part. Raises OperationalError for one that no broker would give."""
    try:
        with understood(address):
            return judge_part(parcel, readable(answer))
    except OperationalError as error:
        parcel.unanswered()
        raise parcel.refused(error.reason, str(error)) from error


def judge_error(parcel: Parcel, error: grpc.RpcError, address: str, timeout: float) -> Verdict | None:
    """What a broken call means for a part. Raises OperationalError when sending it again cannot help."""
    detail = detail_of(error)
    if detail is not None:
        return judge_refusal(parcel, detail)
    if not passes(error):
        raise parcel.refused(operational(error, address, timeout).reason, explain(error, address, timeout))
    parcel.unanswered()
    return None


def _call(stubs: Stubs) -> Any:
    return stubs.queue.SubmitWorkflow
