"""The harness finds planted bugs: tests that cannot fail prove nothing."""

from __future__ import annotations

import shutil
import socket

import pytest
from tests.acceptance.harness.checker import violations
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.proxy import Proxy
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until
from tests.crash.failpoints import armed
from tests.mutants.catching import catches
from tests.proof.stores import faults_of

from tqbroker.v1 import job_pb2

pytestmark = pytest.mark.crash


def found(site: Site) -> str:
    statuses = site.wire.statuses(list(site.history.read().acknowledged.values()))
    return "\n".join(violations(site.history.read(), statuses))


def unknown(site: Site) -> list[str]:
    """Acknowledged jobs of which the broker knows nothing."""
    statuses = site.wire.statuses(list(site.history.read().acknowledged.values()))
    return [job for job, status in statuses.items() if status.state == job_pb2.STATE_UNKNOWN]


def test_a_broker_that_acknowledges_what_is_not_on_the_disk_is_caught(site: Site) -> None:
    """The engine that keeps everything in memory answers exactly as it should, until it is killed."""
    broker = site.broker("--storage", "memory:")

    with Load(site.calls.mark, site.history, 500) as load:
        load.after(200)
        broker.kill()
        site.started(broker)

    assert "was acknowledged and is STATE_UNKNOWN" in found(site)


def killed_in_a_commit(site: Site, mutant: str = "") -> None:
    """Commits are slow, so that there is one under way when the broker is killed. There are no workers."""
    broker = site.broker(mutant=mutant, **armed("before_commit", "*", "sleep:0.05"))

    with Load(site.calls.mark, site.history, 500) as load:
        load.after(200)
        broker.kill()
        site.started(broker)


def test_a_broker_knows_all_that_it_has_acknowledged_after_a_kill_under_load(site: Site) -> None:
    killed_in_a_commit(site)

    assert not unknown(site)


@catches("reply_before_commit")
def test_a_kill_under_load_shows_that_a_broker_answers_too_early(site: Site, mutant: str) -> None:
    killed_in_a_commit(site, mutant)

    assert unknown(site)


@catches("resend_dropped")
def test_a_kill_under_load_shows_that_a_worker_forgets_what_it_has_sent(site: Site, mutant: str) -> None:
    """Commits are slow, so that there are outcomes on their way at any moment."""
    slow = armed("before_commit", "*", "sleep:0.03")
    broker = site.broker(**slow)
    site.worker(mutant=mutant)

    with Load(site.calls.mark, site.history, 300) as load:
        for _ in range(2):
            load.after(load.answered + 100)
            broker.kill()
            site.started(broker, **slow)

    assert any(fault.startswith("I4") for fault in site.faults(lost=0))


def test_a_job_that_runs_again_without_a_lost_lease_is_caught(site: Site) -> None:
    """Two brokers that do not know of each other give the same job to their workers."""
    broker = site.broker()
    site.worker()
    submit_many(site.calls.mark, site.history, 1)
    site.check()
    broker.kill()
    site.data.rename(site.folder / "former")

    site.started(broker)
    (number,) = site.history.read().acknowledged
    again = site.calls.mark.apply_async((number,), task_id=site.history.read().acknowledged[number])
    until(again.ready, "the job to run again")

    assert f"I4: call {number} ran 2 times" in found(site)


@catches("count_drifts")
def test_a_store_whose_counts_are_not_those_of_its_rows_is_found(site: Site, mutant: str) -> None:
    broker = site.broker(mutant=mutant)
    site.worker()
    submit_many(site.calls.mark, site.history, 10)
    site.check()
    broker.kill()

    assert faults_of(site.data)
    shutil.rmtree(site.data)  # so that it is not found again


def test_a_connection_that_is_half_closed_goes_on_in_the_other_direction() -> None:
    """What is sent into the closed one is dropped: it neither fails nor ends the other."""
    with socket.create_server(("127.0.0.1", 0)) as server, Proxy(f"127.0.0.1:{server.getsockname()[1]}") as proxy:
        host, _, port = proxy.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as near, server.accept()[0] as far:
            far.settimeout(5)
            near.sendall(b"before")
            assert far.recv(100) == b"before"
            proxy.half_close(proxy.up)
            near.sendall(b"after")
            assert far.recv(100) == b"", "nothing comes after the end"
            until(lambda: proxy.up.dropped == len(b"after"), "it to be taken")
            far.sendall(b"answer")
            assert near.recv(100) == b"answer"
    assert proxy.hurt


@pytest.mark.parametrize("frozen", [False, True], ids=["flowing", "frozen"])
def test_a_proxy_ends_every_connection_and_nothing_complains(caplog: pytest.LogCaptureFixture, frozen: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = Proxy(f"127.0.0.1:{server.getsockname()[1]}")
        host, _, port = proxy.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as near, server.accept()[0]:
            if frozen:
                proxy.freeze()
            proxy.close()
            with pytest.raises(ConnectionResetError):
                near.recv(100)
    assert not caplog.records
