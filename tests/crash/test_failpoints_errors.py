"""An error where nobody expects one: a call is never confirmed for nothing, and nothing hangs."""

from __future__ import annotations

from random import Random

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.mixed import QUEUES, Mixed
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.ticks import Ticks
from tests.acceptance.harness.waiting import until
from tests.crash.failpoints import UNDER_LOAD, armed
from tests.proof.amount import PROOF

pytestmark = [pytest.mark.crash, pytest.mark.proof("T3")]


@pytest.mark.parametrize("place", UNDER_LOAD if PROOF else ["before_apply"])
def test_an_error_inside_the_broker_is_never_taken_for_success(site: Site, place: str) -> None:
    """It goes on without what failed, or it ends, and is started again."""
    broker = site.broker()
    site.worker("-Q", ",".join(QUEUES))
    ticks = Ticks(site.wire)
    broker.stop()
    site.started(broker, **armed(place, 3, "raise"))
    with Mixed(site.calls.app, site.history, Random(place)) as load:
        until(lambda: not broker.running or f"failpoint {place}" in broker.log.text(), "the error")
        goes_on_or_ends(site, broker, load)
        load.stop()

    site.check(lost=0)
    assert ticks.check()
    site.counts["faults"] += 1


def goes_on_or_ends(site: Site, broker: Daemon, load: Mixed) -> None:
    """A hundred calls more are answered; a broker that has lost its store says so by its exit code before."""
    enough = load.answered + 100
    until(lambda: load.answered >= enough or not broker.running, "it to go on, or to end")
    if not broker.running:
        assert broker.wait() > 0
        site.started(broker)
    load.after(enough)
