"""Workflows as operators see them, and what is done with a whole one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.admin.listing import DEFAULT_LIMIT, MAX_ANSWER, MAX_LIMIT, MAX_SLICE, SECONDS, SLICE
from tqbroker_broker.answers import Cancelled
from tqbroker_broker.core import Core
from tqbroker_broker.guard import settled
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.messages.checks import check_range, check_signal
from tqbroker_broker.messages.ids import show
from tqbroker_broker.messages.questions import check_cursor
from tqbroker_broker.messages.shapes import check_workflow
from tqbroker_broker.messages.status import size_of
from tqbroker_broker.messages.workflows import read_states, write_join, write_node, write_workflow
from tqbroker_broker.questions import Effect, Redrive
from tqbroker_broker.records import State
from tqbroker_broker.refusals import Invalid, NotFound
from tqbroker_broker.workflows import JoinInfo, NodePage, WorkflowInfo

_HIT = frozenset({Cancelled.CANCELLED, Cancelled.RUNNING, Cancelled.PENDING})


async def list_workflows(core: Core, request: pb.ListWorkflowsRequest) -> pb.ListWorkflowsResponse:
    """A page, the oldest first. Raises Invalid."""
    check_range("limit", request.limit, 0, MAX_LIMIT)
    check_cursor(request.cursor)
    states, limit, cursor = read_states(request.states), request.limit or DEFAULT_LIMIT, request.cursor
    clock = asyncio.get_running_loop().time
    until = clock() + SECONDS
    found: list[WorkflowInfo] = []
    while True:
        page = await core.workflows.list(states, cursor, limit - len(found))
        found += page.workflows
        cursor = page.cursor
        if not cursor or len(found) >= limit or clock() > until:
            return pb.ListWorkflowsResponse(workflows=map(write_workflow, found), cursor=cursor)


# -- one workflow ------------------------------------------------------------------------------------------------------


async def get_workflow(core: Core, request: pb.GetWorkflowRequest) -> pb.GetWorkflowResponse:
    """A page of one workflow. Raises Invalid, NotFound."""
    check_workflow(request.id)
    check_range("limit", request.limit, 0, MAX_LIMIT)
    check_cursor(request.cursor)
    walk = _Walk(core, request)
    await walk.run()
    return walk.response


class _Walk:
    """The nodes from a cursor on: short of so many, and of too many bytes."""

    def __init__(self, core: Core, request: pb.GetWorkflowRequest) -> None:
        self.response = pb.GetWorkflowResponse(cursor=request.cursor)
        self._core = core
        self._id = request.id
        self._limit = request.limit or DEFAULT_LIMIT
        self._joins: dict[int, JoinInfo] = {}
        self._bytes = 0
        self._slice = SLICE

    async def run(self) -> None:
        """Reads until the answer is full or the workflow at its end."""
        while await self._next():
            pass
        self.response.joins.extend(write_join(self._joins[number]) for number in sorted(self._joins))

    async def _next(self) -> bool:
        count = min(self._slice, self._limit - len(self.response.nodes))
        page = await _page(self._core, self._id, self.response.cursor, count)
        for node in page.nodes:
            node.job.result = b""  # nobody looks at a workflow for results, and they are the largest part
        size = sum(size_of(node.job) for node in page.nodes)
        if self._bytes + size > MAX_ANSWER and count > 1:
            self._slice = max(count // 4, 1)
            return not self.response.nodes
        self._take(page)
        self._bytes += size
        self._slice = min(count * 2, MAX_SLICE) if size < MAX_ANSWER // 32 else count
        return bool(page.cursor) and len(self.response.nodes) < self._limit

    def _take(self, page: NodePage) -> None:
        self.response.workflow.CopyFrom(write_workflow(page.workflow))
        self.response.nodes.extend(write_node(node, self._core.waits_for(node.job)) for node in page.nodes)
        self._joins.update((join.join.number, join) for join in page.joins)
        self.response.cursor = page.cursor


async def _page(core: Core, workflow: bytes, cursor: bytes, limit: int) -> NodePage:
    page = await core.workflows.nodes(workflow, cursor, limit)
    if page is None:
        raise NotFound(
            f"there is no workflow {show(workflow)}, or it is no longer kept: ListWorkflows shows those there are",
            workflow=show(workflow),
        )
    return page


# -- orders ------------------------------------------------------------------------------------------------------------


async def edit_workflow(core: Core, request: pb.EditWorkflowRequest) -> pb.EditWorkflowResponse:
    """Cancels, retries or deletes a workflow; goes on when the caller goes away. Raises Invalid, NotFound."""
    check_workflow(request.id)
    check_signal(request.terminate, request.signal)
    match request.order:
        case pb.WORKFLOW_ORDER_CANCEL:
            verb = _cancel(core, request)
        case pb.WORKFLOW_ORDER_RETRY:
            verb = _retry(core, request.id)
        case pb.WORKFLOW_ORDER_DELETE:
            verb = _delete(core, request.id)
        case _:
            raise Invalid(f"order is {request.order}: it must be CANCEL, RETRY or DELETE")
    return pb.EditWorkflowResponse(changed=await settled(verb))


async def _pages(core: Core, workflow: bytes) -> AsyncIterator[NodePage]:
    """All nodes, a few at a time: large results must not pile up in memory, and others want their turn."""
    cursor = b""
    count = SLICE
    while True:
        page = await _page(core, workflow, cursor, count)
        size = sum(size_of(node.job) for node in page.nodes)
        count = min(count * 2, MAX_SLICE) if size < MAX_ANSWER // 32 else max(count // 4, 1)
        yield page
        cursor = page.cursor
        if not cursor:
            return


async def _cancel(core: Core, request: pb.EditWorkflowRequest) -> int:
    changed = 0
    async for page in _pages(core, request.id):
        ids = [node.job.id for node in page.nodes if node.job.state not in FINAL]
        if ids:
            answer = await core.cancel(ids, terminate=request.terminate, signal=request.signal)
            effects = zip(ids, answer.effects, strict=True)
            changed += len({job for job, effect in effects if effect in _HIT}.union(answer.final))
    return changed


async def _retry(core: Core, workflow: bytes) -> int:
    changed = 0
    async for page in _pages(core, workflow):
        ids = [node.job.id for node in page.nodes if node.job.state is State.FAILED and not node.job.cause]
        if ids:
            answer = await core.orders.edit(ids, Redrive(None, 0, 0))
            changed += answer.effects.count(Effect.DONE)
    return changed


async def _delete(core: Core, workflow: bytes) -> int:
    page = await _page(core, workflow, b"", 1)
    effect = await core.workflows.drop(workflow)
    if effect is Effect.WRONG_STATE:
        left = page.workflow.tally.left
        raise Invalid(f"{left} of its jobs have not ended: only a workflow that has ended is deleted; cancel it first")
    return page.workflow.tally.total
