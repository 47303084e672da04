"""Places in workflows as they come over the wire."""

from __future__ import annotations

from tqbroker.ids import text_of
from tqbroker.messages import failure_data
from tqbroker.v1 import job_pb2, workflow_pb2
from tqbroker_worker.places import Cause, Inputs, Place


def place_of(place: workflow_pb2.Place) -> Place:
    """As a child is told of it."""
    return Place(
        place.root,
        place.parent,
        place.group,
        place.group_index,
        place.in_chord,
        _inputs(place.inputs) if place.HasField("inputs") else None,
        _cause(place.cause) if place.HasField("cause") else None,
    )


def _inputs(inputs: workflow_pb2.Inputs) -> Inputs:
    as_list = inputs.shape == workflow_pb2.JOIN_SHAPE_LIST
    return Inputs(list(inputs.values), list(inputs.formats), inputs.count, as_list)


def _cause(job: job_pb2.JobStatus) -> Cause:
    return Cause(
        job.text or text_of(job.uuid),
        job.task,
        job.queue,
        job.priority,
        job.format,
        job.args,
        job.headers,
        job.retries,
        job.lost_leases,
        job.worker,
        job.root,
        job.parent,
        job.state == job_pb2.STATE_EXPIRED,
        failure_data(job.failure) if job.HasField("failure") else None,
    )
