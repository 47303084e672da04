"""Lanes, and places that no job stands in."""

from __future__ import annotations

from tqbroker_broker.storage.lmdb.keys import PAIR, U64, first_number
from tqbroker_broker.storage.lmdb.lanes import LaneKey, key_of
from tqbroker_broker.storage.lmdb.rows import JobRow, Note
from tqbroker_broker.storage.lmdb.table_rows import Standing
from tqbroker_broker.storage.lmdb.tables import Due, Place
from tqbroker_broker.storage.lmdb.verifying.jobs import NO_NOTE, Jobs
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
    places = Places(look, numbers, jobs)
    for name, check in (("lanes", places.check_standing), ("delayed", places.check_due)):
        rows, standing = look.snapshot.size(name), jobs.placed[name]
        if rows != standing:
            for packed, key, row in look.rows(name):
                check(packed, key, row)
            if look.report.sound:
                look.fault(f"{name}: LMDB counts {rows} rows, and {standing} jobs stand there")


class Places:
    """The places, each asked for its job."""

    def __init__(self, look: Look, numbers: dict[LaneKey, int], jobs: Jobs) -> None:
        self._look = look
        self._numbers = numbers
        self._waiting = jobs.waiting

    def check_standing(self, packed: bytes, key: Place, row: Standing) -> None:
        """A place in a lane is that of a job that has not ended, and waits for no other."""
        look, seq = self._look, row.seq
        if key.order >= look.next_seq:
            look.fault(f"{label('lanes', packed)} has an order that was not given out yet")
        if (job := self._job("lanes", packed, seq)) is not None and (why := self._why_not(seq, packed, job)):
            look.fault(f"{label('lanes', packed)} is of job number {seq}, which {why}")

    def _why_not(self, seq: int, packed: bytes, job: JobRow) -> str:
        if self._look.has("final", U64.pack(seq)):
            return "has ended"
        if self._place(seq, job) != packed:
            return "stands elsewhere"
        return "waits for others" if seq in self._waiting else ""

    def check_due(self, packed: bytes, due: Due, _: None) -> None:
        """What is scheduled is a job that has not ended and stands in no lane yet, for the moment that it is due."""
        look, seq = self._look, due.seq
        job = self._job("delayed", packed, seq)
        if job is None:
            return
        place = self._place(seq, job)
        standing = look.snapshot.get("lanes", place) if place else None
        if look.has("final", U64.pack(seq)):
            why = "has ended"
        elif (self._note(seq).due_ms or job.due_ms) != due.due_ms:
            why = "is due at another time"
        elif standing is not None and first_number(standing) == seq:
            why = "stands in its lane already"
        else:
            why = "waits for others" if seq in self._waiting else ""
        if why:
            look.fault(f"{label('delayed', packed)} is of a job that {why}")

    def _job(self, name: str, packed: bytes, seq: int) -> JobRow | None:
        """The job of a place; None of one that cannot be read, or is not there, which is noted."""
        job: JobRow | None = self._look.get("jobs", U64.pack(seq))
        if job is None and not self._look.has("jobs", U64.pack(seq)):
            self._look.fault(f"{label(name, packed)} is of job number {seq}, which is not there")
        return job

    def _note(self, seq: int) -> Note:
        note: Note | None = self._look.get("notes", U64.pack(seq))
        return note or NO_NOTE

    def _place(self, seq: int, job: JobRow) -> bytes:
        """The key of the only place in a lane that a job may have; empty if there is no such lane."""
        lane = self._numbers.get(key_of(job.head))
        return PAIR.pack(lane, self._note(seq).order or seq) if lane is not None else b""
