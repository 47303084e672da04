"""The disk is full: new work is refused, what runs is kept, nothing is promised falsely; then there is room again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, cast

import grpc
import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.fixtures import judge
from tests.acceptance.harness.heart import Heart
from tests.acceptance.harness.load import submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.crash.powercut.clients import PARKED, Board, batch, column
from tests.crash.powercut.disk import lacking
from tests.crash.powercut.hands import Hands
from tests.crash.powercut.trace import Marks
from tests.crash.small_disk import BLOCK, RealDisk, SaidDisk, SmallDisk, real_disk
from tests.integration.broker_harness import error_of
from tests.mutants.catching import catches

from tqbroker.exceptions import OperationalError
from tqbroker.v1 import errors_pb2, job_pb2, queue_pb2

pytestmark = [pytest.mark.crash, pytest.mark.proof("T9")]
needs_root = pytest.mark.skipif(bool(lacking()), reason=lacking() or "none")

WAITS = "cannot be stored yet: The store has no room"
RUNNING, MARKED = 2, 20
LARGE = b'"%s"' % (b"r" * 100_000)
"""A result of many pages, which is written with one call: of which a nearly full disk takes half."""


@pytest.fixture
def real(site: Site, request: pytest.FixtureRequest) -> Iterator[RealDisk]:
    """The site's data is on a small disk."""
    with real_disk(site) as found:
        yield found
        judge(site, request.node)


def refused(submit: Callable[[], object]) -> errors_pb2.Error:
    """What the broker says to new jobs. Fails when it takes them."""
    with pytest.raises(grpc.RpcError) as caught:
        submit()
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return error_of(cast("Any", caught.value))


def fate_of_a_call(site: Site) -> str:
    """What a program is told that calls a task now, and has half a second."""
    site.calls.app.conf.submit_timeout = 0.5
    with pytest.raises(OperationalError) as caught:
        site.calls.mark.delay(-1)
    return caught.value.outcome


def test_what_runs_while_the_disk_is_full_is_kept_until_there_is_room(site: Site, counts: Counter[str]) -> None:
    said = SaidDisk(site)
    broker = site.broker(**said.environment)
    site.worker()
    submit_many(site.calls.hold, site.history, RUNNING)
    submit_many(site.calls.mark, site.history, MARKED)
    until(lambda: len(site.history.read().starts) == RUNNING, "jobs to run")
    heart = Heart(site.wire)

    said.fill()
    error = refused(lambda: submit_large(site, 0))
    site.gate.touch()
    broker.expect(WAITS)
    assert error.reason == errors_pb2.REASON_STORE_FULL
    assert error.retry_after_ms > 0
    site.wire.health()
    heart.beat(1.0)
    assert fate_of_a_call(site) == "rejected"

    said.free()
    heart.close()
    submit_many(site.calls.mark, site.history, MARKED)
    site.check(lost=0)
    counts["faults"] += 1


class Keeper(Hands):
    """Keeps what it is given until it is told to end it, with large results."""

    def __init__(self, board: Board) -> None:
        self.kept: SimpleQueue[tuple[bytes, int]] = SimpleQueue()
        super().__init__(board, 1, "keeper", slots=8)

    def _take(self, jobs: Iterable[tuple[bytes, int]]) -> None:
        for each in jobs:
            self.kept.put(each)

    def end(self, count: int) -> None:
        """Sends results of so many jobs, each by itself, and does not wait."""
        for _ in range(count):
            self._succeed(*self.kept.get(timeout=PATIENCE), LARGE)


