"""before_task_publish and after_task_publish: what their receivers get, and headers that they add.

Called only while somebody is connected, so it may look at each job by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from tqbroker import codec
from tqbroker.call import Batch, Head
from tqbroker.heads import encode_headers
from tqbroker.ids import Key, text_of
from tqbroker.signals import Signal, after_task_publish, before_task_publish


def before(batch: Batch) -> list[Batch]:
    """Tells of each job, and gives what is to be sent: with the headers that receivers have added or changed.

    As in Celery a receiver changes `headers` in place. Other changes have no effect.
    """
    by_head: dict[Head, Batch] = {}
    for number, (key, args) in enumerate(zip(batch.keys, batch.args, strict=True)):
        head = _told(before_task_publish, batch.head, key, args)
        group = by_head.setdefault(head, Batch(head, [], [], None if batch.unique_keys is None else []))
        group.keys.append(key)
        group.args.append(args)
        if group.unique_keys is not None and batch.unique_keys is not None:
            group.unique_keys.append(batch.unique_keys[number])
    return list(by_head.values())


def after(batches: Iterable[Batch], missing: Iterable[Key] = ()) -> None:
    """Tells of each job that is durable: all but those that are `missing`."""
    absent = frozenset(missing)
    for batch in batches:
        for key, args in zip(batch.keys, batch.args, strict=True):
            if key not in absent:
                _told(after_task_publish, batch.head, key, args)


def _told(signal: Signal, head: Head, key: Key, args: bytes) -> Head:
    own: dict[str, Any] = codec.decode(head.headers, head.format) if head.headers else {}
    ours = _headers(head, text_of(key))
    headers = {**ours, **own}
    named: dict[str, Any] = {
        "body": (*codec.decode_call(args, head.format), {}),
        "exchange": "",
        "routing_key": head.queue,
        "headers": headers,
    }
    if signal is before_task_publish:
        properties = {"correlation_id": text_of(key), "priority": head.priority, "reply_to": None}
        named |= {"properties": properties, "declare": [], "retry_policy": {}}
    signal.send(sender=head.task, **named)
    changed = {name: value for name, value in headers.items() if name in own or name not in ours}
    return head if changed == own else head._replace(headers=encode_headers(changed, head.format))


def _headers(head: Head, job: str) -> dict[str, Any]:
    """What Celery's messages say of a job."""
    traits = head.traits
    return {
        "lang": "py",
        "task": head.task,
        "id": job,
        "shadow": traits.shadow or None,
        "eta": _iso(head.eta_unix_ms),
        "expires": _iso(head.expires_unix_ms),
        "retries": 0,
        "timelimit": [traits.time_limit_ms / 1000 or None, traits.soft_time_limit_ms / 1000 or None],
        "root_id": head.root or job,
        "parent_id": head.parent or None,
        "origin": None,
        "ignore_result": head.ignore_result,
    }


def _iso(millis: int) -> str | None:
    return datetime.fromtimestamp(millis / 1000, UTC).isoformat() if millis else None
