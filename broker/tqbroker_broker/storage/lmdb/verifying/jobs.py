"""Jobs: each is in exactly one place, and what is kept of it stands where its note says.

All tables in the order of seqs are walked side by side; places and ids are looked up.
"""

from __future__ import annotations

from typing import Any

from tqbroker_broker.records import State
from tqbroker_broker.storage.lmdb.group import COLUMN, READY, SCHEDULED, WAITING
from tqbroker_broker.storage.lmdb.keys import (
    COLUMNS,
    EXPIRY,
    MARKS,
    NOTED,
    PLAIN,
    RETENTION,
    TOKEN_AT,
    U64,
    delayed_key,
    first_number,
)
from tqbroker_broker.storage.lmdb.lanes import LaneKey, key_of
from tqbroker_broker.storage.lmdb.rows import Final, JobRow, Note, unpack_job
from tqbroker_broker.storage.lmdb.table_rows import UNREADABLE
from tqbroker_broker.storage.lmdb.tables import TABLES
from tqbroker_broker.storage.lmdb.verifying.beside import Beside, Rows
from tqbroker_broker.storage.lmdb.verifying.look import Look, job_text
from tqbroker_broker.storage.lmdb.verifying.plans import Plans
from tqbroker_broker.storage.lmdb.verifying.runs import Runs
from tqbroker_broker.storage.lmdb.verifying.seqs import Seqs

SIDES = ("final", "dead", "notes", "attempts", "progress", "trails", "forgotten")
NO_NOTE = Note()


