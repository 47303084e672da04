"""Workflows: their parts, their tallies, what they were added to, and when they go.

One that is being dropped has lost some of its rows already: of it only the id is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tqbroker_broker.records import State
from tqbroker_broker.storage.lmdb.keys import TURNS, U64, WORKFLOWS, first_number
from tqbroker_broker.storage.lmdb.rows import unpack_final
from tqbroker_broker.storage.lmdb.table_rows import UNREADABLE, Span, read_span
from tqbroker_broker.storage.lmdb.verifying.look import Look
from tqbroker_broker.storage.lmdb.verifying.plans import Plans
from tqbroker_broker.storage.lmdb.workflow_rows import PART, WorkflowRow


def is_dropping(look: Look, workflow: WorkflowRow | None) -> bool:
    """Whether a workflow, or the one that it was added to, is on its way out; also one that cannot be read."""
    if workflow is not None and workflow.into:
        workflow = look.get("workflows", U64.pack(workflow.into))
    return workflow is None or workflow.dropping


def check_workflows(look: Look, plans: Plans) -> None:
    """Every workflow, and the tables that lead to them."""
    for packed, number, row in look.rows("workflows"):
        Workflow(look, plans, packed, number, row).check()
    for packed, _, number in look.rows("workflow_ids"):
        workflow = look.get("workflows", U64.pack(number))
        if workflow is not None and workflow.id != packed:
            look.fault(f"the id {packed.hex()} leads to workflow {workflow.id.hex()}")
        elif not look.has("workflows", U64.pack(number)):
            look.fault(f"the id {packed.hex()} leads to workflow number {number}, which is not there")
    for name in ("parts", "takers"):
        for packed, _, _ in look.rows(name):
            if not look.has("workflows", packed[: U64.size]):
                look.fault(f"{name}: a row is of workflow number {first_number(packed)}, which is not there")


class Workflow:
    """One of them."""

    def __init__(self, look: Look, plans: Plans, packed: bytes, number: int, row: WorkflowRow) -> None:
        self._look = look
        self._plans = plans
        self._packed = packed
        self._number = number
        self._row = row
        self._what = f"workflow {row.id.hex()} (number {number})"

    def check(self) -> None:
        """Looks at all of it."""
        row, look = self._row, self._look
        if look.snapshot.get("workflow_ids", row.id) != self._packed:
            look.fault(f"{self._what} cannot be found under its id")
        if self._number >= look.next_seq:
            look.fault(f"{self._what} has a number that was not given out yet")
        self._check_agenda()
        if is_dropping(look, row):
            return
        spans = list(self._spans(self._number))
        if not self._is_whole(spans):
            return
        self._check_total([span for _, span in spans])
        self._check_taker()
        if row.into:
            self._check_host()
        elif not look.damaged & {"jobs", "final", "notes", "nodes"}:
            self._check_tally([span for _, span in spans])

    def _check_agenda(self) -> None:
        """What goes on by itself one day is on the agenda."""
        row = self._row
        over = row.dropping or not row.live or not row.left
        if over and not row.into and self._number not in self._plans.sets[WORKFLOWS]:
            self._look.fault(f"{self._what} would never be dropped: it is not on the agenda")

    def _spans(self, number: int) -> Iterator[tuple[int, Span]]:
        """The parts of a workflow, by their numbers in the keys."""
        prefix = U64.pack(number)
        for packed, raw in self._look.snapshot.raw("parts", prefix):
            if not packed.startswith(prefix):
                return
            try:
                yield PART.unpack(packed)[1], read_span(packed, raw)
            except UNREADABLE:
                self._look.damaged.add("parts")

    def _is_whole(self, spans: list[tuple[int, Span]]) -> bool:
        """Whether all its parts are there."""
        own = {part for part, _ in spans if part}
        if len(own) != self._row.parts or max(own, default=0) != self._row.parts:
            self._look.fault(f"{self._what} has {len(own)} parts, and {self._row.parts} are counted")
            return False
        return "parts" not in self._look.damaged and self._is_apart([span for _, span in spans])

    def _is_apart(self, spans: list[Span]) -> bool:
        """Whether no job is in two parts."""
        ends = sorted((span.first, span.first + span.jobs) for span in spans)
        apart = all(end <= first for (_, end), (first, _) in pairwise(ends))
        if not apart:
            self._look.fault(f"{self._what} has a job in two of its parts")
        return apart

    def _check_total(self, spans: list[Span]) -> None:
        """As many jobs as its parts have; what is to take the place of a job is none."""
        homes = {span.home for span in spans}
        takers = 0
        for home in homes:
            workflow = self._look.get("workflows", U64.pack(home))
            takers += workflow is not None and bool(workflow.taker)
        found = sum(span.jobs for span in spans) - takers
        if found != self._row.total:
            self._look.fault(f"{self._what} has {found} jobs in its parts, and {self._row.total} are counted")
        row = self._row
        if row.total != row.left + row.succeeded + row.failed + row.cancelled + row.unneeded:
            self._look.fault(f"{self._what}: the ends of its jobs do not add up: {row.tally}")

    def _check_taker(self) -> None:
        row = self._row
        if (bool(row.taker) and not row.live) != self._look.has("takers", self._packed):
            self._look.fault(f"{self._what}: what is to take the place of a job is there and should not be, or is not")

    def _check_host(self) -> None:
        host = self._look.get("workflows", U64.pack(self._row.into))
        if host is not None and (host.into or self._row.shift + self._row.joins > host.joins):
            self._look.fault(f"{self._what} was added to workflow number {self._row.into}, which does not know of it")

    def _check_tally(self, spans: list[Span]) -> None:
        """The ends of its jobs, but for those that are still to be counted."""
        states, gone, pending = self._ends(spans)
        row = self._row
        left = states.pop(None, 0) + pending
        cancelled = states.get(State.CANCELLED, 0)
        failed = states.get(State.FAILED, 0) + states.get(State.EXPIRED, 0)
        pairs = (
            ("left", left, row.left, 0),
            ("succeeded", states.get(State.SUCCEEDED, 0), row.succeeded, gone),
            ("cancelled or not needed", cancelled, row.cancelled + row.unneeded, gone + pending),
            ("failed", failed, row.failed, gone + pending),
        )
        for name, found, counted, slack in pairs:
            if abs(found - counted) > slack:
                self._look.fault(f"{self._what}: {found} of its jobs are {name}, and {counted} are counted")

    def _ends(self, spans: list[Span]) -> tuple[dict[State | None, int], int, int]:
        """Its jobs by how they ended (None: they have not), how many are gone, how many are still to be counted."""
        states: dict[State | None, int] = {}
        gone = pending = 0
        for span in spans:
            end = span.first + span.jobs
            gone += sum(1 for _ in self._look.snapshot.between("forgotten", span.first, end))
            for packed in self._look.snapshot.between("jobs", span.first, end):
                pending += first_number(packed) in self._plans.sets[TURNS]
                state = self._state(packed)
                states[state] = states.get(state, 0) + 1
        return states, gone, pending

    def _state(self, packed: bytes) -> State | None:
        raw = self._look.snapshot.get("final", packed)
        try:
            return unpack_final(raw, first_number(packed)).state if raw is not None else None
        except UNREADABLE:
            return State.FAILED