def keeps_outcomes(site: Site, small: SmallDisk, broker: Daemon, left: int = 0) -> None:
    """Large results come while the disk is full: they wait, nobody is told that they are stored, and then they are."""
    board = Board(site.wire, Marks(site.folder / "marks"))
    keeper = Keeper(board)
    ids = [bytes([number]) * 16 for number in range(8)]
    board.alone.update(ids)
    site.wire.queue.Enqueue(queue_pb2.EnqueueRequest(batches=[batch(ids)]), timeout=PATIENCE)

    small.fill(left)
    keeper.end(len(ids))
    until(lambda: WAITS in broker.log.text() or board.ended or not broker.running, "the broker to have no room")
    assert broker.running, "the broker has ended"
    assert not board.ended, "an outcome is acknowledged that cannot be on the disk"
    site.wire.health()
    assert len(statuses(site, ids)) == len(ids)

    small.free()
    until(lambda: len(board.ended) == len(ids), "all outcomes to be stored")
    assert {job.result for job in statuses(site, ids)} == {LARGE}
    keeper.close()


def statuses(site: Site, ids: list[bytes]) -> list[job_pb2.JobStatus]:
    """What the broker says of these jobs."""
    return list(site.wire.queue.Get(queue_pb2.GetRequest(ids=column(ids)), timeout=PATIENCE).jobs)


@needs_root
@pytest.mark.parametrize(
    "left", [pytest.param(0, id="no block", marks=pytest.mark.long), pytest.param(5 * BLOCK, id="a few blocks")]
)
def test_a_disk_that_takes_half_of_a_write_is_full_and_not_broken(
    site: Site, real: RealDisk, counts: Counter[str], left: int
) -> None:
    keeps_outcomes(site, real, site.broker(), left)
    counts["faults"] += 1


def submit_large(site: Site, first: int) -> list[bytes]:
    """Fifty jobs of two pages each."""
    ids = [(first + number).to_bytes(16, "big") for number in range(50)]
    jobs = job_pb2.JobBatch(task="tasks.none", queue=PARKED, format="json", ids=column(ids), args=[b"x" * 8000] * 50)
    site.wire.queue.Enqueue(queue_pb2.EnqueueRequest(batches=[jobs]), timeout=PATIENCE)
    return ids


@needs_root
@pytest.mark.long
def test_jobs_fill_a_disk_up_to_the_mark_and_room_that_is_made_is_used(
    site: Site, real: RealDisk, counts: Counter[str]
) -> None:
    site.broker()
    stored: list[bytes] = []

    def fill() -> None:
        while True:
            stored.extend(submit_large(site, len(stored)))

    assert refused(fill).reason == errors_pb2.REASON_STORE_FULL
    assert 1000 < len(stored) < 10_000

    for at in range(0, len(stored) // 2, 500):
        some = column(stored[at : at + 500])
        site.wire.queue.Cancel(queue_pb2.CancelRequest(ids=some), timeout=PATIENCE)
        assert site.wire.queue.Forget(queue_pb2.ForgetRequest(ids=some), timeout=PATIENCE).forgotten == 500
    site.worker()
    submit_many(site.calls.mark, site.history, 200)
    site.check(lost=0)
    counts["faults"] += 1
    counts["jobs"] += len(stored)


def test_a_start_without_room_says_so_and_the_next_one_finds_everything(site: Site, counts: Counter[str]) -> None:
    said = SaidDisk(site)
    broker = site.broker()
    submit_many(site.calls.mark, site.history, 50)
    broker.kill()

    said.fill()
    broker.start(**said.environment)
    assert broker.wait() == 1
    broker.expect("there is no room for")
    assert "Traceback" not in broker.log.text()
    said.free()
    site.started(broker)
    assert site.wire.counts().queued == 50
    counts["faults"] += 1


@catches("full_is_fatal", "full_drops_outcomes")
def test_a_broker_that_does_not_live_with_a_full_disk_is_caught(site: Site, counts: Counter[str], mutant: str) -> None:
    said = SaidDisk(site)
    broker = site.broker(mutant=mutant, **said.environment)
    words = {"full_is_fatal": "the broker has ended", "full_drops_outcomes": "an outcome is acknowledged"}[mutant]

    with pytest.raises(AssertionError, match=words):
        keeps_outcomes(site, said, broker)
    counts["faults"] += 1
