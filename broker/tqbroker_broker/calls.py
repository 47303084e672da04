"""The one way a call reaches its handler: methods are found by name, errors are told by the table.

A service is any object with a coroutine method for each call of its proto service: `EnqueueStream` is `enqueue_stream`.
Unary ones take the request and return the answer; the others read and write through the context, and get the request
when there is only one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from tqbroker_broker.errors import abort
from tqbroker_broker.refusals import Invalid

Context = grpc.aio.ServicerContext[Any, Any]

Decode = Callable[[bytes], Any]

EOF: object = vars(grpc.aio)["EOF"]
"""What `context.read()` returns when the client has half-closed its side."""


LAST_WRITE = 5.0
"""Seconds a write under way may still take when its reader has failed."""


async def run_pair(reader: asyncio.Task[None], writer: asyncio.Task[None], reader_ended: Callable[[], None]) -> None:
    """Runs the two sides of a stream until the writer ends; `reader_ended` tells it that nothing more will come.

    A write is never broken off while the call goes on: gRPC could then not send the status either.
    """
    try:
        await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        if reader.done():
            reader_ended()
            failed = reader.exception() is not None
            await asyncio.wait({writer}, timeout=LAST_WRITE if failed else None)
    finally:
        reader.cancel()
        writer.cancel()
        await asyncio.gather(reader, writer, return_exceptions=True)
    for task in (reader, writer):
        if not task.cancelled():
            task.result()


def register(server: grpc.aio.Server, service: ServiceDescriptor, implementation: object) -> None:
    """Serves every call of a proto service. AttributeError when one has no method."""
    handlers = {method.name: _handler(method, implementation) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _handler(method: MethodDescriptor, implementation: object) -> grpc.RpcMethodHandler[Any, Any]:
    call = getattr(implementation, re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower())
    decode = _reader_of(method.input_type)
    encode = GetMessageClass(method.output_type).SerializeToString
    if method.client_streaming and method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(_streaming(call), decode, encode)
    if method.client_streaming:
        raise TypeError(f"{method.full_name} streams only up: such calls are not served")
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(_pouring(call, decode), None, encode)
    return grpc.unary_unary_rpc_method_handler(_unary(call, decode), None, encode)


def _reader_of(kind: Descriptor) -> Decode:
    """What makes a message of its bytes, or raises Invalid. gRPC itself would call bytes that are none INTERNAL."""
    parse = GetMessageClass(kind).FromString

    def decode(raw: bytes) -> Any:
        try:
            return parse(raw)
        except DecodeError as error:
            raise Invalid(
                f"these {len(raw)} bytes are no {kind.full_name}: cut short, nested too deep, a text that is not UTF-8,"
                " or made for another call"
            ) from error

    return decode


def _unary(call: Callable[[Any], Awaitable[Any]], decode: Decode) -> Callable[[bytes, Context], Awaitable[Any]]:
    async def answer(raw: bytes, context: Context) -> Any:
        try:
            return await call(decode(raw))
        except Exception as error:
            await abort(context, error)

    return answer


def _streaming(call: Callable[[Context], Awaitable[None]]) -> Callable[[Any, Context], Any]:
    async def serve(_: Any, context: Context) -> None:
        try:
            await call(context)
        except Exception as error:
            await abort(context, error)

    return serve


def _pouring(call: Callable[[Any, Context], Awaitable[None]], decode: Decode) -> Callable[[bytes, Context], Any]:
    async def serve(raw: bytes, context: Context) -> None:
        try:
            await call(decode(raw), context)
        except Exception as error:
            await abort(context, error)

    return serve
