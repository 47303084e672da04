"""Progress and checkpoints on their way from a task to the parent."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tqbroker import App
from tqbroker.codec import decode
from tqbroker.exceptions import EncodeError, LeaseLostError, OperationalError
from tqbroker.request import Request
from tqbroker_worker.channel import EVERY, MAX_META, JobChannel
from tqbroker_worker.delivery import Success
from tqbroker_worker.link import Link
from tqbroker_worker.pipe import Frames, frame
from tqbroker_worker.progress import Progress, create_page
from tqbroker_worker.protocol import Annotate, Done, Noted, Up, decode_up, encode

app = App("tasks", broker="tq://localhost")
LATER = 1e12


@app.task(bind=True)
def work(self: Any) -> None: ...


class Scene:
    """A channel, and the parent's end of its socket."""

    def __init__(self) -> None:
        self.sock, self.theirs = socket.socketpair()
        self.sock.settimeout(5)
        page = create_page()
        self.progress = Progress(page)
        os.close(page)
        self.link = Link(self.theirs, self.progress, "json")
        self.channel = JobChannel(self.link, "json")
        self.link.on_other = lambda message: self.channel.noted(message) if isinstance(message, Noted) else None
        self._frames = Frames()
        self._heard: list[Up] = []

    def hear(self) -> Up:
        while not self._heard:
            self._heard += map(decode_up, self._frames.feed(self.sock.recv(1 << 16)))
        return self._heard.pop(0)

    def annotation(self) -> Annotate:
        heard = self.hear()
        assert isinstance(heard, Annotate)
        return heard

    def answer(self, error: str = "") -> threading.Thread:
        """Answers the next checkpoint."""

        def run() -> None:
            self.sock.sendall(frame(encode(Noted(self.annotation().number, error))))

        thread = threading.Thread(target=run)
        thread.start()
        return thread


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    work.push_request(id="job", fence=7, channel=scene.channel)
    yield scene
    work.pop_request()
    scene.sock.close()
    scene.theirs.close()
    scene.progress.close()


def test_the_first_note_goes_at_once_and_of_those_that_follow_the_newest(scene: Scene) -> None:
    for done in range(1, 50):
        work.progress(done, 50, f"row {done}")
    first = scene.annotation()
    assert (first.token, first.note and first.note.done, first.number) == (7, 1, 0)
    scene.channel.tick(LATER)
    last = scene.annotation().note
    assert last is not None
    assert (last.done, last.total, last.note) == (49, 50, "row 49")
    scene.channel.tick(LATER + EVERY)
    scene.link.send(Done("json", [], [], [], [], []))
    assert isinstance(scene.hear(), Done)  # nothing was left to be said


def test_the_last_note_goes_before_the_outcome(scene: Scene) -> None:
    work.update_state(state="LOADING", meta={"rows": 1})
    work.update_state(state="LOADING", meta={"rows": 2})
    scene.link.report(Success(7, b"1", 1, 1, ""))
    scene.link.flush()
    notes = [scene.annotation().note, scene.annotation().note]
    assert [note and decode(note.meta, note.format) for note in notes] == [{"rows": 1}, {"rows": 2}]
    assert notes[1] is not None
    assert notes[1].state == "LOADING"
    assert isinstance(scene.hear(), Done)


def test_what_is_said_of_a_job_after_its_end_is_not_remembered(scene: Scene) -> None:
    scene.link.report(Success(7, b"1", 1, 1, ""))
    work.progress(1, 2)
    for _ in range(2):
        scene.channel.tick(LATER)
    assert (scene.channel._sent, scene.channel._kept) == ({}, {})


def test_a_checkpoint_returns_when_it_is_durable(scene: Scene) -> None:
    thread = scene.answer()
    work.checkpoint({"page": 3}, timeout=5)
    thread.join(5)


async def test_a_coroutine_can_wait_for_its_checkpoint(scene: Scene) -> None:
    thread = scene.answer()
    work.push_request(id="job", fence=7, channel=scene.channel)  # this coroutine has a context of its own
    await work.acheckpoint({"page": 3}, timeout=5)
    work.pop_request()
    thread.join(5)


def test_a_checkpoint_of_a_lost_lease_says_so(scene: Scene) -> None:
    thread = scene.answer("another worker has it")
    with pytest.raises(LeaseLostError, match="another worker has it"):
        work.checkpoint(1, timeout=5)
    thread.join(5)


def test_a_checkpoint_without_an_answer_ends_at_its_deadline(scene: Scene) -> None:
    with pytest.raises(OperationalError, match="perhaps stored") as caught:
        work.checkpoint(1, timeout=0.05)
    assert caught.value.outcome == "unknown"


def test_what_cannot_be_sent_is_refused_in_the_task(scene: Scene) -> None:
    with pytest.raises(EncodeError):
        work.checkpoint(object())
    with pytest.raises(EncodeError, match=str(MAX_META)):
        work.update_state(state="X", meta="x" * MAX_META)


@pytest.mark.parametrize("arguments", [(-1,), (1, -1), (float("nan"),), ("one",), (True,), (1, 2, "x" * 2000)])
def test_progress_that_makes_no_sense_is_refused_outside_of_a_worker_too(arguments: Any) -> None:
    with pytest.raises(ValueError, match=r"progress|note"):
        work.progress(*arguments)


def test_outside_of_a_worker_nothing_happens_and_another_job_is_refused() -> None:
    work.progress(1, 2)
    work.update_state(state="X")
    work.checkpoint({"any": 1})
    with pytest.raises(ValueError, match="speaks for itself"):
        work.update_state(task_id="other", state="X")
    assert Request().checkpoint is None
