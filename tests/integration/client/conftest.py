"""A test double of the wire: the Queue service in memory, in this process, with faults on demand.

It is not a broker: no order, no leases, no workers. It answers what a broker would answer, and a test can tell it to
lose a reply, to refuse, to stay silent, or to go away and come back on the same port.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import grpc
import pytest

from tqbroker import App, codec
from tqbroker.ids import Key, key_of
from tqbroker.messages import pack_ids, unpack_ids
from tqbroker.v1 import errors_pb2, job_pb2, queue_pb2, queue_pb2_grpc, workflow_pb2

_SERVER_OPTIONS = [("grpc.so_reuseport", 0), ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000)]

Fault = Callable[[queue_pb2.EnqueueStreamRequest], str]
"""Asked for each submit: "" for none, "lose" (store, then break the call), "drop" (break the call), "silent", or the
name of a reason to refuse it with."""


def no_fault(request: queue_pb2.EnqueueStreamRequest) -> str:
    """Everything is well."""
    return ""


class WireDouble(queue_pb2_grpc.QueueServicer):
    """The service and the server around it."""

    def __init__(self) -> None:
        self.jobs: dict[Key, job_pb2.JobStatus] = {}
        self.requests: list[queue_pb2.EnqueueStreamRequest] = []
        self.fault: Fault = no_fault
        self.parts: list[workflow_pb2.WorkflowPart] = []
        self.part_fault: Callable[[workflow_pb2.WorkflowPart], str] = lambda part: ""
        self.groups: dict[bytes, list[Key]] = {}
        self.retry_after_ms = 20
        self.watched = threading.Event()
        self.watching: set[Key] = set()
        self.wait_calls = 0
        self.reads = 0
        self._changed = threading.Condition()
        self._server: grpc.Server | None = None
        self.port = 0

    # -- the server ---------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"tq://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(32), options=_SERVER_OPTIONS)
        queue_pb2_grpc.add_QueueServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            with self._changed:
                self._changed.notify_all()
            server.stop(None).wait()

    # -- what a worker would do ---------------------------------------------------------------------------------------

    def finish(self, id: str, value: Any) -> None:  # noqa: A002
        self._end(id, state=job_pb2.STATE_SUCCEEDED, result=codec.encode(value), result_format="json")

    def fail(self, id: str, failure: job_pb2.Failure) -> None:  # noqa: A002
        self._end(id, state=job_pb2.STATE_FAILED, failure=failure)

    def end(self, id: str, state: job_pb2.State.ValueType) -> None:  # noqa: A002
        self._end(id, state=state)

    def beget(self, parent: str, *children: str) -> None:
        """The job has these children."""
        self.jobs[key_of(parent)].children.CopyFrom(pack_ids(map(key_of, children)))

    def _end(self, id: str, **fields: Any) -> None:  # noqa: A002
        with self._changed:
            self.jobs[key_of(id)].MergeFrom(job_pb2.JobStatus(finished_unix_ms=1_700_000_000_500, **fields))
            self._changed.notify_all()

    def until_watching(self, count: int) -> None:
        """Returns when so many jobs have been waited for."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.watching) >= count, 5)

    # -- the wire -----------------------------------------------------------------------------------------------------

    def Enqueue(  # noqa: N802
        self, request: queue_pb2.EnqueueRequest, context: grpc.ServicerContext
    ) -> queue_pb2.EnqueueResponse:
        return self._store(request)

    def EnqueueStream(  # noqa: N802
        self, request_iterator: Iterator[queue_pb2.EnqueueStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[queue_pb2.EnqueueStreamResponse]:
        for request in request_iterator:
            if not request.request.batches:
                yield queue_pb2.EnqueueStreamResponse(call=request.call, response=queue_pb2.EnqueueResponse())
                continue
            self.requests.append(request)
            fault = self.fault(request)
            if fault in ("", "lose"):
                response = self._store(request.request)
                if not fault:
                    yield queue_pb2.EnqueueStreamResponse(call=request.call, response=response)
            if fault in ("lose", "drop"):
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            if fault not in ("", "silent"):
                error = errors_pb2.Error(
                    reason=errors_pb2.Reason.Value(f"REASON_{fault}"),
                    message=f"refused for {fault}",
                    retry_after_ms=self.retry_after_ms,
                )
                yield queue_pb2.EnqueueStreamResponse(call=request.call, error=error)

    def _store(self, request: queue_pb2.EnqueueRequest) -> queue_pb2.EnqueueResponse:
        response = queue_pb2.EnqueueResponse()
        with self._changed:
            for number, batch in enumerate(request.batches):
                for index, key in enumerate(unpack_ids(batch.ids)):
                    self._store_one(response, number, index, key, batch)
            self._changed.notify_all()
        return response

    def _store_one(
        self, response: queue_pb2.EnqueueResponse, number: int, index: int, key: Key, batch: job_pb2.JobBatch
    ) -> None:
        known = self.jobs.get(key)
        if known is None:
            self.jobs[key] = _status(key, batch, batch.args[index])
            response.stored += 1
        elif known.args == batch.args[index]:
            response.exceptions.add(batch=number, index=index, duplicate=True)
        else:
            error = errors_pb2.Error(reason=errors_pb2.REASON_ID_CONFLICT, message="the id has another job already")
            response.exceptions.add(batch=number, index=index, error=error)

    def Get(  # noqa: N802
        self, request: queue_pb2.GetRequest, context: grpc.ServicerContext
    ) -> queue_pb2.GetResponse:
        self.reads += 1
        return queue_pb2.GetResponse(jobs=[self._known(key) for key in unpack_ids(request.ids)])

    def Wait(  # noqa: N802
        self, request_iterator: Iterator[queue_pb2.WaitRequest], context: grpc.ServicerContext
    ) -> Iterator[queue_pb2.WaitResponse]:
        self.wait_calls += 1
        ready: Queue[queue_pb2.WaitResponse | None] = Queue()
        threading.Thread(target=self._watch, args=(request_iterator, ready), daemon=True).start()
        while (answer := ready.get()) is not None:
            yield answer

    def _watch(self, requests: Iterator[queue_pb2.WaitRequest], ready: Queue[queue_pb2.WaitResponse | None]) -> None:
        watched: set[Key] = set()
        threading.Thread(target=self._push, args=(watched, ready), daemon=True).start()
        try:
            for request in requests:
                with self._changed:
                    watched.update(unpack_ids(request.watch))
                    self.watching.update(unpack_ids(request.watch))
                    watched.difference_update(unpack_ids(request.unwatch))
                    self._changed.notify_all()
                self.watched.set()
        except grpc.RpcError:
            pass  # the client went away
        finally:
            ready.put(None)

    def _push(self, watched: set[Key], ready: Queue[queue_pb2.WaitResponse | None]) -> None:
        with self._changed:
            while self._server is not None:
                ended = [key for key in watched if self._known(key).state >= job_pb2.STATE_SUCCEEDED]
                watched.difference_update(ended)
                if ended:
                    ready.put(queue_pb2.WaitResponse(jobs=[self._known(key) for key in ended]))
                self._changed.wait(5)

    def _known(self, key: Key) -> job_pb2.JobStatus:
        return self.jobs.get(key) or _with_id(job_pb2.JobStatus(state=job_pb2.STATE_UNKNOWN), key)

    def Cancel(  # noqa: N802
        self, request: queue_pb2.CancelRequest, context: grpc.ServicerContext
    ) -> queue_pb2.CancelResponse:
        known = [key in self.jobs for key in unpack_ids(request.ids)]
        return queue_pb2.CancelResponse(
            effects=[queue_pb2.CANCEL_EFFECT_CANCELLED if k else queue_pb2.CANCEL_EFFECT_UNKNOWN for k in known]
        )

    def Forget(  # noqa: N802
        self, request: queue_pb2.ForgetRequest, context: grpc.ServicerContext
    ) -> queue_pb2.ForgetResponse:
        for key in unpack_ids(request.ids):
            self.jobs[key] = _with_id(job_pb2.JobStatus(state=job_pb2.STATE_UNKNOWN, forgotten=True), key)
        return queue_pb2.ForgetResponse(forgotten=1)

    # -- workflows: the double has none -------------------------------------------------------------------------------

    def SubmitWorkflow(  # noqa: N802
        self, request: queue_pb2.SubmitWorkflowRequest, context: grpc.ServicerContext
    ) -> queue_pb2.SubmitWorkflowResponse:
        self.parts.append(request.part)
        fault = self.part_fault(request.part)
        if fault in ("", "lose"):
            for nodes in request.part.nodes:
                self._store(queue_pb2.EnqueueRequest(batches=[nodes.jobs]))
        if fault in ("lose", "drop"):
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        response = queue_pb2.SubmitWorkflowResponse()
        if fault not in ("", "lose"):
            reason = errors_pb2.Reason.Value(f"REASON_{fault}")
            error = errors_pb2.Error(reason=reason, message=f"refused for {fault}", retry_after_ms=self.retry_after_ms)
            response.refused.add(batch=0, index=0, error=error)
        return response

    def GetInputs(  # noqa: N802
        self, request: queue_pb2.GetInputsRequest, context: grpc.ServicerContext
    ) -> queue_pb2.GetInputsResponse:
        values = [b"%d" % number for number in range(3)]
        page = values[request.first : request.first + 2]
        return queue_pb2.GetInputsResponse(inputs=workflow_pb2.Inputs(values=page, formats=["json"], count=len(values)))

    def GetGroup(  # noqa: N802
        self, request: queue_pb2.GetGroupRequest, context: grpc.ServicerContext
    ) -> queue_pb2.GetGroupResponse:
        members = self.groups.get(request.id)
        if members is None:
            return queue_pb2.GetGroupResponse(unknown=True)
        page = members[request.first : request.first + 2]
        return queue_pb2.GetGroupResponse(ids=pack_ids(page), count=len(members))

    def SaveGroup(  # noqa: N802
        self, request: queue_pb2.SaveGroupRequest, context: grpc.ServicerContext
    ) -> queue_pb2.SaveGroupResponse:
        self.groups[request.id] = unpack_ids(request.ids)
        return queue_pb2.SaveGroupResponse()

    def DeleteGroup(  # noqa: N802
        self, request: queue_pb2.DeleteGroupRequest, context: grpc.ServicerContext
    ) -> queue_pb2.DeleteGroupResponse:
        return queue_pb2.DeleteGroupResponse(deleted=self.groups.pop(request.id, None) is not None)


def _with_id(status: job_pb2.JobStatus, key: Key) -> job_pb2.JobStatus:
    if isinstance(key, bytes):
        status.uuid = key
    else:
        status.text = key
    return status


def _status(key: Key, batch: job_pb2.JobBatch, args: bytes) -> job_pb2.JobStatus:
    status = job_pb2.JobStatus(
        state=job_pb2.STATE_QUEUED,
        task=batch.task,
        queue=batch.queue,
        priority=batch.priority,
        format=batch.format,
        args=args,
        headers=batch.headers,
        ignore_result=batch.ignore_result,
    )
    return _with_id(status, key)


class _Lost(logging.Handler):
    """Sets `event` when the client says that it has lost the broker."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("lost the broker"):
            self.event.set()


@pytest.fixture
def lost() -> Iterator[threading.Event]:
    """Set when a wait has found out that the broker is away."""
    handler, logger = _Lost(), logging.getLogger("tqbroker")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler.event
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def wire() -> Iterator[WireDouble]:
    """A running double on a free port."""
    double = WireDouble()
    double.start()
    yield double
    double.stop()


@pytest.fixture
def app(wire: WireDouble) -> Iterator[App]:
    """An app connected to the double, closed afterwards."""
    app = App("tasks", broker=wire.url, submit_timeout=3.0, request_timeout=3.0)
    yield app
    app.close()
