"""Calls on their way: encode, give an id, submit, and say what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqbroker import codec
from tqbroker.batch import active_batch
from tqbroker.call import Batch, Head
from tqbroker.exceptions import BatchError, EncodeError, OperationalError
from tqbroker.ids import key_of, new_key, new_keys, text_of
from tqbroker.result import AsyncResult

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.transport import Refused

MAX_ARGS = 1 << 20

_FOR_GOOD = frozenset({"INVALID", "ID_CONFLICT", "TOO_LARGE"})
"""Refusals that sending again does not change."""


class Sender:
    """Submits calls for one app. `send` and its kin return when the jobs are durable, or raise."""

    def __init__(self, app: App) -> None:
        self._app = app

    def send(
        self, head: Head, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None = None
    ) -> AsyncResult[Any]:
        """Submits one call, or leaves it to the batch that is open here."""
        batch, result = self._prepare(head, args, kwargs, task_id)
        collecting = active_batch(self._app)
        if collecting is not None:
            collecting.add(batch, result)
            return result
        refused = self._app.transport.submit([batch], self._app.conf.submit_timeout)
        if refused:
            raise single_error(head.task, refused[0])
        return result

    async def asend(
        self, head: Head, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None = None
    ) -> AsyncResult[Any]:
        """`send` for asyncio."""
        batch, result = self._prepare(head, args, kwargs, task_id)
        collecting = active_batch(self._app)
        if collecting is not None:
            collecting.add(batch, result)
            return result
        refused = await self._app.async_transport.submit([batch], self._app.conf.submit_timeout)
        if refused:
            raise single_error(head.task, refused[0])
        return result

    def send_many(self, head: Head, rows: Sequence[Sequence[Any]]) -> list[AsyncResult[Any]]:
        """Submits one call for each row of positional arguments."""
        data = codec.encode_calls(rows, head.format)
        _check_size(head, data)
        keys = new_keys(len(data))
        make, app = AsyncResult._of, self._app
        results: list[AsyncResult[Any]] = [make(key, app) for key in keys]
        batch = Batch(head, list(keys), data)
        collecting = active_batch(app)
        if collecting is not None:
            collecting.extend(batch, results)
        else:
            self.submit([batch], results)
        return results

    def submit(self, batches: Iterable[Batch], results: Sequence[AsyncResult[Any]]) -> None:
        """Makes batches durable. Raises BatchError naming the jobs that are not known to be."""
        refused = self._app.transport.submit(list(batches), self._app.conf.submit_timeout)
        if refused:
            raise batch_error(refused, results)

    async def asubmit(self, batches: Iterable[Batch], results: Sequence[AsyncResult[Any]]) -> None:
        """`submit` for asyncio."""
        refused = await self._app.async_transport.submit(list(batches), self._app.conf.submit_timeout)
        if refused:
            raise batch_error(refused, results)

    def _prepare(
        self, head: Head, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None
    ) -> tuple[Batch, AsyncResult[Any]]:
        data = codec.encode_call(args, kwargs, head.format)
        if len(data) > MAX_ARGS:
            _check_size(head, [data])
        key = new_key() if task_id is None else key_of(task_id)
        result: AsyncResult[Any] = AsyncResult._of(key, self._app)
        return Batch(head, [key], [data]), result


def _check_size(head: Head, data: Sequence[bytes]) -> None:
    largest = max(map(len, data), default=0)
    if largest > MAX_ARGS:
        raise EncodeError(
            f"the arguments of {head.task} take {largest} bytes, a job takes up to {MAX_ARGS}: "
            "store them elsewhere and send where they are"
        )


def single_error(task: str, refused: Refused) -> OperationalError:
    """The error for one call that is not known to be stored."""
    job = text_of(refused.key)
    fate = "is perhaps stored" if refused.unknown else "was rejected and is not stored"
    advice = "" if refused.reason in _FOR_GOOD else "; sending it again with the same task_id is safe"
    return OperationalError(
        f"job {job} of {task} {fate}: {refused.message} [{refused.reason}]{advice}",
        outcome="unknown" if refused.unknown else "rejected",
        task_ids=[job],
        reason=refused.reason,
    )


def _stored(refused: Sequence[Refused], results: Sequence[AsyncResult[Any]]) -> list[AsyncResult[Any]]:
    """The results that were not refused. Of calls with the same id the first are stored and the last refused."""
    left = Counter(item.key for item in refused)
    stored = []
    for result in reversed(results):
        if left[result._key]:
            left[result._key] -= 1
        else:
            stored.append(result)
    return stored[::-1]


def batch_error(refused: Sequence[Refused], results: Sequence[AsyncResult[Any]]) -> BatchError:
    """The error for many calls of which some are not known to be stored."""
    rejected = {text_of(item.key): item.message for item in refused if not item.unknown}
    unknown = {text_of(item.key): item.message for item in refused if item.unknown}
    stored = _stored(refused, results)
    first = refused[0]
    return BatchError(
        f"of {len(results)} jobs {len(stored)} are stored, {len(rejected)} were rejected and "
        f"{len(unknown)} are perhaps stored; first {text_of(first.key)}: {first.message} [{first.reason}]; "
        "sending them again with the same task_ids is safe",
        results=results,
        stored=stored,
        rejected=rejected,
        unknown=unknown,
        reason=first.reason,
    )
