"""What is sent to every call of every service, by a seed."""

from __future__ import annotations

import base64
import zlib
from random import Random
from typing import NamedTuple

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from tests.integration.good_requests import HELLO, SAYS, STREAMS, UNARY
from tests.network.mutation import Mutation

from tqbroker.v1 import admin_pb2, queue_pb2, worker_pb2


class Input(NamedTuple):
    """What is sent in one call: a message, or several on a stream. `path` is the call's name on the wire."""

    path: str
    messages: tuple[bytes, ...]

    def __str__(self) -> str:
        """As TQ_INPUT takes it."""
        packed = [base64.b64encode(zlib.compress(each)).decode() for each in self.messages]
        return ":".join([self.path, *packed])

    @classmethod
    def parse(cls, text: str) -> Input:
        """The input that was printed so."""
        path, *packed = text.split(":")
        return cls(path, tuple(zlib.decompress(base64.b64decode(each)) for each in packed))


class Call(NamedTuple):
    """One call of a service with good messages for it. `first` is what its stream has to begin with."""

    path: str
    streams_up: bool
    streams_down: bool
    goods: list[Message]
    first: Message | None = None


def services() -> list[ServiceDescriptor]:
    """Every service of ours."""
    files = (queue_pb2, admin_pb2, worker_pb2)
    return [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]


def calls() -> dict[str, Call]:
    """Every call of every service, by its path."""
    found: dict[str, Call] = {}
    for service in services():
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            first = _HELLO if method.name == "Work" else None
            found[path] = Call(path, method.client_streaming, method.server_streaming, _goods(method.name), first)
    return found


_HELLO = worker_pb2.WorkRequest(number=1, hello=HELLO, credit=worker_pb2.Credit(slots=1, window=1))


def _goods(name: str) -> list[Message]:
    if name == "Work":
        return [_HELLO, *(message for _, message in SAYS)]
    if name == "WatchEvents":
        return [admin_pb2.WatchEventsRequest(after=1, kinds=[admin_pb2.EVENT_KIND_SENT])]
    if name == "Backup":
        return [admin_pb2.BackupRequest()]
    return [good for _, call, good in UNARY if call == name] + [good for call, good in STREAMS if call == name]


class Inputs:
    """An endless source: the same seed gives the same inputs, whatever became of those before."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._calls = calls()
        self._paths = sorted(self._calls)
        corpus = [good.SerializeToString() for call in self._calls.values() for good in call.goods]
        self._mutation = Mutation(self._random, corpus)

    def next(self) -> Input:
        """One more."""
        call = self._calls[self._random.choice(self._paths)]
        good = self._random.choice(call.goods)
        bad = self._mutation.bad(good)
        if call.first is None or good is call.first:
            return Input(call.path, (bad,))
        return Input(call.path, (call.first.SerializeToString(), bad))
