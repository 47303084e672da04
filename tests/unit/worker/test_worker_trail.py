"""What bodies have submitted, on its way from the request to the parent."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from tqbroker import App, Task
from tqbroker.codec import encode_call
from tqbroker.exceptions import Ignore, Replaced
from tqbroker.result import AsyncResult
from tqbroker.trail import MAX_CHILDREN
from tqbroker_worker.delivery import Job, Success
from tqbroker_worker.execute import Executor
from tqbroker_worker.jobs import Head
from tqbroker_worker.link import BATCH, Link
from tqbroker_worker.pipe import Frames
from tqbroker_worker.places import Trail
from tqbroker_worker.progress import Progress, create_page
from tqbroker_worker.protocol import Done, Ended, decode_up
from tqbroker_worker.slots import Slot

app = App("tasks", broker="tq://localhost")
CHILDREN: list[AsyncResult[Any]] = [app.AsyncResult("text"), AsyncResult._of(b"a" * 16, app), AsyncResult("other", app)]
TRAIL = Trail(b"a" * 16, ["text", "other"])


@app.task(name="submits", bind=True)
def submits(self: Task[..., Any], ends: str) -> int:
    self.request.children.extend(CHILDREN)
    error = {"fail": ValueError("no"), "ignore": Ignore(), "replace": Replaced(b"w" * 16)}.get(ends)
    if error is not None:
        raise error
    return 1


@app.task(name="floods", bind=True)
def floods(self: Task[..., Any]) -> None:
    self.request.children.extend(CHILDREN[1:2] * (MAX_CHILDREN + 5))
    self.request.children.append("no result at all")


@app.task(name="looks", bind=True)
def looks(self: Task[..., Any]) -> int:
    return len(self.request.children)


def run(task: str, *args: Any) -> Success | Ended:
    job = Job(Head(task, "default", 0, "json"), bytes(16), 7, encode_call(args, {}), 0, 0)
    outcome = Executor(app, "worker@here", show=False).run(job, Slot())
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("ends", ["return", "fail", "ignore", "replace"])
def test_what_a_body_has_submitted_is_told_however_it_ends(ends: str) -> None:
    assert run("submits", ends).trail == TRAIL


def test_who_has_submitted_nothing_tells_nothing() -> None:
    assert run("looks").trail is None


def test_no_more_is_told_than_the_broker_takes() -> None:
    trail = run("floods").trail
    assert trail is not None
    assert (len(trail.uuids), trail.texts) == (16 * MAX_CHILDREN, [])


def test_in_a_message_of_many_it_stays_with_its_job() -> None:
    ours, theirs = socket.socketpair()
    memory = create_page()
    progress = Progress(memory)
    os.close(memory)
    with ours, theirs:
        link = Link(ours, progress, "json")
        for token in range(BATCH):
            link.report(Success(token, b"1", 1, 1, "", TRAIL if token in (3, 5) else None))
        (body,) = Frames().feed(theirs.recv(1 << 18))
        done = decode_up(body)
    progress.close()
    assert isinstance(done, Done)
    assert done.trails == {3: TRAIL, 5: TRAIL}
