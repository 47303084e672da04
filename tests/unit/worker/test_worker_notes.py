"""What running jobs say of themselves, until the broker has it on its disk."""

from __future__ import annotations

import pytest

from tqbroker_worker.notes import LOST, MESSAGE_BYTES, Notes
from tqbroker_worker.protocol import Annotate, Note, Noted


class Told:
    """What a child heard."""

    def __init__(self) -> None:
        self.all: list[Noted] = []

    def __call__(self, noted: Noted) -> None:
        self.all.append(noted)

    @property
    def words(self) -> list[tuple[int, str]]:
        return [(noted.number, noted.error) for noted in self.all]


@pytest.fixture
def told() -> Told:
    return Told()


def progress(token: int, done: float) -> Annotate:
    return Annotate(0, token, Note("", b"", "", done, 10.0, "", 1))


def checkpoint(number: int, token: int, data: bytes) -> Annotate:
    return Annotate(number, token, None, data, "json")


def test_of_each_job_only_the_newest_words_are_sent(told: Told) -> None:
    notes = Notes()
    for done in range(100):
        notes.add(progress(1, done), told)
    notes.add(progress(2, 5), told)
    taken = notes.take(1)
    assert [(each.token, each.note.done) for each in taken if each.note] == [(1, 99), (2, 5)]
    assert notes.waiting == 0


def test_a_checkpoint_is_told_when_its_message_is_acknowledged(told: Told) -> None:
    notes = Notes()
    notes.add(checkpoint(7, 1, b"a"), told)
    notes.add(progress(1, 3), told)
    (taken,) = notes.take(4)
    assert (taken.checkpoint, taken.note is not None) == (b"a", True)
    notes.acked(3)
    assert told.words == []
    notes.acked(4)
    assert told.words == [(7, "")]


def test_two_checkpoints_that_went_together_are_both_told(told: Told) -> None:
    notes = Notes()
    notes.add(checkpoint(1, 1, b"a"), told)
    notes.add(checkpoint(2, 1, b"b"), told)
    assert [each.checkpoint for each in notes.take(1)] == [b"b"]
    notes.acked(1)
    assert told.words == [(1, ""), (2, "")]


def test_a_refusal_is_told_and_others_in_the_message_are_durable(told: Told) -> None:
    notes = Notes()
    notes.add(checkpoint(1, 1, b"a"), told)
    notes.add(checkpoint(2, 2, b"b"), told)
    notes.take(1)
    notes.refused({1: "lease lost"}, ())
    notes.acked(1)
    assert told.words == [(1, "lease lost"), (2, "")]


def test_what_the_broker_cannot_store_now_is_sent_again(told: Told) -> None:
    notes = Notes()
    notes.add(checkpoint(1, 1, b"a"), told)
    notes.take(1)
    notes.refused({}, {1})
    notes.acked(1)
    assert (told.words, notes.waiting) == ([], 0)
    notes.add(checkpoint(2, 1, b"b"), told)
    notes.retry()
    assert [each.checkpoint for each in notes.take(2)] == [b"b"]
    notes.acked(2)
    assert told.words == [(1, ""), (2, "")]


def test_after_a_broken_stream_it_is_sent_again_and_newer_words_win(told: Told) -> None:
    notes = Notes()
    notes.add(checkpoint(1, 1, b"a"), told)
    notes.add(progress(1, 1), told)
    notes.take(1)
    notes.add(progress(1, 2), told)
    notes.rewind()
    (taken,) = notes.take(1)
    assert taken.note is not None
    assert (taken.checkpoint, taken.note.done) == (b"a", 2)


def test_a_job_that_is_not_ours_any_more_hears_it(told: Told) -> None:
    notes = Notes()
    notes.add(checkpoint(1, 1, b"a"), told)
    notes.add(checkpoint(2, 2, b"b"), told)
    notes.drop([1])
    notes.keep_only({3})
    assert told.words == [(1, LOST), (2, LOST)]
    assert notes.waiting == 0


def test_a_message_carries_no_more_than_it_should(told: Told) -> None:
    notes = Notes()
    for token in range(1, 6):
        notes.add(checkpoint(token, token, b"x" * (MESSAGE_BYTES // 2)), told)
    assert [len(notes.take(number)) for number in (1, 2, 3)] == [2, 2, 1]
    assert notes.messages_out == 3


def test_what_could_not_be_stored_does_not_replace_newer_words_that_could(told: Told) -> None:
    notes = Notes()
    notes.add(progress(1, 3), told)
    notes.add(checkpoint(1, 1, b"a"), told)
    notes.take(1)
    notes.refused({}, {1})
    notes.add(progress(1, 4), told)
    notes.take(2)
    notes.acked(2)
    notes.retry()
    (again,) = notes.take(3)
    assert (again.note, again.checkpoint) == (None, b"a")
    notes.acked(3)
    assert told.words == [(1, "")]
