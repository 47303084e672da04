"""A chord with a thousand members while broker, worker and children are killed: its body runs once, with them all."""

from __future__ import annotations

import os
import signal
from random import Random

import pytest
from tests.acceptance.harness.load import Callers
from tests.acceptance.harness.site import FEW, Site
from tests.acceptance.harness.waiting import until
from tests.crash.failpoints import armed
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds

from tqbroker import chord

MEMBERS = 1000

pytestmark = [pytest.mark.crash, pytest.mark.proof("T23"), pytest.mark.timeout(300)]


def send(site: Site, members: int = MEMBERS, slow: int = 0) -> tuple[set[int], int]:
    """The chord, with its calls written down: those of its members, of which so many run until the gate opens, and
    that of its body.
    """
    *numbers, last = (next(Callers.numbers) for _ in range(members + 1))
    tasks = ["tasks.hold"] * slow + ["tasks.mark"] * (members - slow)
    parts = [site.calls.app.signature(task, args=(number,)) for task, number in zip(tasks, numbers, strict=True)]
    body = site.calls.app.signature("tasks.total", args=(last,))
    ids = [part.freeze().id for part in (*parts, body)]
    for number in numbers:
        site.history.write("invoke", number)
    site.history.write("invoke", last, "SUCCEEDED", sum(numbers) + last, 1)
    chord(parts, body).apply_async()
    for number, job in zip((*numbers, last), ids, strict=True):
        site.history.write("ok", number, job)
    return set(numbers), last


def early(site: Site, members: set[int], body: int) -> list[str]:
    """What is wrong with the moment at which the body started: every member had ended before."""
    left, faults = set(members), []
    for line in site.history.lines():
        kind, number, *_ = line.split()
        if kind == "end":
            left.discard(int(number))
        elif kind == "start" and int(number) == body and left:
            faults.append(f"released: the body started when {len(left)} of its members had not ended")
    return faults


def ended(site: Site, members: int) -> None:
    """Returns when so many members have run."""
    until(lambda: len(site.history.read().ends) >= members, f"{members} members to end")


@seeds(1, 4)
def test_a_chord_of_a_thousand_comes_to_its_body_whatever_is_killed(site: Site, seed: int) -> None:
    random = Random(seed)
    broker = site.broker("--max-lost-leases", "1000", "--grace", "0.5")
    worker = site.worker(*FEW)
    members, body = send(site)
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
    assert early(site, members, body) == []


@pytest.mark.long
@catches("released_too_early", "counter_instead_of_set")
def test_a_chord_shows_that_its_body_is_released_before_its_last_member(site: Site, mutant: str) -> None:
    """One of its members takes as long as the test wants. Outcomes of others are told twice: an answer is lost."""
    broker = site.broker(mutant=mutant, **armed("after_finish_commit", 3))
    worker = site.worker()
    members, body = send(site, 100, slow=1)
    assert broker.wait() == -signal.SIGKILL
    site.started(broker)
    site.wire.connected(worker.pid)
    ended(site, 99)
    until(lambda: site.history.read().starts[body], "the body to start")
    site.gate.touch()

    assert any(fault.startswith("I1") for fault in site.faults())
    assert early(site, members, body) == ["released: the body started when 1 of its members had not ended"]
