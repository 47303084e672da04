"""Kill after kill of the broker while clients ask for everything there is: each call comes to the end that it must."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from statistics import median

import pytest
from tests.acceptance.harness.mixed import QUEUES, Mixed
from tests.acceptance.harness.site import FEW, Site
from tests.acceptance.harness.ticks import Ticks
from tests.crash.failpoints import IN_WORKER, UNDER_LOAD, armed, slowed
from tests.proof.amount import amount, seeds

RECONNECT = 3.0
"""Seconds after its start within which the broker usually has all its workers again, and confirms calls."""

pytestmark = [pytest.mark.crash, pytest.mark.proof("T3"), pytest.mark.timeout(600)]


class Everything:
    """A broker and two workers, a schedule, and clients that ask for everything."""

    def __init__(self, site: Site, load: Mixed, ahead: Sequence[str] = (), *, slow: bool = False) -> None:
        self.site = site
        self.load = load
        self.broker = site.broker()
        queues = ("-Q", ",".join(QUEUES))
        worker = slowed(*IN_WORKER) if slow else {}
        names = ("worker", "second")
        self.workers = [site.worker(*queues, *ahead, name=name, **worker) for name in names]
        self._broker = slowed(*UNDER_LOAD) if slow else {}
        self.ticks = Ticks(site.wire)
        self.reconnects: list[float] = []

    def again(self) -> None:
        """The broker is gone: it starts again, and all find it soon."""
        self.site.started(self.broker, **self._broker)
        begun = time.monotonic()
        self.load.after(self.load.answered + 1)
        for worker in self.workers:
            self.site.wire.connected(worker.pid)
        self.reconnects.append(time.monotonic() - begun)


@contextmanager
def everything(site: Site, random: Random, *, workers_too: bool = False, slow: bool = False) -> Iterator[Everything]:
    """Under load inside of the block; judged at its end."""
    with Mixed(site.calls.app, site.history, random, alone=not workers_too) as load:
        try:
            scene = Everything(site, load, FEW if workers_too else (), slow=slow)
            yield scene
        finally:
            load.stop()
    if workers_too:
        site.check(killed=site.dead(), counted=False)
    else:
        site.check(lost=0)
        assert median(scene.reconnects) < RECONNECT
    events = site.history.read()
    assert load.disorder(events) == []
    assert scene.ticks.check()


@seeds(1, 4)
def test_every_call_comes_to_its_end_however_often_the_broker_is_killed_or_stopped(site: Site, seed: int) -> None:
    random = Random(seed)
    with everything(site, random) as scene:
        for _ in range(amount(3, 30)):
            scene.load.after(scene.load.answered + random.randrange(1, 300))
            time.sleep(random.random() / 10)  # a moment that has nothing to do with an answer
            random.choice((scene.broker.kill, scene.broker.kill, scene.broker.stop))()
            scene.again()


@pytest.mark.long
@seeds(1, 4)
def test_every_call_comes_to_its_end_when_the_broker_is_killed_at_every_place_in_turn(site: Site, seed: int) -> None:
    random = Random(seed)
    with everything(site, random) as scene:
        scene.broker.kill()
        for place in random.sample(UNDER_LOAD, len(UNDER_LOAD)):
            scene.broker.start(**armed(place, random.randint(1, 3)))
            assert scene.broker.wait() == -signal.SIGKILL, place
        scene.again()


@pytest.mark.long
@seeds(1, 4)
def test_every_call_comes_to_its_end_when_daemons_take_their_time_between_any_two_steps(site: Site, seed: int) -> None:
    random = Random(seed)
    with everything(site, random, slow=True) as scene:
        for _ in range(10):
            scene.broker.kill()
            scene.again()
            scene.load.after(scene.load.answered + random.randrange(1, 300))


@pytest.mark.long
@seeds(1, 4)
def test_every_call_comes_to_its_end_when_all_daemons_are_killed_at_once(site: Site, seed: int) -> None:
    random = Random(seed)
    with everything(site, random, workers_too=True) as scene:
        for _ in range(10):
            scene.load.after(scene.load.answered + random.randrange(1, 300))
            for daemon in random.sample([scene.broker, *scene.workers], 3):
                daemon.kill()
            for worker in scene.workers:
                worker.start()
            scene.again()
