"""`tqbroker serve` as an operator meets it: one start line, one sentence when it cannot, a clean end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.footprint import spent
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import free_port, until

from tqbroker_broker import __version__

FAILED, USAGE = 1, 2


def refusal(daemon: Daemon, code: int) -> str:
    """The one sentence with which a broker refuses to start, after it has ended with this exit code."""
    daemon.start()
    assert daemon.wait() == code, daemon.log.tail()
    assert daemon.log.closed(5)
    (sentence,) = daemon.log.text().splitlines()
    assert sentence.startswith("tqbroker serve: ")
    return sentence


def restart(site: Site, broker: Daemon) -> float:
    """Seconds of processor time from the command to the start line: on an idle machine it takes no longer."""
    assert broker.stop() == os.EX_OK
    site.started(broker)
    return spent(broker.pid)


def test_the_start_line_says_where_what_and_how_safe(site: Site) -> None:
    broker = site.broker()

    ready = broker.expect_event("ready")

    assert ready["address"] == site.address
    assert ready["data_dir"] == str(site.data)
    assert "fsync" in ready["durability"]
    assert ready["version"] == __version__


def test_it_is_ready_in_well_under_a_second(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    broker = site.broker()
    took = min(restart(site, broker) for _ in range(3))

    with capsys.disabled():
        print(f" [ready after {took:.2f} s of processor time] ", end="")
    assert took < 2, "a busy machine gives it later, but no more of it"


def test_the_log_is_one_json_object_a_line(site: Site) -> None:
    broker = site.broker()
    site.worker()
    assert broker.stop() == os.EX_OK
    assert broker.log.closed(5)

    events = [json.loads(line) for line in broker.log.text("stderr").splitlines()]

    assert broker.log.text("stdout") == ""
    assert len(events) >= 2
    assert all({"event", "level", "logger", "timestamp"} <= event.keys() for event in events)


def test_a_second_broker_on_the_same_directory_is_refused(site: Site) -> None:
    site.broker()
    elsewhere = f"127.0.0.1:{free_port()}"

    sentence = refusal(site.daemon("second", "serve", "--data-dir", site.data, "--listen", elsewhere), FAILED)

    assert str(site.data) in sentence
    site.wire.health()


def test_a_second_broker_on_the_same_port_is_refused(site: Site, tmp_path: Path) -> None:
    site.broker()

    sentence = refusal(site.daemon("second", "serve", "--data-dir", tmp_path / "d", "--listen", site.address), FAILED)

    assert site.address in sentence
    site.wire.health()


@pytest.mark.parametrize("address", ["0.0.0.0:7730", "192.0.2.1:7730", "[::]:7730", "broker.example:7730"])
def test_an_address_that_others_could_reach_is_refused(site: Site, address: str) -> None:
    sentence = refusal(site.daemon("open", "serve", "--data-dir", site.data, "--listen", address), USAGE)

    assert address in sentence
    assert "127.0.0.1:7730" in sentence
    assert not site.data.exists()


def test_failpoints_are_refused_outside_of_tests(site: Site) -> None:
    daemon = site.daemon("broker", "serve", "--data-dir", site.data, "--listen", site.address)
    daemon.environment["TQ_FAILPOINT"] = "after_commit=kill9"

    assert "TQ_TESTING=1" in refusal(daemon, USAGE)


def test_a_wrong_setting_is_refused_with_what_is_allowed(site: Site) -> None:
    daemon = site.daemon("broker", "serve", "--data-dir", site.data, "--lease-ttl", "soon")

    sentence = refusal(daemon, USAGE)

    assert "--lease-ttl" in sentence
    assert "number" in sentence


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_drains_and_ends_well(site: Site, number: signal.Signals) -> None:
    broker = site.broker()
    site.worker()

    with Load(site.calls.mark, site.history, 600) as load:
        load.after(200)
        broker.signal(number)
        assert broker.wait() == os.EX_OK
        site.started(broker)

    site.check(lost=0)
    assert not site.history.read().refused


def test_it_serves_on_a_unix_socket_and_ends_with_nobody_there(site: Site) -> None:
    path = site.folder / "tq.sock"
    broker = site.daemon("broker", "serve", "--data-dir", site.data, "--listen", f"unix:{path}")
    broker.start()
    broker.expect_event("ready")

    done = site.tqbroker("status", TQBROKER_URL=f"tq+unix://{path}")

    assert done.returncode == os.EX_OK, done.stderr
    assert broker.stop() == os.EX_OK


def test_a_broker_that_stops_says_not_serving_before_it_is_gone(site: Site) -> None:
    broker = site.broker()
    site.worker()
    submit_many(site.calls.hold, site.history, 2)
    until(lambda: len(site.history.read().starts) == 2, "both jobs to run")
    told = site.wire.told()
    assert next(told) == "SERVING"
    assert broker.stop() == 0
    assert list(told) == ["NOT_SERVING"]
    site.gate.touch()
