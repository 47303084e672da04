"""Jobs on their way to a worker."""

from __future__ import annotations

from collections.abc import Iterator

from tqbroker.v1 import worker_pb2 as pb
from tqbroker_broker.messages.ids import all_uuids, write_ids
from tqbroker_broker.records import Leased


def write_deliveries(leased: Leased) -> Iterator[pb.DeliveryBatch]:
    """The columns of one hand-out; several when UUIDs and texts are mixed, so that their order is kept."""
    if all_uuids(leased.ids):
        yield _write(leased)
        return
    start = 0
    kinds = [len(job) == 16 for job in leased.ids]
    for end in range(1, len(kinds) + 1):
        if end == len(kinds) or kinds[end] != kinds[start]:
            yield _write(_part(leased, start, end))
            start = end


def _part(leased: Leased, start: int, end: int) -> Leased:
    head, ids, tokens, args, retries, lost, extras = leased
    part = slice(start, end)
    some = {index - start: extra for index, extra in extras.items() if start <= index < end}
    return Leased(head, ids[part], tokens[part], args[part], retries[part], lost[part], some)


def _write(leased: Leased) -> pb.DeliveryBatch:
    head = leased.head
    return pb.DeliveryBatch(
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
    )
