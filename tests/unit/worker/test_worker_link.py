from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from tqbroker_worker.delivery import Success
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.link import Link
from tqbroker_worker.pipe import Frames, frame
from tqbroker_worker.progress import Progress, create_page
from tqbroker_worker.protocol import Cancel, Done, Down, HandBack, Stop, Unstarted, Up, decode_up, encode
from tqbroker_worker.watchdog import OVERDUE, Watchdog

MakeJobs = Callable[..., Jobs]


class Parent:
    """The parent's end of a link."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(5)
        page = create_page()
        self.progress = Progress(page)
        self.childs = Progress(page)
        os.close(page)
        self.theirs = theirs
        self.link = Link(theirs, self.childs, "json")
        self._frames = Frames()
        self._heard: list[Up] = []

    def tell(self, *messages: Down) -> None:
        """Sends messages to the child."""
        self.sock.sendall(b"".join(frame(encode(message)) for message in messages))

    def hear(self) -> Up:
        """The next message of the child."""
        while not self._heard:
            self._heard += map(decode_up, self._frames.feed(self.sock.recv(1 << 16)))
        return self._heard.pop(0)

    def close(self) -> None:
        """Lets go of everything."""
        self.sock.close()
        self.theirs.close()
        self.progress.close()
        self.childs.close()


@pytest.fixture
def parent() -> Iterator[Parent]:
    """A link and the other end of it."""
    parent = Parent()
    yield parent
    parent.close()


def take(link: Link, count: int) -> list[int]:
    """Tokens of the next jobs."""
    return [job.token for job in (link.next() for _ in range(count)) if job is not None]


def success(token: int) -> Success:
    return Success(token, b"1", 5, 6, "")


def test_jobs_come_in_the_order_they_were_sent_and_are_counted_as_started(parent: Parent, make_jobs: MakeJobs) -> None:
    parent.tell(make_jobs(2), make_jobs(1, first=9, texts=True))
    assert take(parent.link, 3) == [1, 2, 9]
    assert parent.progress.started == 3


def test_stop_ends_the_child_after_its_last_job(parent: Parent, make_jobs: MakeJobs) -> None:
    parent.tell(make_jobs(1), Stop())
    assert take(parent.link, 1) == [1]
    assert parent.link.next() is None


def test_successes_are_sent_together_when_no_job_is_left(parent: Parent, make_jobs: MakeJobs) -> None:
    parent.tell(make_jobs(2), Stop())
    for token in take(parent.link, 2):
        parent.link.report(success(token))
    assert parent.link.next() is None
    said = parent.hear()
    assert isinstance(said, Done)
    assert (said.tokens, said.results, said.started_ms, said.runtime_us) == ([1, 2], [b"1", b"1"], [5, 5], [6, 6])


def test_unstarted_jobs_are_handed_back_on_request(parent: Parent, make_jobs: MakeJobs) -> None:
    parent.tell(make_jobs(3))
    take(parent.link, 1)
    parent.tell(HandBack())
    parent.link.poll()
    assert parent.hear() == Unstarted([2, 3])
    assert not parent.link.waiting()


def test_of_cancelled_jobs_the_unstarted_come_back_and_the_running_are_told(
    parent: Parent, make_jobs: MakeJobs
) -> None:
    running: list[int] = []
    parent.link.on_cancel = lambda tokens, _force, _signal: running.extend(tokens)
    parent.tell(make_jobs(3))
    take(parent.link, 1)
    parent.tell(Cancel([1, 3]))
    parent.link.poll()
    assert parent.hear() == Unstarted([3])
    assert running == [1]


def test_several_threads_share_the_jobs_without_losing_or_doubling_one(parent: Parent, make_jobs: MakeJobs) -> None:
    taken: list[int] = []

    def work() -> None:
        while (job := parent.link.next()) is not None:
            taken.append(job.token)
            parent.link.report(success(job.token))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    parent.tell(*(make_jobs(50, first=100 * n) for n in range(4)))
    done: list[int] = []
    while len(done) < 200:
        said = parent.hear()
        assert isinstance(said, Done)
        done += said.tokens
    parent.tell(Stop())
    for thread in threads:
        thread.join(5)
    assert sorted(taken) == sorted(done) == [100 * n + i for n in range(4) for i in range(50)]


def test_the_watchdog_gives_jobs_back_when_what_runs_takes_too_long(parent: Parent, make_jobs: MakeJobs) -> None:
    watchdog = Watchdog(parent.link, os.getppid())
    parent.tell(make_jobs(3))
    take(parent.link, 1)
    now = monotonic()
    watchdog.tick(now)
    watchdog.tick(now + OVERDUE / 2)
    assert parent.link.waiting()
    watchdog.tick(now + OVERDUE * 2)
    assert parent.hear() == Unstarted([2, 3], overdue=True)


def test_the_watchdog_leaves_jobs_that_have_just_arrived(parent: Parent, make_jobs: MakeJobs) -> None:
    watchdog = Watchdog(parent.link, os.getppid())
    watchdog.tick(monotonic() - 60)
    parent.tell(make_jobs(3))
    watchdog.tick(monotonic())
    assert parent.link.waiting()


def test_the_watchdog_sends_results_that_wait_behind_a_long_job(parent: Parent, make_jobs: MakeJobs) -> None:
    parent.tell(make_jobs(2))
    parent.link.report(success(take(parent.link, 2)[0]))
    Watchdog(parent.link, os.getppid()).tick(monotonic())
    said = parent.hear()
    assert isinstance(said, Done)
    assert said.tokens == [1]


@pytest.mark.parametrize("sign", ["closed socket", "other parent"])
def test_a_child_ends_when_its_parent_is_gone(parent: Parent, monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    class EndedError(Exception):
        pass

    def end(_code: int) -> None:
        raise EndedError

    monkeypatch.setattr("os._exit", end)
    ppid = os.getppid()
    if sign == "closed socket":
        parent.sock.close()
    else:
        ppid += 1
    with pytest.raises(EndedError):
        Watchdog(parent.link, ppid).tick(monotonic())
