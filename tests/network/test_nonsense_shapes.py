"""Messages as hypothesis draws them from the descriptors: what it finds wrong it makes small."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.broker_harness import SECONDS, error_of, running
from tests.integration.good_requests import UNARY
from tests.proof.amount import amount

pytestmark = pytest.mark.proof("T20")

SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: st.text(max_size=20) | st.sampled_from(["default", "json", "tasks.add", "x" * 300]),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=40) | st.sampled_from([b"u" * 16, b"[[],{}]", b"{}"]),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_ENUM: st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(0, 9),
    FieldDescriptor.TYPE_UINT32: st.integers(0, (1 << 32) - 1) | st.integers(0, 9),
    FieldDescriptor.TYPE_UINT64: st.integers(0, (1 << 64) - 1) | st.integers(0, 9),
    FieldDescriptor.TYPE_FIXED64: st.integers(0, (1 << 64) - 1) | st.integers(0, 9),
}


@st.composite
def messages(draw: st.DrawFn, kind: Any, deep: int = 5) -> Any:
    """A message of this class with some of its fields set."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if draw(st.booleans()):
            _fill(draw, message, field, deep)
    return message


def _fill(draw: st.DrawFn, message: Any, field: Any, deep: int) -> None:
    value = getattr(message, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        value.update(draw(st.dictionaries(SCALARS[FieldDescriptor.TYPE_STRING], st.integers(0, 1 << 31), max_size=3)))
    elif field.message_type and field.is_repeated:
        for _ in range(draw(st.integers(0, 3)) if deep else 0):
            inner = value.add()
            inner.CopyFrom(draw(messages(type(inner), deep - 1)))
    elif field.message_type:
        value.SetInParent()
        value.CopyFrom(draw(messages(type(value), deep - 1)) if deep else type(value)())
    elif field.is_repeated:
        value.extend(draw(st.lists(SCALARS[field.type], max_size=4)))
    else:
        setattr(message, field.name, draw(SCALARS[field.type]))


CALLS = {name: (service, type(good)) for service, name, good in UNARY if name != "Control"}
"""By name; Control waits for workers."""


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, Any]:
    """A service, a call of it and a request."""
    name = draw(st.sampled_from(sorted(CALLS)))
    service, kind = CALLS[name]
    return service, name, draw(messages(kind))


@contextmanager
def broker(folder: Path) -> Iterator[Any]:
    """A function that calls a broker and returns how that failed, if it did."""
    with asyncio.Runner() as runner:
        place = running(folder)
        site = runner.run(place.__aenter__())
        try:

            def ask(service: str, name: str, request: Any) -> grpc.aio.AioRpcError | None:
                async def call() -> grpc.aio.AioRpcError | None:
                    try:
                        await getattr(getattr(site, service), name)(request, timeout=SECONDS)
                    except grpc.aio.AioRpcError as failure:
                        return failure
                    return None

                return runner.run(call())

            yield ask
        finally:
            runner.run(place.__aexit__(None, None, None))


@pytest.mark.timeout(600)
def test_any_message_gets_an_answer_or_a_reason(tmp_path: Path, counts: Counter[str]) -> None:
    with broker(tmp_path) as ask:

        @settings(
            max_examples=amount(150, 8000),
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(requests())
        def attempt(request: tuple[str, str, Any]) -> None:
            counts["inputs"] += 1
            failure = ask(*request)
            assert failure is None or error_of(failure).reason, failure

        attempt()
