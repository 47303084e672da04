"""Whoever finds the port may send what he likes: the others are served, and when he is gone nothing of him is left."""

from __future__ import annotations

import contextlib
import resource
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from random import Random

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.footprint import KIB, MIB, Footprint, footprint
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.mutants.catching import catches
from tests.network.http2 import HELLO, call_and_reset, connected, garbage, is_closed
from tests.proof.amount import amount, numbers

pytestmark = pytest.mark.proof("T21")

TIMEOUT = ("--handshake-timeout", "1")
"""Seconds after which who does not speak HTTP/2 is thrown out, in these tests."""

SERVED = 1.0
"""Seconds within which others are served meanwhile."""

EACH = 16 * KIB
"""Bytes for one connection that says nothing."""

LEFT = 64 * MIB
"""Bytes that a broker may have more than before when all is over: allocators give back late, if at all."""


def may_open(count: int) -> None:
    """Lets this process have so many connections, or skips the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 200:
        if hard < count + 200:
            pytest.skip(f"this system lets a process have {hard} open files, {count + 200} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 200, hard))


@contextmanager
def many(address: str, count: int) -> Iterator[list[socket.socket]]:
    """So many TCP connections."""
    may_open(count)
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connections.append(connected(address))
        yield connections
    finally:
        for connection in connections:
            connection.close()


def rested(site: Site, broker: Daemon) -> Footprint:
    """What it takes once it has served somebody."""
    site.wire.health(PATIENCE)
    return footprint(broker.pid)


def is_as_before(site: Site, broker: Daemon, before: Footprint, at_once: int = 100) -> None:
    """It serves at its usual speed, and has given back what it took for so many connections at once, roughly."""
    until(lambda: footprint(broker.pid).descriptors <= before.descriptors + 4, "its descriptors to be as before")
    after = footprint(broker.pid)
    assert after.threads <= before.threads + 4
    assert after.anonymous <= before.anonymous + LEFT + at_once * EACH
    assert site.wire.health(PATIENCE) < SERVED


def idle(site: Site, broker: Daemon, count: int, patience: float = PATIENCE) -> None:
    """So many connect and say nothing: they are thrown out, and disturb nobody."""
    before = rested(site, broker)
    with many(site.address, count) as connections:
        slowest = 0.0
        for _ in range(20):
            slowest = max(slowest, site.wire.health(PATIENCE))
        assert slowest < SERVED
        until(lambda: all(map(is_closed, connections)), "all of them to be thrown out", patience, pause=0.2)
        assert footprint(broker.pid).anonymous - before.anonymous < LEFT + count * EACH
    is_as_before(site, broker, before, count)


def test_thousands_of_idle_connections_are_thrown_out_and_disturb_nobody(site: Site, counts: Counter[str]) -> None:
    count = amount(3000, 10_000)
    idle(site, site.broker(*TIMEOUT), count)
    counts["connections"] += count


@catches("silence_has_no_end")
def test_idle_connections_show_that_nobody_throws_them_out(site: Site, mutant: str) -> None:
    with pytest.raises(AssertionError, match="in vain for: all of them to be thrown out"):
        idle(site, site.broker(*TIMEOUT, mutant=mutant), 100, patience=5)


def test_bytes_that_are_no_http2_and_frames_that_are_broken_end_only_their_connection(
    site: Site, counts: Counter[str]
) -> None:
    broker = site.broker(*TIMEOUT)
    before = rested(site, broker)
    for seed in numbers(1, 5):
        random = Random(seed)
        for number in range(amount(500, 4000)):
            raw = garbage(random)
            with contextlib.closing(connected(site.address)) as connection, contextlib.suppress(OSError):
                connection.sendall(raw)
                if number % 10 == 0:
                    connection.settimeout(0.01)
                    connection.recv(4096)
            assert broker.running, f"TQ_SEED={seed}: it died of {raw[:2000]!r}"
            counts["inputs"] += 1
    is_as_before(site, broker, before)


def test_calls_that_are_taken_back_at_once_cost_others_nothing(site: Site, counts: Counter[str]) -> None:
    broker = site.broker(*TIMEOUT)
    before = rested(site, broker)
    for _ in range(amount(4, 40)):
        with contextlib.closing(connected(site.address)) as connection, contextlib.suppress(OSError):
            connection.sendall(HELLO)
            for first in range(1, 10_000, 1000):
                connection.sendall(call_and_reset("/tqbroker.v1.Queue/Get", range(first, first + 1000, 2)))
                counts["inputs"] += 500
        assert site.wire.health(PATIENCE) < SERVED
    is_as_before(site, broker, before)


def test_a_client_that_sends_a_byte_now_and_then_is_thrown_out(site: Site, counts: Counter[str]) -> None:
    broker = site.broker(*TIMEOUT)
    before = rested(site, broker)
    with many(site.address, 50) as connections:
        end = time.monotonic() + PATIENCE
        for byte in cycle(HELLO):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(bytes([byte]))
            assert site.wire.health(PATIENCE) < SERVED
            if all(map(is_closed, connections)):
                break
            assert time.monotonic() < end, "they are still there"
            time.sleep(0.1)
    is_as_before(site, broker, before)
    counts["connections"] += 50


def beyond_the_most(site: Site, broker: Daemon, patience: float = PATIENCE) -> None:
    """100 connect where 40 may: the others are closed at once, and who is there is served."""
    site.wire.health(PATIENCE)
    with many(site.address, 100) as connections:
        until(lambda: sum(map(is_closed, connections)) >= 60, "those beyond the most to be closed", patience)
        assert site.wire.health(PATIENCE) < SERVED, "who is there is served"
    until(lambda: footprint(broker.pid).descriptors < 40, "them to be gone")
    with many(site.address, 20) as connections:
        for connection in connections:
            connection.sendall(HELLO)
            assert connection.recv(9), "it answers with its settings"


def test_connections_beyond_the_most_are_closed_at_once_and_have_room_later(site: Site, counts: Counter[str]) -> None:
    beyond_the_most(site, site.broker("--max-connections", "40"))
    counts["connections"] += 120


@catches("connections_have_no_bound")
def test_connections_beyond_the_most_show_that_there_is_no_bound(site: Site, mutant: str) -> None:
    with pytest.raises(AssertionError, match="in vain for: those beyond the most to be closed"):
        beyond_the_most(site, site.broker("--max-connections", "40", mutant=mutant), patience=3)


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="there is no prlimit here, which starts it with few files")
def test_a_broker_that_may_have_few_files_says_so_and_goes_on_when_they_are_all_taken(
    site: Site, counts: Counter[str]
) -> None:
    broker = site.broker(*TIMEOUT, under=("prlimit", "--nofile=200:200"))
    broker.expect("200 open files")
    site.wire.health(PATIENCE)
    with many(site.address, 300):
        assert site.calls.mark.delay(0), "a job can be stored while all are taken"
    until(lambda: footprint(broker.pid).descriptors < 60, "them to be gone")
    assert site.wire.health(PATIENCE) < SERVED
    counts["connections"] += 300
