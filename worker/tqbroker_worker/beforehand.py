"""What a worker does with the queues before it takes jobs: empties them if asked to, and has them as its app wants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tqbroker import _grpc
from tqbroker._daemon import get_logger
from tqbroker._grpc_admin import GrpcOperator
from tqbroker.exceptions import OperationalError
from tqbroker.operations import Cancel, JobFilter, Overflow, QueueChange, QueueRule
from tqbroker.states import Phase
from tqbroker_worker.protocol import WantedQueue

ANSWER_SECONDS = 5.0
"""How long one question to the broker may take, as for clients."""
AGAIN_SECONDS = 1.0
_WAITING = frozenset({Phase.QUEUED, Phase.SCHEDULED})


async def prepare(url: str, empty: Sequence[str], wanted: Sequence[WantedQueue]) -> None:
    """Cancels every job that waits in the queues `empty`, and gives queues without bounds those that are `wanted`.

    Does not return before the broker has answered; a broker that is away is asked again every second.
    """
    if not empty and not wanted:
        return
    log, told = get_logger("tqbroker.worker"), False
    while True:
        try:
            for sentence in await asyncio.to_thread(_prepare, url, empty, wanted):
                log.warning(sentence)
            return
        except OperationalError as error:
            if not told:
                log.warning(f"the queues cannot be prepared yet: {error}")
            told = True
        await asyncio.sleep(AGAIN_SECONDS)


def _prepare(url: str, empty: Sequence[str], wanted: Sequence[WantedQueue]) -> list[str]:
    """One try, in a thread. What was done, in sentences."""
    try:
        operator = _grpc.transport_for(url).operator(ANSWER_SECONDS)
        said = [_empty(operator, queue) for queue in empty]
        rules = operator.queue_rules() if wanted else {}
        said += [_bound(operator, queue, rules.get(queue.name, QueueRule())) for queue in wanted]
        return [sentence for sentence in said if sentence]
    finally:
        _grpc.close(url)


def _empty(operator: GrpcOperator, queue: str) -> str:
    edits = operator.edit(JobFilter(phases=_WAITING, queue=queue), Cancel())
    return f"cancelled {sum(bool(job.effect) for job in edits)} jobs that waited in queue {queue}"


def _bound(operator: GrpcOperator, wanted: WantedQueue, rule: QueueRule) -> str:
    """An operator's word goes before the app's: only a queue that has no bounds yet gets some."""
    overflow = Overflow(wanted.overflow) if wanted.max_length else rule.overflow
    change = QueueChange(None, wanted.max_length, overflow, wanted.ttl_ms)
    if (rule.max_length, rule.overflow, rule.ttl_ms) == change[1:4]:
        return ""
    if rule.max_length or rule.ttl_ms:
        return f"queue {wanted.name} keeps the bounds that the broker has; the app wants others: {wanted.flags}"
    operator.set_queue(wanted.name, change)
    return f"queue {wanted.name} has the bounds that the app wants: {wanted.flags}"
