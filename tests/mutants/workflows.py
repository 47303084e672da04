"""Bugs in what follows the end of a job in its workflow."""

from __future__ import annotations

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.attempts import Refusal
from tqbroker_broker.records import JobId, State
from tqbroker_broker.storage.lmdb import counting, outcomes
from tqbroker_broker.storage.lmdb.counting import Counting, Ends
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.workflow_rows import CHUNK_MEMBERS
from tqbroker_broker.storage.lmdb.workflow_writer import Ended
from tqbroker_broker.workflow_decisions import Turn, turn
from tqbroker_broker.workflows import On


@mutant("a join counts each outcome that it is told of, also one that it was told of before", breaks="P8")
def counter_instead_of_set(plant: Plant) -> None:
    refusal, take_turn = outcomes._refusal, Counting._turn

    def told_again(group: Group, token: int, job_id: JobId | None) -> Refusal:
        answer = refusal(group, token, job_id)
        seq = group.store.seq_of(group.txn, job_id) if job_id is not None else None
        if answer is Refusal.ALREADY and seq is not None and job_id is not None and group.look_at_note(seq).node:
            group.workflows.ended.append(Ended(seq, State.SUCCEEDED, 0, 0, job_id))
        return answer

    def forgetful(self: Counting, ends: Ends, end: Ended) -> Turn:
        index = ends.first + end.seq
        ends.chunk, at = divmod(index, CHUNK_MEMBERS)
        ends.states = self._workflows.change_counted(ends.key, index)
        ends.states[at : at + 1] = bytes(len(ends.states[at : at + 1]))
        return take_turn(self, ends, end)

    plant(outcomes, "_refusal", told_again)
    plant(Counting, "_turn", forgetful)


@mutant("a join releases what follows one member too early", breaks="P8")
def released_too_early(plant: Plant) -> None:
    def hasty(on: On, state: State, left: int, *, unneeded: bool = False) -> Turn:
        return turn(on, state, max(left - 1, 0), unneeded=unneeded)

    plant(counting, "turn", hasty)


@mutant("an error callback that is not needed waits for ever", breaks="P7")
def follower_forgotten(plant: Plant) -> None:
    def forgetful(on: On, state: State, left: int, *, unneeded: bool = False) -> Turn:
        right = turn(on, state, left, unneeded=unneeded)
        return Turn.NOTHING if right is Turn.SPARE else right

    plant(counting, "turn", forgetful)
