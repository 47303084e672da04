"""Bugs in how a change gets to the disk."""

from __future__ import annotations

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.storage.lmdb.commit import Committer, Try


@mutant("a change is answered when it is written down, before it is on the disk", breaks="P1")
def reply_before_commit(plant: Plant) -> None:
    launch = Committer._launch

    def hasty(self: Committer, attempt: Try) -> None:
        launch(self, attempt)
        for op in attempt.ops:
            if not op.future.done():
                op.future.set_result(op.answer)

    plant(Committer, "_launch", hasty)
