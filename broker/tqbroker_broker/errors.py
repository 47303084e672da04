"""What an error becomes on the wire: one table, and the two ways to say it (a failed call, an item of a batch)."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple, NoReturn

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import status_pb2

from tqbroker.v1 import errors_pb2 as pb
from tqbroker_broker import refusals, storage

log = logging.getLogger("tqbroker.broker")

MAX_MESSAGE = 1500
"""Bytes of a message. A failed call says it in its metadata, three times over and escaped, and gRPC drops a call whole
whose metadata have more than 16 KiB: a name that is quoted must not make the reason vanish."""


class Entry(NamedTuple):
    """How one kind of error is told. `retry_after_ms` 0: trying again unchanged does not help."""

    reason: pb.Reason.ValueType
    code: grpc.StatusCode
    retry_after_ms: int = 0


TABLE: dict[type[Exception], Entry] = {
    refusals.Invalid: Entry(pb.REASON_INVALID, grpc.StatusCode.INVALID_ARGUMENT),
    refusals.UnknownZone: Entry(pb.REASON_INVALID, grpc.StatusCode.INVALID_ARGUMENT),
    refusals.TooLarge: Entry(pb.REASON_TOO_LARGE, grpc.StatusCode.INVALID_ARGUMENT),
    refusals.IdConflict: Entry(pb.REASON_ID_CONFLICT, grpc.StatusCode.ALREADY_EXISTS),
    refusals.NotUnique: Entry(pb.REASON_NOT_UNIQUE, grpc.StatusCode.ALREADY_EXISTS),
    refusals.NotFound: Entry(pb.REASON_NOT_FOUND, grpc.StatusCode.NOT_FOUND),
    refusals.QueueFull: Entry(pb.REASON_QUEUE_FULL, grpc.StatusCode.RESOURCE_EXHAUSTED, 1000),
    refusals.Busy: Entry(pb.REASON_BUSY, grpc.StatusCode.RESOURCE_EXHAUSTED, 100),
    refusals.Stopping: Entry(pb.REASON_STOPPING, grpc.StatusCode.UNAVAILABLE, 500),
    refusals.LeaseLost: Entry(pb.REASON_LEASE_LOST, grpc.StatusCode.FAILED_PRECONDITION),
    refusals.TooSlow: Entry(pb.REASON_TOO_SLOW, grpc.StatusCode.ABORTED),
    refusals.OtherStore: Entry(pb.REASON_OTHER_STORE, grpc.StatusCode.FAILED_PRECONDITION),
    storage.StoreFull: Entry(pb.REASON_STORE_FULL, grpc.StatusCode.RESOURCE_EXHAUSTED, 1000),
    storage.NoRoom: Entry(pb.REASON_NO_ROOM, grpc.StatusCode.RESOURCE_EXHAUSTED),
    storage.Unavailable: Entry(pb.REASON_BUSY, grpc.StatusCode.RESOURCE_EXHAUSTED, 500),
    storage.NameTaken: Entry(pb.REASON_NAME_TAKEN, grpc.StatusCode.FAILED_PRECONDITION),
    storage.QueueInUse: Entry(pb.REASON_INVALID, grpc.StatusCode.FAILED_PRECONDITION),
    storage.Ambiguous: Entry(pb.REASON_AMBIGUOUS, grpc.StatusCode.UNKNOWN, 500),
    storage.Fenced: Entry(pb.REASON_STOPPING, grpc.StatusCode.UNAVAILABLE, 1000),
}


def entry_of(error: Exception) -> Entry | None:
    """The most specific entry for an error; None for one that nobody expected."""
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), None)


def write_error(error: Exception) -> pb.Error:
    """The error as data. One that nobody expected is logged here, with its traceback."""
    entry = entry_of(error)
    if entry is None:
        log.error("an internal error", exc_info=error)
        return pb.Error(message=f"internal error in the broker ({type(error).__name__}): its log says more")
    facts = error.facts if isinstance(error, refusals.RefusalError) else {}
    return pb.Error(reason=entry.reason, message=_cut(str(error)), retry_after_ms=entry.retry_after_ms, facts=facts)


def _cut(message: str) -> str:
    """The message without its middle when it is too long: what is allowed stands at the end."""
    raw = message.encode(errors="replace")
    if len(raw) <= MAX_MESSAGE:
        return message
    half = MAX_MESSAGE // 2 - 4
    return f"{raw[:half].decode(errors='ignore')} … {raw[-half:].decode(errors='ignore')}"


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """Ends the call with this error."""
    entry = entry_of(error)
    code = entry.code if entry else grpc.StatusCode.INTERNAL
    data = write_error(error)
    detail = any_pb2.Any()
    detail.Pack(data)
    status = status_pb2.Status(code=code.value[0], message=data.message, details=[detail])
    await context.abort(code, data.message, (("grpc-status-details-bin", status.SerializeToString()),))
    raise AssertionError("abort always raises")
