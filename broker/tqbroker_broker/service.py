"""The Queue service: what applications ask. Handlers translate; the core decides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tqbroker.v1 import queue_pb2 as pb
from tqbroker_broker import workflow_calls
from tqbroker_broker.answers import Job
from tqbroker_broker.calls import Context
from tqbroker_broker.core import Core
from tqbroker_broker.enqueue_stream import EnqueueCalls, enqueue
from tqbroker_broker.guard import settled
from tqbroker_broker.messages.checks import check_signal
from tqbroker_broker.messages.ids import read_ids
from tqbroker_broker.messages.status import size_of, write_status
from tqbroker_broker.records import JobId
from tqbroker_broker.refusals import TooLarge
from tqbroker_broker.wait_stream import WaitCall

MAX_ANSWER = 12 << 20
"""Bytes of one answer: clients take messages of at most 16 MiB."""


class QueueService:
    """Submit, ask, wait, cancel, forget; workflows and groups."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def enqueue(self, request: pb.EnqueueRequest) -> pb.EnqueueResponse:
        return await settled(enqueue(self._core, request))

    async def enqueue_stream(self, context: Context) -> None:
        await EnqueueCalls(self._core, context).run()

    async def get(self, request: pb.GetRequest) -> pb.GetResponse:
        ids = read_ids(request.ids, self._core.config.max_request_jobs)
        response = pb.GetResponse()
        size = 0
        async for jobs in self._core.read(ids, with_args=request.with_args, with_children=request.with_children):
            size += sum(map(size_of, jobs))
            if size > MAX_ANSWER:
                raise TooLarge(f"the answer for these {len(ids)} ids has more than {MAX_ANSWER} bytes: ask for fewer")
            response.jobs.extend(self._statuses(jobs, request.with_args))
        return response

    def _statuses(self, jobs: list[Job], with_args: bool) -> Iterator[Any]:
        return (write_status(job, self._core.waits_for(job), with_args=with_args) for job in jobs)

    async def wait(self, context: Context) -> None:
        await WaitCall(self._core, context).run()

    async def cancel(self, request: pb.CancelRequest) -> pb.CancelResponse:
        check_signal(request.terminate, request.signal)
        answer = await self._core.cancel(self._ids(request), terminate=request.terminate, signal=request.signal)
        return pb.CancelResponse(effects=[pb.CancelEffect.ValueType(int(effect)) for effect in answer.effects])

    async def forget(self, request: pb.ForgetRequest) -> pb.ForgetResponse:
        return pb.ForgetResponse(forgotten=await self._core.forget(self._ids(request)))

    async def submit_workflow(self, request: pb.SubmitWorkflowRequest) -> pb.SubmitWorkflowResponse:
        return await workflow_calls.submit(self._core, request)

    async def get_inputs(self, request: pb.GetInputsRequest) -> pb.GetInputsResponse:
        return await workflow_calls.get_inputs(self._core, request)

    async def get_group(self, request: pb.GetGroupRequest) -> pb.GetGroupResponse:
        return await workflow_calls.get_group(self._core, request)

    async def save_group(self, request: pb.SaveGroupRequest) -> pb.SaveGroupResponse:
        return await workflow_calls.save_group(self._core, request)

    async def delete_group(self, request: pb.DeleteGroupRequest) -> pb.DeleteGroupResponse:
        return await workflow_calls.delete_group(self._core, request)

    def _ids(self, request: pb.CancelRequest | pb.ForgetRequest) -> list[JobId]:
        return read_ids(request.ids, self._core.config.max_request_jobs)
