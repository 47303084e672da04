"""Lanes, and places that no job stands in."""

from __future__ import annotations

from tqbroker_broker.storage.lmdb.keys import U64, first_number, order_of
from tqbroker_broker.storage.lmdb.lanes import LaneKey, key_of
from tqbroker_broker.storage.lmdb.rows import Note
from tqbroker_broker.storage.lmdb.verifying.jobs import Jobs
from tqbroker_broker.storage.lmdb.verifying.look import Look, label


def lanes(look: Look) -> dict[LaneKey, int]:
    """The lanes by what their jobs have in common: as many as a broker has in memory."""
    numbers: dict[LaneKey, int] = {}
    cursor = look.snapshot.cursor("lanes")
    for packed, number, key in look.rows("names"):
        if key in numbers:
            look.fault(f"lanes {numbers[key]} and {number} are for the same jobs of queue {key.queue}")
        numbers[key] = number
        if number >= look.next_seq:
            look.fault(f"{label('names', packed)} has a number that was not given out yet")
        used = cursor is not None and cursor.set_range(packed) and cursor.key().startswith(packed)
        if key.passing and not used:
            look.fault(f"lane {number} of queue {key.queue} has no job, and should have gone with its last one")
    return numbers


def check_places(look: Look, numbers: dict[LaneKey, int], jobs: Jobs) -> None:
    """Every place has its job. They are looked at one by one only when there are more of them than jobs in places."""
    if look.snapshot.size("lanes") != jobs.placed["lanes"]:
        for packed, key, row in look.rows("lanes"):
            if key.order >= look.next_seq:
                look.fault(f"{label('lanes', packed)} has an order that was not given out yet")
            _check(look, numbers, packed, row.seq)
    if look.snapshot.size("delayed") != jobs.placed["delayed"]:
        for packed, due, _ in look.rows("delayed"):
            _check_due(look, packed, due.seq, due.due_ms)


def _check(look: Look, numbers: dict[LaneKey, int], packed: bytes, seq: int) -> None:
    """A place in a lane is that of a job that has not ended."""
    job, ended = look.get("jobs", U64.pack(seq)), look.has("final", U64.pack(seq))
    if job is None:
        if not look.has("jobs", U64.pack(seq)):
            look.fault(f"{label('lanes', packed)} is of job number {seq}, which is not there")
        return
    note = look.get("notes", U64.pack(seq)) or Note()
    own = numbers.get(key_of(job.head)), note.order or seq
    if ended or own != (first_number(packed), order_of(packed)):
        why = "has ended" if ended else "stands elsewhere"
        look.fault(f"{label('lanes', packed)} is of job number {seq}, which {why}")


def _check_due(look: Look, packed: bytes, seq: int, due_ms: int) -> None:
    """What is scheduled is a job that has not ended, for the moment that it is due."""
    job, ended = look.get("jobs", U64.pack(seq)), look.has("final", U64.pack(seq))
    if job is None:
        if not look.has("jobs", U64.pack(seq)):
            look.fault(f"{label('delayed', packed)} is of job number {seq}, which is not there")
        return
    note = look.get("notes", U64.pack(seq)) or Note()
    if ended or (note.due_ms or job.due_ms) != due_ms:
        look.fault(f"{label('delayed', packed)} is of a job that {'has ended' if ended else 'is due at another time'}")
