"""Workflows and groups, as applications submit them and ask for them."""

from __future__ import annotations

from tqbroker.v1 import queue_pb2 as pb
from tqbroker_broker.answers import Stored
from tqbroker_broker.core import Core
from tqbroker_broker.errors import write_error
from tqbroker_broker.messages.ids import read_ids, show, text_id, write_ids
from tqbroker_broker.messages.intake import Refused
from tqbroker_broker.messages.parts import read_part
from tqbroker_broker.messages.shapes import check_group
from tqbroker_broker.messages.stored import full, refusal
from tqbroker_broker.messages.workflows import write_inputs
from tqbroker_broker.refusals import IdConflict, Invalid, LeaseLost, NotFound, RefusalError, TooLarge
from tqbroker_broker.rules import QueueRule
from tqbroker_broker.workflows import Part, PartAnswer, PartEffect

MAX_MEMBERS = 10_000
"""Members of a group in one answer, and in a group that is saved: as many ids as a request may name."""


async def submit(core: Core, request: pb.SubmitWorkflowRequest) -> pb.SubmitWorkflowResponse:
    """Stores a part of a workflow; returns when all of it is on the disk, or none. Raises what refuses the whole."""
    now = core.now()
    part, refused, size = read_part(request.part, core.config, now)
    if refused:
        return _refuse(refused)
    answer = await core.workflows.submit(part, size, now)
    if answer.effect in (PartEffect.STORED, PartEffect.DUPLICATE):
        return pb.SubmitWorkflowResponse(duplicate=answer.effect is PartEffect.DUPLICATE)
    if answer.effect is PartEffect.REFUSED:
        places = sorted(answer.refused)
        return _refuse([Refused(*place, _why(core, part, place, answer)) for place in places])
    raise _refusal(part, answer.effect, core.config.max_workflow_jobs)


def _refuse(refused: list[Refused]) -> pb.SubmitWorkflowResponse:
    return pb.SubmitWorkflowResponse(
        refused=[pb.NodeRefusal(batch=each.batch, index=each.job, error=write_error(each.error)) for each in refused]
    )


def _why(core: Core, part: Part, place: tuple[int, int], answer: PartAnswer) -> RefusalError:
    jobs = part.nodes[place[0]].jobs
    if answer.refused[place] is Stored.QUEUE_FULL:
        queue = jobs.head.queue
        return full(queue, core.orders.queue_rules().get(queue, QueueRule()).max_length)
    return refusal(answer.refused[place], jobs.ids[place[1]], answer.holders.get(place, b""))


def _refusal(part: Part, effect: PartEffect, max_jobs: int) -> RefusalError:
    """Why a part as a whole is not stored."""
    number = part.number
    match effect:
        case PartEffect.CONFLICT:
            return IdConflict(
                f"part {number} of this workflow is stored already and differs, or the workflow is complete without it:"
                " use a new id for another workflow"
            )
        case PartEffect.OUT_OF_ORDER:
            return NotFound(
                f"the parts before part {number} of this workflow are not there, perhaps any more (upload_ttl):"
                " send it again from part 0 on"
            )
        case PartEffect.TOO_LARGE:
            text = f"a workflow may have {max_jobs} jobs and this one has more: split it, or raise max_workflow_jobs"
            return TooLarge(text, limit_jobs=str(max_jobs))
        case PartEffect.LEASE_LOST:
            who = show(part.beside.id) if part.beside else ""
            return LeaseLost(f"job {who}, to whose workflow this is to be added, does not run under this token")
        case _:
            return Invalid(
                f"joins of part {number} do not fit: each number is used once, a join that a job names is in its part"
                " or before, all members of a join, one at least, are sent before the first job that waits for it, and"
                " one on SUCCESS and of VALUE shape has one member"
            )


async def get_inputs(core: Core, request: pb.GetInputsRequest) -> pb.GetInputsResponse:
    """Some of the values that a job is handed. Raises NotFound."""
    inputs = await core.workflows.inputs(text_id(request.id), request.first)
    if inputs is None:
        raise NotFound(f"job {request.id} is handed no inputs, or is not known (any more)", job=request.id)
    return pb.GetInputsResponse(inputs=write_inputs(inputs))


async def get_group(core: Core, request: pb.GetGroupRequest) -> pb.GetGroupResponse:
    """Some members of a group."""
    check_group(request.id)
    members = await core.workflows.group(request.id, request.first, MAX_MEMBERS)
    if members is None:
        return pb.GetGroupResponse(unknown=True)
    ids = members.ids
    kinds = [len(job) == 16 for job in ids]
    if not all(kinds) and any(kinds):  # a column of both kinds does not keep their order
        ids = ids[: kinds.index(not kinds[0])]
    return pb.GetGroupResponse(ids=write_ids(ids), count=members.total)


async def save_group(core: Core, request: pb.SaveGroupRequest) -> pb.SaveGroupResponse:
    """Remembers jobs as a group."""
    check_group(request.id)
    await core.workflows.save_group(request.id, read_ids(request.ids, MAX_MEMBERS))
    return pb.SaveGroupResponse()


async def delete_group(core: Core, request: pb.DeleteGroupRequest) -> pb.DeleteGroupResponse:
    """Forgets a group."""
    check_group(request.id)
    return pb.DeleteGroupResponse(deleted=await core.workflows.delete_group(request.id))
