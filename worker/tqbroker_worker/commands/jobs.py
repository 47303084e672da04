"""Commands that tell which jobs the worker has; the shape of an item is Celery's."""

from __future__ import annotations

from collections.abc import Iterator
from time import time
from typing import Any

from tqbroker.codec import decode_call
from tqbroker.exceptions import CodecError
from tqbroker_worker.commands.errors import texts
from tqbroker_worker.desk import Desk
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.seats import Seat

_READABLE = ("json", "msgpack")
"""Formats that are read here. Others may run code of the app, which only children do."""


def active(desk: Desk) -> object:
    """The jobs that run."""
    return [_item(desk, token, jobs, seat, _since(seat, token)) for seat, token, jobs in _running(desk)]


def reserved(desk: Desk) -> object:
    """The jobs that are here and do not run yet."""
    running = {token for _, token, _ in _running(desk)}
    return [_item(desk, token, jobs, None, None) for token, jobs in desk.handover.leases() if token not in running]


def query_task(desk: Desk, ids: list[str] | str) -> object:
    """Which of these jobs are here: by id "active" or "reserved", and the item."""
    wanted = {ids} if isinstance(ids, str) else set(texts("ids", ids))
    running = {token: seat for seat, token, _ in _running(desk)}
    found: dict[str, list[object]] = {}
    for token, jobs in desk.handover.leases():
        if (key := jobs.id_of(token)) in wanted:
            seat = running.get(token)
            since = _since(seat, token) if seat else None
            found[key] = ["active" if seat else "reserved", _item(desk, token, jobs, seat, since)]
    return found


def _running(desk: Desk) -> Iterator[tuple[Seat, int, Jobs]]:
    for seat in desk.handover.seats:
        for token, jobs in seat.run().items():
            yield seat, token, jobs


def _since(seat: Seat, token: int) -> float:
    """Unix time of the start; a job of a fast task has started just now."""
    return seat.slow.get(token) or time()


def _item(desk: Desk, token: int, jobs: Jobs, seat: Seat | None, since: float | None) -> dict[str, Any]:
    at = jobs.tokens.index(token)
    args, kwargs = _call(jobs.args[at], jobs.head.format)
    return {
        "id": jobs.id_at(at),
        "name": jobs.head.task,
        "args": args,
        "kwargs": kwargs,
        "type": jobs.head.task,
        "hostname": desk.config.name,
        "time_start": since,
        "acknowledged": False,
        "delivery_info": {
            "exchange": "",
            "routing_key": jobs.head.queue,
            "priority": jobs.head.priority,
            "redelivered": bool(jobs.lost and jobs.lost[at]),
        },
        "worker_pid": seat.pid if seat else None,
        "retries": jobs.retries[at] if jobs.retries else 0,
    }


def _call(data: bytes, name: str) -> tuple[Any, Any]:
    if name not in _READABLE:
        return f"<{len(data)} bytes of {name}>", {}
    try:
        args, kwargs = decode_call(data, name)
    except CodecError as error:
        return f"<{len(data)} bytes that cannot be read: {error}>", {}
    return list(args), kwargs
