"""The Admin service: what an operator asks and orders. Handlers translate; the core decides."""

from __future__ import annotations

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.admin.backup import BackupCall
from tqbroker_broker.admin.control import control
from tqbroker_broker.admin.describe import describe_broker, get_job, list_queues, list_workers
from tqbroker_broker.admin.edit import edit_jobs
from tqbroker_broker.admin.events import EventCall
from tqbroker_broker.admin.listing import list_jobs
from tqbroker_broker.admin.rules import delete_queue, list_limits, set_limits, set_queue
from tqbroker_broker.admin.schedules import list_schedules, preview_schedule, run_schedule, set_schedules
from tqbroker_broker.admin.workflows import edit_workflow, get_workflow, list_workflows
from tqbroker_broker.calls import Context
from tqbroker_broker.core import Core


class AdminService:
    """The functions of this package as calls."""

    def __init__(self, core: Core, data_dir: str) -> None:
        self._core = core
        self._data_dir = data_dir

    async def get_broker(self, request: pb.GetBrokerRequest) -> pb.GetBrokerResponse:
        return await describe_broker(self._core, self._data_dir)

    async def list_queues(self, request: pb.ListQueuesRequest) -> pb.ListQueuesResponse:
        return pb.ListQueuesResponse(queues=await list_queues(self._core))

    async def list_workers(self, request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse(workers=list_workers(self._core))

    async def get_job(self, request: pb.GetJobRequest) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=await get_job(self._core, request.id))

    async def list_jobs(self, request: pb.ListJobsRequest) -> pb.ListJobsResponse:
        return await list_jobs(self._core, request)

    async def edit_jobs(self, request: pb.EditJobsRequest) -> pb.EditJobsResponse:
        return await edit_jobs(self._core, request)

    async def set_queue(self, request: pb.SetQueueRequest) -> pb.SetQueueResponse:
        return await set_queue(self._core, request)

    async def delete_queue(self, request: pb.DeleteQueueRequest) -> pb.DeleteQueueResponse:
        return await delete_queue(self._core, request)

    async def list_limits(self, request: pb.ListLimitsRequest) -> pb.ListLimitsResponse:
        return list_limits(self._core)

    async def set_limits(self, request: pb.SetLimitsRequest) -> pb.SetLimitsResponse:
        return await set_limits(self._core, request)

    async def control(self, request: pb.ControlRequest) -> pb.ControlResponse:
        return await control(self._core, request)

    async def watch_events(self, request: pb.WatchEventsRequest, context: Context) -> None:
        await EventCall(self._core, request, context).run()

    async def list_schedules(self, request: pb.ListSchedulesRequest) -> pb.ListSchedulesResponse:
        return list_schedules(self._core, request)

    async def set_schedules(self, request: pb.SetSchedulesRequest) -> pb.SetSchedulesResponse:
        return await set_schedules(self._core, request)

    async def run_schedule(self, request: pb.RunScheduleRequest) -> pb.RunScheduleResponse:
        return await run_schedule(self._core, request)

    async def preview_schedule(self, request: pb.PreviewScheduleRequest) -> pb.PreviewScheduleResponse:
        return preview_schedule(self._core, request)

    async def list_workflows(self, request: pb.ListWorkflowsRequest) -> pb.ListWorkflowsResponse:
        return await list_workflows(self._core, request)

    async def get_workflow(self, request: pb.GetWorkflowRequest) -> pb.GetWorkflowResponse:
        return await get_workflow(self._core, request)

    async def edit_workflow(self, request: pb.EditWorkflowRequest) -> pb.EditWorkflowResponse:
        return await edit_workflow(self._core, request)

    async def backup(self, request: pb.BackupRequest, context: Context) -> None:
        await BackupCall(self._core, context).run()
