"""Bugs in how a broker begins: what it takes for its own, and what it lets in."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from typing import Any

import grpc.aio
import lmdb
from tests.mutants.registry import Plant, mutant

from tqbroker_broker import listening
from tqbroker_broker.storage.lmdb import opening


@mutant("nobody locks the data directory, so that two brokers use it", breaks="P4")
def directory_not_locked(plant: Plant) -> None:
    plant(fcntl, "flock", lambda *_: None)


@mutant("two brokers share a port without a word, and each gets half of the calls", breaks="P3")
def port_is_shared(plant: Plant) -> None:
    plant(listening, "OPTIONS", [*listening.OPTIONS, ("grpc.so_reuseport", 1)])


@mutant("a store is opened whatever its format", breaks="I9")
def format_not_checked(plant: Plant) -> None:
    def trust(env: lmdb.Environment) -> None:
        return None

    plant(opening, "check_format", trust)


@mutant("who connects and says nothing is never thrown out", breaks="I10")
def silence_has_no_end(plant: Plant) -> None:
    _serve_without(plant, "grpc.server_handshake_timeout_ms")


@mutant("there may be any number of connections", breaks="I10")
def connections_have_no_bound(plant: Plant) -> None:
    _serve_without(plant, "grpc.max_allowed_incoming_connections")


def _serve_without(plant: Plant, option: str) -> None:
    create: Callable[..., grpc.aio.Server] = grpc.aio.server

    def weak(*, options: list[tuple[str, Any]]) -> grpc.aio.Server:
        return create(options=[each for each in options if each[0] != option])

    plant(grpc.aio, "server", weak)
