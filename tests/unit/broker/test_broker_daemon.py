"""What both daemons share: logs, signals, failpoints."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
from collections.abc import Iterator

import pytest

from tqbroker._daemon import StopSignals, configure_logging, get_logger
from tqbroker._failpoint import NAMES, FailpointError, arm, hit


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    arm({})


@pytest.fixture
def plain_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def armed(spec: str) -> None:
    arm({"TQ_FAILPOINT": spec, "TQ_TESTING": "1"})


@pytest.mark.usefixtures("plain_logging")
def test_our_logs_and_those_of_libraries_come_out_as_one_json_line_each() -> None:
    out = io.StringIO()
    configure_logging("INFO", out)
    get_logger("tqbroker.test").info("worker_joined", worker="w1")
    get_logger("tqbroker.test").debug("too quiet")
    logging.getLogger("library").warning("odd %s", "thing", extra={"code": 5})
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["event"], first["worker"], first["level"], first["logger"]) == (
        "worker_joined",
        "w1",
        "info",
        "tqbroker.test",
    )
    assert (second["event"], second["code"]) == ("odd thing", 5)


def test_an_unknown_level_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="use one of debug, info, warning, error, critical"):
        configure_logging("loud")


async def test_the_first_signal_asks_and_the_second_hurries() -> None:
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.first.wait(), 5)
        assert (stop.name, stop.second.is_set()) == ("SIGTERM", False)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(stop.second.wait(), 5)
        assert stop.name == "SIGTERM"


def test_unarmed_failpoints_do_nothing() -> None:
    for name in NAMES:
        hit(name)


@pytest.mark.usefixtures("disarmed")
def test_a_failpoint_acts_at_the_hit_it_was_told() -> None:
    armed("in_due:2=raise")
    hit("in_due")
    hit("in_expire")
    with pytest.raises(FailpointError, match="in_due"):
        hit("in_due")
    hit("in_due")


@pytest.mark.usefixtures("disarmed")
def test_a_star_means_every_hit_and_several_places_can_be_armed() -> None:
    armed("in_due:*=raise; in_expire=sleep:0")
    hit("in_expire")
    for _ in range(3):
        with pytest.raises(FailpointError):
            hit("in_due")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere=raise", "unknown place 'nowhere'"),
        ("in_due=explode", "use kill9, sleep:SECONDS or raise"),
        ("in_due:x=raise", "bad number"),
        ("in_due:0=raise", "counts from 1"),
        ("in_due=sleep:long", "bad number"),
    ],
)
def test_a_specification_that_cannot_be_meant_is_refused(spec: str, words: str) -> None:
    with pytest.raises(FailpointError, match=words):
        armed(spec)


def test_failpoints_are_for_tests_only() -> None:
    with pytest.raises(FailpointError, match="TQ_TESTING=1"):
        arm({"TQ_FAILPOINT": "in_due=raise"})
