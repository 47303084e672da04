"""kill -9 of the broker in the middle of a backup."""

from __future__ import annotations

import signal

import pytest
from tests.acceptance.harness.load import submit_many
from tests.acceptance.harness.site import Site
from tests.crash.failpoints import armed, kills_at

pytestmark = [pytest.mark.crash, pytest.mark.proof("T27")]


@kills_at("in_backup")
def test_a_broker_killed_in_a_backup_leaves_none_and_can_take_the_next(site: Site, place: str) -> None:
    target = site.folder / "saved"
    broker = site.broker(**armed(place))
    submit_many(site.calls.mark, site.history, 100)

    done = site.tqbroker("backup", target)

    assert broker.wait() == -signal.SIGKILL
    assert done.returncode != 0
    assert not target.exists()
    site.started(broker)
    assert site.tqbroker("backup", target).returncode == 0
    assert target.exists()
    site.counts["backups"] += 1
    site.worker()
    site.check(lost=0)
