"""Rules of queues and limits."""

from __future__ import annotations

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.core import Core
from tqbroker_broker.messages.checks import check_most
from tqbroker_broker.messages.rules import changed, check_limit_name, check_queue, read_limit, write_limit, write_rule
from tqbroker_broker.refusals import Invalid

MAX_AT_ONCE = 1000
"""Limits set or removed in one call."""


async def set_queue(core: Core, request: pb.SetQueueRequest) -> pb.SetQueueResponse:
    """Changes what is set. Raises Invalid."""
    check_queue(request.queue)
    rule = await core.orders.change_queue(request.queue, lambda before: changed(before, request))
    return pb.SetQueueResponse(rule=write_rule(rule))


async def delete_queue(core: Core, request: pb.DeleteQueueRequest) -> pb.DeleteQueueResponse:
    """Removes a queue. Raises NotFound, and QueueInUse while it has jobs that are not finished."""
    check_queue(request.queue)
    await core.orders.delete_queue(request.queue)
    return pb.DeleteQueueResponse()


def list_limits(core: Core) -> pb.ListLimitsResponse:
    """Every limit, by name."""
    return pb.ListLimitsResponse(limits=map(write_limit, core.orders.limits()))


async def set_limits(core: Core, request: pb.SetLimitsRequest) -> pb.SetLimitsResponse:
    """Sets some and removes some, in one commit. Raises Invalid, NotFound."""
    check_most("limits to set or remove", len(request.set) + len(request.remove), MAX_AT_ONCE)
    rules = [read_limit(limit) for limit in request.set]
    for name in request.remove:
        check_limit_name(name)
    names = [rule.name for rule in rules] + list(request.remove)
    if len(set(names)) < len(names):
        raise Invalid("a limit is named twice in one call: name each once, to be set or to be removed")
    await core.orders.put_limits(rules, list(request.remove))
    return pb.SetLimitsResponse()
