"""A chord with a thousand members while broker, worker and children are killed: its body runs once, with them all."""

from __future__ import annotations

import os
import signal
from random import Random

import pytest
from tests.acceptance.harness.load import Callers
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until
from tests.proof.amount import amount, seeds

from tqbroker import chord

MEMBERS = 1000

pytestmark = [pytest.mark.crash, pytest.mark.proof("T23"), pytest.mark.timeout(300)]


def send(site: Site) -> None:
    """The chord, with its calls written down."""
    *numbers, last = (next(Callers.numbers) for _ in range(MEMBERS + 1))
    parts = [site.calls.app.signature("tasks.mark", args=(number,)) for number in numbers]
    body = site.calls.app.signature("tasks.total", args=(last,))
    ids = [part.freeze().id for part in (*parts, body)]
    for number in numbers:
        site.history.write("invoke", number)
    site.history.write("invoke", last, "SUCCEEDED", sum(numbers) + last, 1)
    chord(parts, body).apply_async()
    for number, job in zip((*numbers, last), ids, strict=True):
        site.history.write("ok", number, job)


def ended(site: Site, members: int) -> None:
    """Returns when so many members have run."""
    until(lambda: len(site.history.read().ends) >= members, f"{members} members to end")


@seeds(1, 4)
def test_a_chord_of_a_thousand_comes_to_its_body_whatever_is_killed(site: Site, seed: int) -> None:
    random = Random(seed)
    broker = site.broker("--max-lost-leases", "1000", "--grace", "0.5")
    worker = site.worker()
    send(site)
    kills = amount(3, 12)
    for kill in range(1, kills + 1):
        ended(site, kill * MEMBERS // (kills + 2))
        who = random.choice(("broker", "worker", "child"))
        if who == "broker":
            broker.kill()
            site.started(broker)
        elif who == "worker":
            worker.kill()
            worker.start()
        elif children := worker.children():
            os.kill(random.choice(children), signal.SIGKILL)
            site.counts["kills"] += 1
        site.wire.connected(worker.pid)

    site.check(killed=site.dead())
