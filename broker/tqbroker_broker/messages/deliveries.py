"""Jobs on their way to a worker."""

from __future__ import annotations

from collections.abc import Iterator

from tqbroker.v1 import worker_pb2 as pb
from tqbroker_broker.attempts import Extra, Leased
from tqbroker_broker.messages.ids import all_uuids, write_ids
from tqbroker_broker.messages.traits import write_traits
from tqbroker_broker.messages.workflows import write_place
from tqbroker_broker.rules import PLAIN

NOTHING = Extra()


def write_deliveries(leased: Leased) -> Iterator[pb.DeliveryBatch]:
    """The columns of one hand-out; several when UUIDs and texts are mixed, so that their order is kept."""
    if all_uuids(leased.ids):
        yield _write(leased)
        return
    start = 0
    kinds = [len(job) == 16 for job in leased.ids]
    for end in range(1, len(kinds) + 1):
        if end == len(kinds) or kinds[end] != kinds[start]:
            yield _write(leased.part(start, end))
            start = end


def _write(leased: Leased) -> pb.DeliveryBatch:
    head = leased.head
    batch = pb.DeliveryBatch(
        task=head.task,
        queue=head.queue,
        priority=head.priority,
        format=head.format,
        headers=head.headers,
        ignore_result=head.ignore_result,
        ids=write_ids(leased.ids),
        tokens=leased.tokens,
        args=leased.args,
        retries=leased.retries if any(leased.retries) else None,
        lost_leases=leased.lost if any(leased.lost) else None,
        traits=None if head.traits is PLAIN else write_traits(head.traits),
        parent=head.parent,
        root=head.root,
    )
    if leased.extras:
        _fill_extras(batch, leased)
    return batch


def _fill_extras(batch: pb.DeliveryBatch, leased: Leased) -> None:
    """The columns that most deliveries do not have."""
    extras = [leased.extras.get(index, NOTHING) for index in range(len(leased.ids))]
    if any(extra.due_ms for extra in extras):
        batch.due_unix_ms.extend(extra.due_ms for extra in extras)
    if any(extra.expires_ms for extra in extras):
        batch.expires_unix_ms.extend(extra.expires_ms for extra in extras)
    if any(extra.checkpoint_format for extra in extras):
        batch.checkpoints.extend(
            pb.Checkpoint(data=extra.checkpoint, format=extra.checkpoint_format) for extra in extras
        )
    if any(extra.place for extra in extras):
        batch.places.extend(write_place(extra.place) for extra in extras)
