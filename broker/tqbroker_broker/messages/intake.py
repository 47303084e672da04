"""Enqueue: from the wire to the columns of the storage.

What is wrong with one job, or with the options of one batch, refuses those jobs and no others: a request may carry the
calls of many threads. What is wrong with the request as a whole refuses the whole.
"""

from __future__ import annotations

from typing import NamedTuple

from tqbroker.v1 import queue_pb2
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.messages.batches import measure, read_batch
from tqbroker_broker.records import NewJobs, Time
from tqbroker_broker.refusals import RefusalError


class Place(NamedTuple):
    """Where a NewJobs came from: the batch of the request, and the index of each job (None: all in their order)."""

    batch: int
    indexes: list[int] | None


class Refused(NamedTuple):
    """One job that is not even tried."""

    batch: int
    job: int
    error: RefusalError


class Intake(NamedTuple):
    """A request, ready for the core. `size` is in bytes."""

    batches: list[NewJobs]
    places: list[Place]
    refused: list[Refused]
    size: int


def read_request(request: queue_pb2.EnqueueRequest, config: BrokerConfig, now: Time) -> Intake:
    """Checks and converts a request. Raises Invalid or TooLarge when it is wrong as a whole."""
    intake = Intake([], [], [], measure(request.batches, config.max_request_batches, config))
    for number, batch in enumerate(request.batches):
        jobs, indexes, refused = read_batch(batch, config, now)
        if jobs is not None:
            intake.batches.append(jobs)
            intake.places.append(Place(number, indexes))
        if refused:
            intake.refused.extend(Refused(number, index, error) for index, error in refused)
    return intake
