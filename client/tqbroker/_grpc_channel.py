"""How channels to the broker are set up."""

from __future__ import annotations

from collections.abc import Iterator

# A dead peer is noticed within 15 s and a restarted broker within about a second. A proxy would break long streams.
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
)


_LONGEST = 365 * 24 * 3600.0
"""Seconds. gRPC counts deadlines in nanoseconds since 1970, and takes one beyond the year 2262 for one that is over."""


def limit(seconds: float | None) -> float | None:
    """The time that a call is given, as gRPC takes it: None, for ever, when it is longer than any clock runs."""
    return None if seconds is None or seconds >= _LONGEST else seconds


def pauses() -> Iterator[float]:
    """Seconds between attempts when the broker names none: at first nothing to speak of, then up to half a second."""
    pause = 0.05
    while True:
        yield pause
        pause = min(pause * 2, 0.5)
