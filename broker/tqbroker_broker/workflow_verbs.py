"""Workflows: taken in, looked at, dropped; what their jobs are handed; groups.

A change goes on when its caller goes away during the commit, so that everybody concerned hears of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tqbroker._failpoint import hit
from tqbroker_broker.agenda import Agenda
from tqbroker_broker.dispatch import Dispatcher
from tqbroker_broker.guard import Guard, settled
from tqbroker_broker.inflight import InFlight
from tqbroker_broker.questions import Effect
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.refusals import Invalid, Stopping
from tqbroker_broker.workflows import Inputs, Members, NodePage, Part, PartAnswer, WorkflowPage, WorkflowState

T = TypeVar("T")


class WorkflowVerbs:
    """What is done with whole workflows and groups."""

    def __init__(self, guard: Guard, dispatcher: Dispatcher, agenda: Agenda, inflight: InFlight) -> None:
        self._guard = guard
        self._dispatcher = dispatcher
        self._agenda = agenda
        self._inflight = inflight
        self.stopping = False

    async def _write(self, verb: Callable[[], Awaitable[T]], size: int = 0) -> T:
        """A change of so many bytes, for which a stop waits."""
        self._inflight.enter(size)
        try:
            return await self._guard.do(verb())
        finally:
            self._inflight.leave(size)

    # -- submitting --------------------------------------------------------------------------------------------------

    async def submit(self, part: Part, size: int, now: Time) -> PartAnswer:
        """Stores a part of `size` bytes and hands out what is ready. Raises Stopping, Busy, StoreFull."""
        if self.stopping:
            raise Stopping("the broker is stopping and takes no new work: send again in a moment")
        return await settled(self._submit(part, size, now))

    async def _submit(self, part: Part, size: int, now: Time) -> PartAnswer:
        answer = await self._write(lambda: self._guard.engine.submit(part, now), size)
        hit("after_workflow_commit")
        self._agenda.due_at(answer.next_due_ms, now)
        self._dispatcher.wake_queues(answer.woken)
        await self._dispatcher.run()
        return answer

    # -- what jobs are handed ------------------------------------------------------------------------------------------

    async def inputs(self, job: JobId, first: int) -> Inputs | None:
        """Some values that a job is handed; None when it is handed none."""
        return await self._guard.do(self._guard.engine.inputs(job, first))

    # -- groups --------------------------------------------------------------------------------------------------------

    async def group(self, group: bytes, first: int, limit: int) -> Members | None:
        """Some members of a group; None when there is no such."""
        return await self._guard.do(self._guard.engine.group(group, first, limit))

    async def save_group(self, group: bytes, ids: Sequence[JobId]) -> None:
        """Remembers jobs as a group. Raises StoreFull."""
        size = sum(map(len, ids))
        await settled(self._write(lambda: self._guard.engine.save_group(group, ids, self._guard.now()), size))

    async def delete_group(self, group: bytes) -> bool:
        """Forgets a group. Returns whether there was one."""
        return await settled(self._write(lambda: self._guard.engine.delete_group(group)))

    # -- whole workflows -----------------------------------------------------------------------------------------------

    async def list(self, states: frozenset[WorkflowState], cursor: bytes, limit: int) -> WorkflowPage:
        """Some workflows in these states (none: all). Raises Invalid for a cursor that is none."""
        try:
            return await self._guard.do(self._guard.engine.workflows(states, cursor, limit))
        except ValueError as error:
            raise _no_cursor(error) from error

    async def nodes(self, workflow: bytes, cursor: bytes, limit: int) -> NodePage | None:
        """Some jobs of a workflow; None when there is no such. Raises Invalid for a cursor that is none."""
        try:
            return await self._guard.do(self._guard.engine.nodes(workflow, cursor, limit))
        except ValueError as error:
            raise _no_cursor(error) from error

    async def drop(self, workflow: bytes) -> Effect:
        """Drops a workflow with all its jobs, unless some have not ended. Time does the work."""
        effect = await settled(self._write(lambda: self._guard.engine.drop_workflow(workflow, self._guard.now())))
        self._agenda.at_once(self._guard.now())
        return effect


def _no_cursor(error: ValueError) -> Invalid:
    return Invalid(f"the cursor is not one of this broker's ({error}): begin without one")
