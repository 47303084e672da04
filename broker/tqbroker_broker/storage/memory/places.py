"""Where a job stands in its workflow, as readers and workers are told."""

from __future__ import annotations

from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Place
from tqbroker_broker.storage.memory.inputs import Inputs
from tqbroker_broker.storage.memory.reading import stored
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.workflows import Seat
from tqbroker_broker.workflows import On


class Places:
    """What goes with the delivery of a job of a workflow."""

    def __init__(self, store: MemoryStore, inputs: Inputs) -> None:
        self._store = store
        self._inputs = inputs

    def place(self, row: Row) -> Place | None:
        """Where the job stands and what it is handed; None for a job of no workflow."""
        seat = row.seat
        if seat is None:
            return None
        group = seat.group
        return Place(
            seat.workflow.id,
            seat.workflow.root,
            seat.parent,
            group.new.id if group else b"",
            group.members.index(row.id) if group else 0,
            in_chord=bool(group and group.followers),
            inputs=self._inputs.delivered(row),
            cause=self._cause(seat),
        )

    def _cause(self, seat: Seat) -> Job | None:
        """The job that failed, for its callback."""
        join = seat.awaited
        if join is None or join.new.on is not On.FAILURE or not seat.handed:
            return None
        row = self._store.jobs.get(join.cause)
        return stored(row, with_args=True) if row else None
