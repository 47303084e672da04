"""Joins: their members, what the ends of these were counted for, how they were decided, and who follows them."""

from __future__ import annotations

from collections.abc import Iterator

from tqbroker_broker.storage.lmdb.keys import TURNS, U64
from tqbroker_broker.storage.lmdb.table_rows import UNREADABLE, numbers
from tqbroker_broker.storage.lmdb.verifying.look import Look, job_text
from tqbroker_broker.storage.lmdb.verifying.plans import Plans
from tqbroker_broker.storage.lmdb.verifying.workflows import is_dropping
from tqbroker_broker.storage.lmdb.workflow_rows import (
    GATE,
    JOIN,
    Counted,
    Join,
    JoinState,
)
from tqbroker_broker.workflows import On


def check_joins(look: Look, plans: Plans) -> None:
    """All joins, and the tables that lead to them."""
    for packed, name, join in look.rows("joins"):
        workflow = look.get("workflows", packed[: U64.size])
        if not is_dropping(look, workflow):
            OneJoin(look, plans, packed, f"join {name.join} of workflow number {name.workflow}", join).check()
        elif not look.has("workflows", packed[: U64.size]):
            look.fault(f"join {name.join} is of workflow number {name.workflow}, which is not there")
    for name in ("members", "counted"):
        for packed, _, _ in look.rows(name):
            if not look.has("joins", packed[: JOIN.size]) and not _is_gone(look, packed):
                look.fault(f"{name}: a row is of a join that is not there: {packed.hex()}")
    _check_followers(look)
    for packed, _, name in look.rows("groups"):
        join = look.get("joins", JOIN.pack(*name))
        if join is not None and join.id != packed:
            look.fault(f"the id {job_text(packed)} leads to the group {job_text(join.id)}")
        elif not look.has("joins", JOIN.pack(*name)):
            look.fault(f"the id {job_text(packed)} leads to a group that is not there")


def _is_gone(look: Look, packed: bytes) -> bool:
    """Whether the workflow of a row is being dropped."""
    workflow = look.get("workflows", packed[: U64.size])
    return look.has("workflows", packed[: U64.size]) and is_dropping(look, workflow)


def _check_followers(look: Look) -> None:
    for packed, follower, _ in look.rows("followers"):
        if _is_gone(look, packed):
            continue
        raw = look.snapshot.get("nodes", U64.pack(follower.first))
        run = look.get("nodes", U64.pack(follower.first))
        if raw is None or (run is not None and run.nodes.after != follower[:2]):
            look.fault(f"followers: job number {follower.first} is listed where it does not wait")
        join = look.get("joins", packed[: JOIN.size])
        if follower.join != GATE and join is not None and not join.followed:
            look.fault(f"followers: join {follower.join} of workflow number {follower.workflow} says it has none")


class OneJoin:
    """One of them."""

    def __init__(self, look: Look, plans: Plans, packed: bytes, what: str, join: Join) -> None:
        self._look = look
        self._plans = plans
        self._packed = packed
        self._what = what
        self._join = join

    def check(self) -> None:
        """Looks at all of it. One that could not be read once, and was given up, has no members of its own."""
        join = self._join
        if join.state == JoinState.BROKEN and not join.members and not join.decider:
            return
        members = found = towards = against = 0
        for seqs, states in self._chunks():
            members += len(seqs)
            for at, seq in enumerate(seqs):
                state = states[at] if at < len(states) else Counted.NOT
                towards += state == Counted.TOWARDS
                against += state == Counted.AGAINST
                found += 1
                self._check_member(seq, state)
        if (members, towards, against) != (join.members, join.members - join.left, join.against):
            self._look.fault(
                f"{self._what} has {members} members of which {towards} count towards it and {against} against it, "
                f"and says {join.members}, {join.members - join.left} and {join.against}"
            )
        self._check_state()

    def _chunks(self) -> Iterator[tuple[list[int], bytes]]:
        """The members with what their ends were, as many as a row has."""
        for key, raw in self._look.snapshot.raw("members", self._packed):
            if not key.startswith(self._packed):
                return
            try:
                yield numbers(raw), self._look.snapshot.get("counted", key) or b""
            except UNREADABLE:
                continue

    def _check_member(self, seq: int, state: int) -> None:
        """The end of a member has counted, unless there is none, or it is still to be counted."""
        packed = U64.pack(seq)
        if state > Counted.AGAINST:
            self._look.fault(f"{self._what}: the end of job number {seq} is counted as {state}, which is nothing")
        ended = self._look.has("final", packed) or not self._look.has("jobs", packed)
        taker = not self._look.has("jobs", packed) and not self._look.has("forgotten", packed)
        if ended != bool(state) and seq not in self._plans.sets[TURNS] and not taker:
            says = "has not counted" if ended else "has counted, and it has not ended"
            self._look.fault(f"{self._what}: the end of its member number {seq} {says}")

    def _check_state(self) -> None:
        """What has to be decided is decided."""
        join, fault = self._join, self._look.fault
        if join.state == JoinState.OPEN and join.members:
            if join.against or not join.left:
                fault(f"{self._what} is open, and all is known that decides it: what waits for it would wait for ever")
        elif join.on is On.SUCCESS and join.state == JoinState.RELEASED and join.left:
            fault(f"{self._what} has let its followers go, and {join.left} of its members have not succeeded")
        elif join.on is On.SUCCESS and join.state == JoinState.BROKEN and not join.against:
            fault(f"{self._what} is broken, and none of its members broke it")
