"""What a failed call says of an order: surely not done, or perhaps."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import status_pb2

from tqbroker._grpc_errors import operational
from tqbroker.v1 import errors_pb2


class FailedCall(grpc.RpcError):
    """As gRPC raises it, with what a broker says if it says anything."""

    def __init__(self, code: grpc.StatusCode, reason: errors_pb2.Reason.ValueType | None = None) -> None:
        super().__init__()
        self._code = code
        self._metadata: tuple[tuple[str, bytes], ...] = ()
        if reason is not None:
            detail = any_pb2.Any()
            detail.Pack(errors_pb2.Error(reason=reason, message="why"))
            status = status_pb2.Status(details=[detail])
            self._metadata = (("grpc-status-details-bin", status.SerializeToString()),)

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def trailing_metadata(self) -> Any:
        """Where the broker's error is."""
        return self._metadata


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (FailedCall(grpc.StatusCode.DEADLINE_EXCEEDED), "unknown"),
        (FailedCall(grpc.StatusCode.UNAVAILABLE), "unknown"),
        (FailedCall(grpc.StatusCode.UNIMPLEMENTED), "rejected"),
        (FailedCall(grpc.StatusCode.INTERNAL, errors_pb2.REASON_UNSPECIFIED), "unknown"),
        (FailedCall(grpc.StatusCode.UNKNOWN, errors_pb2.REASON_AMBIGUOUS), "unknown"),
        (FailedCall(grpc.StatusCode.INVALID_ARGUMENT, errors_pb2.REASON_INVALID), "rejected"),
        (FailedCall(grpc.StatusCode.RESOURCE_EXHAUSTED, errors_pb2.REASON_BUSY), "rejected"),
    ],
)
def test_an_order_is_rejected_only_when_it_was_surely_not_done(call: FailedCall, outcome: str) -> None:
    assert operational(call, "host:1", 1.0).outcome == outcome
