"""Commands to workers."""

from __future__ import annotations

import msgspec

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.core import Core
from tqbroker_broker.messages.checks import check_name, check_names, check_range
from tqbroker_broker.refusals import Invalid

DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS = 1000, 60_000
MAX_COMMAND = 64
MAX_ARGUMENTS = 64 * 1024
"""Bytes of the arguments of a command: names and numbers."""

MAX_DESTINATIONS = 10_000


async def control(core: Core, request: pb.ControlRequest) -> pb.ControlResponse:
    """Asks workers, and names those that did not answer. Raises Invalid, Busy."""
    check_name("command", request.command, MAX_COMMAND)
    check_names("destination", request.destination, MAX_DESTINATIONS, 255)
    check_range("timeout_ms", request.timeout_ms, 0, MAX_TIMEOUT_MS)
    _check_arguments(request.arguments)
    workers = list(request.destination) or sorted(row.name for row in core.engine.workers())
    seconds = (request.timeout_ms or DEFAULT_TIMEOUT_MS) / 1000
    asked = await core.commands.ask(request.command, request.arguments or b"{}", workers, seconds)
    replies = [
        pb.ControlReply(worker=name, error=reply.error, body=reply.body)
        for name, reply in sorted(asked.replies.items())
    ]
    return pb.ControlResponse(replies=replies, missing=asked.missing)


def _check_arguments(arguments: bytes) -> None:
    if len(arguments) > MAX_ARGUMENTS:
        raise Invalid(f"the arguments have {len(arguments)} bytes and may have {MAX_ARGUMENTS}")
    try:
        known = msgspec.json.decode(arguments or b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"the arguments are not JSON: {error}") from error
    if not isinstance(known, dict):
        raise Invalid("the arguments must be a JSON object: arguments by name")
