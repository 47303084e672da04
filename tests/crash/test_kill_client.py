"""kill -9 of a client after it has sent, before it is answered: another process sends the same, and it runs once."""

from __future__ import annotations

import signal
import sys
import time
from random import Random
from typing import NamedTuple

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.load import Load
from tests.acceptance.harness.site import ROOT, Site
from tests.acceptance.harness.waiting import until
from tests.crash.failpoints import armed
from tests.mutants.catching import catches
from tests.mutants.registry import planted
from tests.proof.amount import amount, seeds

CALLS = 100

pytestmark = [pytest.mark.crash, pytest.mark.proof("T6")]


def client(site: Site) -> Daemon:
    """A process that makes calls, the same ones at each start."""
    program = (sys.executable, "-m", "tests.acceptance.harness.caller", site.url, site.history.path, 0, CALLS)
    environment = {**site.environment, "PYTHONPATH": str(ROOT)}
    return Daemon("client", [str(part) for part in program], site.project, environment, site.counts)


class Made(NamedTuple):
    """How many calls were made, those made again included, and how many of them were answered."""

    calls: int
    answers: int

    @property
    def unanswered(self) -> int:
        return self.calls - self.answers


def made(site: Site) -> Made:
    """All that clients have written down so far."""
    words = [line.split(" ", 1)[0] for line in site.history.lines()]
    return Made(words.count("invoke"), words.count("ok"))


@seeds(1, 5)
def test_calls_of_a_killed_client_run_once_when_another_makes_them_again(site: Site, seed: int) -> None:
    """The broker takes its time between the commit and the answer: that is where most of the kills fall."""
    random = Random(seed)
    site.broker(**armed("after_commit_before_reply", "*", "sleep:0.05"))
    site.worker()
    caller = client(site)
    rounds, in_a_call = amount(2, 10), 0
    for _ in range(rounds):
        before = made(site)
        caller.start()
        until(lambda before=before: made(site).calls > before.calls, "a call to be made", pause=0.002)  # type: ignore[misc]
        time.sleep(random.random() / 10)
        caller.kill()
        in_a_call += made(site).unanswered > before.unanswered
    assert in_a_call > rounds / 2, "most kills came when every call was answered"
    caller.start()
    assert caller.wait() == 0

    site.check(lost=0)
    assert len(site.history.read().acknowledged) == CALLS


def lost_reply(site: Site) -> None:
    """A call is on the disk and the broker dies before it says so."""
    broker = site.broker(**armed("after_commit_before_reply", 20))
    site.worker()
    with Load(site.calls.mark, site.history, CALLS):
        assert broker.wait() == -signal.SIGKILL
        site.started(broker)


@pytest.mark.long
@catches("resent_under_new_ids")
def test_a_lost_reply_shows_that_a_client_sends_its_call_as_another_one(site: Site, mutant: str) -> None:
    with planted(mutant):
        lost_reply(site)

    found = site.faults(lost=0, timeout=5)
    assert any(fault.startswith(("I2", "I6")) for fault in found), found