class Jobs:
    """The walk over all jobs. `tally` counts them by queue and state, as `counts` should."""

    def __init__(self, look: Look, plans: Plans, lanes: dict[LaneKey, int]) -> None:
        self._look = look
        self._plans = plans
        self._lanes = lanes
        self._runs = Runs(look)
        self._sides = {name: Beside(look.snapshot, name, self._stray) for name in SIDES}
        self.tally: dict[str, list[int]] = {}
        self.unreadable = 0
        """Jobs of which it is not known where they belong."""
        self.placed = {"lanes": 0, "delayed": 0}
        """How many jobs stand in a place."""
        self.waiting = Seqs()
        """Those that wait for others of their workflow, and stand in no place yet."""

    def walk(self) -> None:
        """Walks all of it."""
        for packed, raw in self._look.snapshot.raw("jobs"):
            sides = {name: side.of(first_number(packed)) for name, side in self._sides.items()}
            try:
                job = unpack_job(raw)
            except UNREADABLE as problem:
                self.unreadable += 1
                self._look.damage("jobs", packed, problem)
            else:
                self._check(packed, job, sides)
        for side in self._sides.values():
            side.rest()

    def _stray(self, name: str, seq: int) -> None:
        if name != "forgotten":
            self._look.fault(f"{name}: row {seq} belongs to no job")

    def _check(self, packed: bytes, job: JobRow, sides: dict[str, Rows]) -> None:
        seq = first_number(packed)
        what = f"job {job_text(job.id)} (number {seq})"
        if seq >= self._look.next_seq:
            self._look.fault(f"{what} has a number that was not given out yet")
        self._check_id(what, packed, job)
        note = self._read(what, "notes", sides) if sides["notes"] else NO_NOTE
        end = self._read(what, "final", sides)
        self._check_sides(what, sides)
        if note is not None:
            self._check_note(what, seq, note, sides)
        if end is not None:
            self._check_end(what, seq, job, note or NO_NOTE, end.final, sides)
        elif sides["final"] or note is None:
            self.unreadable += 1
        else:
            self._check_place(what, seq, job, note, bool(sides["notes"]))

    def _read(self, what: str, name: str, sides: dict[str, Rows]) -> Any:
        """The row of a table that has one a job; None if there is none, or it cannot be read."""
        for key, raw in sides[name]:
            try:
                return TABLES[name].row.read(key, raw)
            except UNREADABLE as problem:
                self._look.damage(name, key, problem)
        return None

    def _check_id(self, what: str, packed: bytes, job: JobRow) -> None:
        row = self._look.snapshot.get("ids", job.id)
        if row is None:
            self._look.fault(f"{what} cannot be found under its id: it would be stored again if it were sent again")
        elif len(row) != TOKEN_AT or row[: U64.size] != packed:
            self._look.fault(f"{what} cannot be found under its id, which belongs to another job")

    def _check_sides(self, what: str, sides: dict[str, Rows]) -> None:
        """What is said of the job by tables that nothing else is compared with."""
        for name in ("attempts", "progress", "trails"):
            for key, raw in sides[name]:
                try:
                    TABLES[name].key.read(key)
                    TABLES[name].row.read(key, raw)
                except UNREADABLE as problem:
                    self._look.damage(name, key, problem)
        if sides["trails"] and not sides["final"]:
            self._look.fault(f"{what} has not ended, and there is a list of what its body submitted")
        if sides["forgotten"]:
            self._look.fault(f"{what} is there, and is listed as dropped")

    def _check_note(self, what: str, seq: int, note: Note, sides: dict[str, Rows]) -> None:
        if note.attempts != len(sides["attempts"]):
            self._look.fault(f"{what} has {len(sides['attempts'])} earlier attempts, and its note says {note.attempts}")
        if note.annotated != bool(sides["progress"]):
            self._look.fault(f"{what}: its note and the table of progress disagree on whether it said something")
        if self._runs.knows(seq) and note.node != (self._runs.of(seq) is not None):
            self._look.fault(f"{what}: its note and the table of places disagree on whether it is in a workflow")
        if note.order >= self._look.next_seq:
            self._look.fault(f"{what} has a place that was not given out yet")

    # -- where it is ---------------------------------------------------------------------------------------------------

    def _count(self, queue: str, column: int) -> None:
        if queue not in self.tally:
            self.tally[queue] = [0] * COLUMNS
        self.tally[queue][column] += 1

    def _check_end(self, what: str, seq: int, job: JobRow, note: Note, final: Final, sides: dict[str, Rows]) -> None:
        if final.state not in COLUMN:
            self._look.fault(f"{what} has ended as {final.state.name}, which is no end")
            return
        self._count(job.head.queue, COLUMN[final.state])
        if (final.state is State.FAILED) != bool(sides["dead"]):
            self._look.fault(f"{what} has ended as {final.state.name}, and the list of dead letters says otherwise")
        if not note.node and seq not in self._plans.sets[RETENTION]:
            self._look.fault(f"{what} has ended, and would never be dropped: it is not on the agenda")

    def _check_place(self, what: str, seq: int, job: JobRow, note: Note, noted: bool) -> None:
        if note.node and self._runs.waits(seq):
            self._count(job.head.queue, WAITING)
            self.waiting.add(seq)
        elif not self._stands(what, seq, job, note, noted):
            self._look.fault(f"{what} has not ended, and stands nowhere: nobody would ever run it")
        elif job.expires_ms and seq not in self._plans.sets[EXPIRY]:
            self._look.fault(f"{what} would never expire: it is not on the agenda")
        if note.cancel and seq not in self._plans.sets[MARKS]:
            self._look.fault(f"{what} has a cancel mark that is not on the agenda")

    def _stands(self, what: str, seq: int, job: JobRow, note: Note, noted: bool) -> bool:
        """Whether the job stands in its lane or is scheduled."""
        lane = self._lanes.get(key_of(job.head))
        place = U64.pack(lane) + U64.pack(note.order or seq) if lane is not None else b""
        row = self._look.snapshot.get("lanes", place) if place else None
        if row is not None and first_number(row) == seq:
            self.placed["lanes"] += 1
            self._count(job.head.queue, READY)
            if row[U64.size :] != (NOTED if noted else PLAIN):
                self._look.fault(f"{what}: its place and the table of notes disagree on whether it has a note")
            return True
        due_ms = note.due_ms or job.due_ms
        if not due_ms or not self._look.has("delayed", delayed_key(due_ms, seq)):
            return False
        self.placed["delayed"] += 1
        self._count(job.head.queue, SCHEDULED)
        return True
