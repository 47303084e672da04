"""A server of any calls whose answers are bytes: what a broker would never say, a client may hear all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from tests.network.inputs import calls

Reply = Callable[[str, bytes], bytes]
"""From the path of a call and its request to the answer."""

OPTIONS = [("grpc.so_reuseport", 0), ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000)]

DEEP = 4
"""Messages in messages that `filled` fills."""


class RawServer(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers each message of every call of our services with what `reply` makes of it."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._calls = calls()
        self._server = grpc.server(ThreadPoolExecutor(32), handlers=[self], options=OPTIONS)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, handler_call_details: Any) -> Any:
        """How a call is served."""
        path = str(handler_call_details.method)
        call = self._calls.get(path)
        if call is None:
            return None
        if call.streams_up:
            return grpc.stream_stream_rpc_method_handler(lambda requests, _: self._each(path, requests))
        if call.streams_down:
            return grpc.unary_stream_rpc_method_handler(lambda request, _: iter([self._reply(path, request)]))
        return grpc.unary_unary_rpc_method_handler(lambda request, _: self._reply(path, request))

    def _each(self, path: str, requests: Iterator[bytes]) -> Iterator[bytes]:
        for request in requests:
            yield self._reply(path, request)

    def close(self) -> None:
        """Ends every call."""
        self._server.stop(None).wait()


def filled(kind: Descriptor, deep: int = DEEP) -> Any:
    """A message with something in each of its fields: as much as there is to be made wrong."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["1"] = "1" if _is_text(field.message_type.fields_by_name["value"]) else 1
        elif field.message_type:
            if deep:
                inner = filled(field.message_type, deep - 1)
                value = getattr(message, field.name)
                value.add().CopyFrom(inner) if field.is_repeated else value.CopyFrom(inner)
        elif field.is_repeated:
            getattr(message, field.name).append(_value(field))
        else:
            setattr(message, field.name, _value(field))
    return message


def _is_text(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING


def _value(field: FieldDescriptor) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return "json" if "format" in field.name else "1"
        case FieldDescriptor.TYPE_BYTES:
            return b"1" * 16
        case FieldDescriptor.TYPE_BOOL:
            return True
    return 1
