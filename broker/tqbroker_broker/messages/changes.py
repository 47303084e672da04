"""What an operator orders to be done with jobs: from the wire, checked."""

from __future__ import annotations

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.messages.checks import LATEST_MS, check_range, check_signal
from tqbroker_broker.messages.rules import check_queue
from tqbroker_broker.questions import Change, Drop, Move, Redrive, Reschedule
from tqbroker_broker.refusals import Invalid, TooLarge

MAX_SPACING_MS = 86_400_000
"""A day between two redriven jobs: longer is a schedule."""


def read_change(request: pb.EditJobsRequest, max_args: int) -> Change | None:
    """The change that a request orders; None for a cancel. Raises Invalid, TooLarge."""
    match request.WhichOneof("change"):
        case "redrive":
            return _redrive(request, max_args)
        case "reschedule":
            check_range("due_unix_ms", request.reschedule.due_unix_ms, 0, LATEST_MS)
            return Reschedule(request.reschedule.due_unix_ms)
        case "move":
            return _move(request.move)
        case "drop":
            return Drop()
        case "cancel":
            check_signal(request.cancel.terminate, request.cancel.signal)
            return None
        case _:
            raise Invalid("no change is set: set one of redrive, reschedule, move, drop and cancel")


def _redrive(request: pb.EditJobsRequest, max_args: int) -> Redrive:
    redrive = request.redrive
    check_range("spacing_ms", redrive.spacing_ms, 0, MAX_SPACING_MS)
    if not redrive.args:
        return Redrive(None, redrive.spacing_ms, request.already)
    if len(request.ids.uuids) // 16 + len(request.ids.texts) != 1:
        raise Invalid("new args are for one job: name a single id with them")
    if len(redrive.args) > max_args:
        text = f"the arguments have {len(redrive.args)} bytes and may have {max_args}: put large things into a file"
        raise TooLarge(text, limit_bytes=str(max_args))
    return Redrive(redrive.args, redrive.spacing_ms, request.already)


def _move(move: pb.Move) -> Move:
    if move.queue:
        check_queue(move.queue)
    priority = move.priority if move.HasField("priority") else None
    if priority is not None:
        check_range("priority", priority, 0, 9)
    return Move(move.queue or None, priority)
