"""The gRPC server itself: its options, its addresses, and health."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from typing import Any

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tqbroker_broker.addresses import parse_listen
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.descriptors import RESERVED, allowed

log = logging.getLogger("tqbroker.broker")

OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 0),  # a second broker on the port is an error, not a silent sharing
    ("grpc.max_concurrent_streams", 128),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
]


class CannotListen(Exception):
    """An address that is taken or not ours; the message is one sentence for the operator."""


def create_server(config: BrokerConfig) -> grpc.aio.Server:
    """A server that does not listen yet."""
    most = min(config.max_connections, max(1, (allowed() - RESERVED) // len(config.listen)))
    if most < config.max_connections:
        log.warning(
            "this process may have %s open files: %s connections on each address, not %s (max_connections); raise it "
            "with `ulimit -n` or LimitNOFILE",
            allowed(),
            most,
            config.max_connections,
        )
    return grpc.aio.server(
        options=[
            *OPTIONS,
            ("grpc.max_allowed_incoming_connections", most),
            ("grpc.server_handshake_timeout_ms", round(config.handshake_timeout * 1000)),
        ]
    )


def listen(server: grpc.aio.Server, addresses: Iterable[str]) -> list[str]:
    """Binds addresses as `parse_listen` takes them. Returns them with the ports they got. Raises CannotListen."""
    return [_bind(server, parse_listen(address)) for address in addresses]


def _bind(server: grpc.aio.Server, address: str) -> str:
    if address.startswith("unix:"):
        _check_unix(address)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise CannotListen(
            f"cannot listen on {address}: another program has it, or it is not allowed; stop that, or choose another"
            " with --listen"
        ) from error
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


def _check_unix(address: str) -> None:
    """gRPC would replace the socket of a living server without a word."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address.removeprefix("unix:"))
        except OSError:
            return
    raise CannotListen(
        f"cannot listen on {address}: another program has it; stop that, or choose another with --listen"
    )


class Health:
    """The standard health service: what load balancers and supervisors ask."""

    def __init__(self, server: grpc.aio.Server, services: Iterable[str]) -> None:
        self._names = ["", *services]
        self._servicer: Any = vars(health)["aio"].HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, serving: bool) -> None:
        """Says the same of every service and of the whole."""
        status = health_pb2.HealthCheckResponse
        for name in self._names:
            await self._servicer.set(name, status.SERVING if serving else status.NOT_SERVING)
