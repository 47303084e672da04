"""What a failed gRPC call means to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from tqbroker.exceptions import OperationalError
from tqbroker.shipping import CERTAIN, reason_name
from tqbroker.v1 import errors_pb2

T = TypeVar("T")

_DETAILS = "grpc-status-details-bin"

# The connection or the broker went away: the same call may succeed on the next one.
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


def passes(error: grpc.RpcError) -> bool:
    """Whether trying again can help."""
    return _code(error) in _PASSING


def unreachable(address: str, timeout: float) -> str:
    """The sentence for a broker that does not answer."""
    return (
        f"no broker answered at {address} within {timeout:g} s: start one with `tqbroker serve`, "
        "or correct the URL (broker=, TQBROKER_URL)"
    )


def explain(error: grpc.RpcError, address: str, timeout: float) -> str:
    """One sentence about a call that failed."""
    detail = detail_of(error)
    if detail is not None:
        return detail.message
    code = _code(error)
    if code in _AWAY:
        return unreachable(address, timeout)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"what listens at {address} is not a tqbroker, or of another version: {_text(error)}"
    return f"the call to {address} failed with {code.name}: {_text(error)}"


def operational(error: grpc.RpcError, address: str, timeout: float) -> OperationalError:
    """The exception for a question or an order that was not answered. What was sent may have been done."""
    detail = detail_of(error)
    reason = reason_name(detail) if detail is not None else "UNREACHABLE" if _code(error) in _AWAY else "FAILED"
    certain = detail.reason in CERTAIN if detail is not None else not passes(error)
    text = f"{explain(error, address, timeout)} [{reason}]"
    return OperationalError(text, reason=reason, outcome="rejected" if certain else "unknown")


def detail_of(error: grpc.RpcError) -> errors_pb2.Error | None:
    """The reason that the broker sent with the status, if it did."""
    metadata: Any = getattr(error, "trailing_metadata", lambda: None)()
    for name, value in metadata or ():
        if name == _DETAILS:
            try:
                return _reason_in(status_pb2.Status.FromString(value))
            except DecodeError:  # something between the broker and us has made this up
                return None
    return None


def _reason_in(status: status_pb2.Status) -> errors_pb2.Error | None:
    for detail in status.details:
        found = errors_pb2.Error()
        if detail.Unpack(found):
            return found
    return None


def readable(answer: T | None) -> T:
    """The answer itself. gRPC's asyncio client gives None for bytes that it cannot read: that raises ValueError."""
    if answer is None:
        raise ValueError("bytes that are no message")
    return answer


@contextmanager
def understood(address: str) -> Iterator[None]:
    """Around the reading of an answer: what no broker of this version says raises OperationalError."""
    try:
        yield
    except (ValueError, LookupError, DecodeError) as error:
        raise OperationalError(
            f"what {address} answers is not what a tqbroker of this version says "
            f"({type(error).__name__}: {error}): run the same version there and here [FAILED]",
            reason="FAILED",
        ) from error


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    code: Any = getattr(error, "code", lambda: None)()
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def _text(error: grpc.RpcError) -> str:
    return str(getattr(error, "details", lambda: "")() or "")


def again(error: grpc.RpcError) -> bool:
    """Whether to ask a question again: the connection went away, or the broker is busy for the moment."""
    codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
    return _code(error) in codes


def answered(error: grpc.RpcError) -> bool:
    """Whether somebody is there: whatever it said, it said something."""
    return _code(error) not in _AWAY and _code(error) is not grpc.StatusCode.CANCELLED
