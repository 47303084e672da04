"""Calls on their way: encode, give an id, submit, and say what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqbroker import codec, publish_signals
from tqbroker.async_result import AsyncResult
from tqbroker.batch import active_batch
from tqbroker.call import NOTHING_OWN, Batch, Head, Own
from tqbroker.context import running
from tqbroker.exceptions import BatchError, EncodeError, NotUniqueError, OperationalError, QueueFull
from tqbroker.ids import Key, key_of, new_key, new_keys, text_of
from tqbroker.publishing import total_seconds
from tqbroker.signals import after_task_publish, before_task_publish
from tqbroker.trail import inherited, record
from tqbroker.transport import KEPT
from tqbroker.unique import idempotent_id, unique_key

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.transport import Refused

MAX_ARGS = 1 << 20

Results = Sequence[AsyncResult[Any]]

_FOR_GOOD = frozenset({"INVALID", "ID_CONFLICT", "TOO_LARGE", "NOT_UNIQUE"})
"""Refusals that sending again does not change."""


class Sender:
    """Submits calls for one app. `send` and its kin return when the jobs are durable, or raise."""

    def __init__(self, app: App) -> None:
        self._app = app

    def send(
        self, head: Head, args: Sequence[Any], kwargs: Mapping[str, Any], own: Own = NOTHING_OWN
    ) -> AsyncResult[Any]:
        """Submits one call, or leaves it to the batch that is open here."""
        inside = running() is not None
        batch, result = self._prepare(inherited(head) if inside else head, args, kwargs, own)
        collecting = active_batch(self._app)
        if collecting is not None:
            collecting.add(batch, result, child=inside and own.add_to_parent)
            return result
        refused = self._app.transport.submit([batch], own.timeout or self.timeout())
        if refused:
            self._judge_one(head, own, refused[0], result)
        else:
            self._stored(batch, [result] if inside and own.add_to_parent else ())
        return result

    async def asend(
        self, head: Head, args: Sequence[Any], kwargs: Mapping[str, Any], own: Own = NOTHING_OWN
    ) -> AsyncResult[Any]:
        """`send` for asyncio."""
        inside = running() is not None
        batch, result = self._prepare(inherited(head) if inside else head, args, kwargs, own)
        collecting = active_batch(self._app)
        if collecting is not None:
            collecting.add(batch, result, child=inside and own.add_to_parent)
            return result
        refused = await self._app.async_transport.submit([batch], own.timeout or self.timeout())
        if refused:
            self._judge_one(head, own, refused[0], result)
        else:
            self._stored(batch, [result] if inside and own.add_to_parent else ())
        return result

    def send_many(self, head: Head, rows: Sequence[Sequence[Any]], own: Own = NOTHING_OWN) -> list[AsyncResult[Any]]:
        """Submits one call for each row of positional arguments."""
        data = codec.encode_calls(rows, head.format)
        _check_size(head, data)
        inside = running() is not None
        head = inherited(head) if inside else head
        keys = new_keys(len(data))
        make, app = AsyncResult._of, self._app
        results: list[AsyncResult[Any]] = [make(key, app) for key in keys]
        unique_keys = None
        if head.traits.unique is not None:
            unique_keys = [unique_key(head.task, own.unique_key, row, {}) for row in rows]
        batches = _announced(Batch(head, list(keys), data, unique_keys))
        collecting = active_batch(app)
        if collecting is None:
            self.submit(batches, results, results if inside else ())
            return results
        for number, batch in enumerate(batches):
            collecting.extend(batch, [] if number else results, child=inside)
        return results

    def submit(self, batches: Iterable[Batch], results: Results, children: Results = ()) -> None:
        """Makes batches durable. Raises BatchError naming the jobs that are not known to be.

        `children` are those results that the job which runs here is to remember.
        """
        sent = list(batches)
        refused = self._app.transport.submit(sent, self.timeout())
        self._told_of(sent, refused, results, children)

    async def asubmit(self, batches: Iterable[Batch], results: Results, children: Results = ()) -> None:
        """`submit` for asyncio."""
        sent = list(batches)
        refused = await self._app.async_transport.submit(sent, self.timeout())
        self._told_of(sent, refused, results, children)

    def _told_of(self, sent: list[Batch], refused: Sequence[Refused], results: Results, children: Results) -> None:
        if after_task_publish.receivers:
            publish_signals.after(sent, (item.key for item in refused))
        if children:
            record(_stored(refused, children) if refused else children)
        if refused:
            judge_many(refused, results)

    def _stored(self, batch: Batch, children: Results) -> None:
        """One call is durable."""
        if after_task_publish.receivers:
            publish_signals.after([batch])
        if children:
            record(children)

    def timeout(self) -> float:
        """Seconds that a submit is tried unless its call says otherwise."""
        conf = self._app.conf
        if conf.task_publish_retry and conf.task_publish_retry_policy is None:
            return conf.submit_timeout
        return total_seconds(conf.task_publish_retry, conf.task_publish_retry_policy)

    def _prepare(
        self, head: Head, args: Sequence[Any], kwargs: Mapping[str, Any], own: Own
    ) -> tuple[Batch, AsyncResult[Any]]:
        data = codec.encode_call(args, kwargs, head.format)
        if len(data) > MAX_ARGS:
            _check_size(head, [data])
        key = new_key() if own is NOTHING_OWN else _key(head, own)
        result: AsyncResult[Any] = AsyncResult._of(key, self._app)
        unique_keys = None
        if head.traits.unique is not None:
            unique_keys = [unique_key(head.task, own.unique_key, args, kwargs)]
        (batch,) = _announced(Batch(head, [key], [data], unique_keys))
        return batch, result

    def _judge_one(self, head: Head, own: Own, refused: Refused, result: AsyncResult[Any]) -> None:
        """Raises what became of a single call, unless another job stands for it."""
        if refused.reason == KEPT:
            result._key = key_of(refused.holder)
            return
        if refused.reason == "NOT_UNIQUE" and refused.holder:
            raise NotUniqueError(
                f"job {result.id} of {head.task} is not stored: {refused.message}",
                holder=AsyncResult._of(key_of(refused.holder), self._app),
            )
        if refused.reason == "ID_CONFLICT" and own.idempotency_key is not None:
            refused = refused._replace(
                message=f"idempotency_key {own.idempotency_key!r} was used for a call of {head.task} with other "
                "arguments or options: use another key, or send what was sent before"
            )
        raise single_error(head.task, refused)


def _key(head: Head, own: Own) -> Key:
    if own.task_id is not None:
        return key_of(own.task_id)
    return new_key() if own.idempotency_key is None else idempotent_id(head.task, own.idempotency_key)


def _announced(batch: Batch) -> list[Batch]:
    """The jobs as they are to be sent, after before_task_publish."""
    return publish_signals.before(batch) if before_task_publish.receivers else [batch]


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
    error = QueueFull if refused.reason == "QUEUE_FULL" else OperationalError
    return error(
        f"job {job} of {task} {fate}: {refused.message} [{refused.reason}]{advice}",
        outcome="unknown" if refused.unknown else "rejected",
        task_ids=[job],
        reason=refused.reason,
    )


def _stored(refused: Sequence[Refused], results: Results) -> list[AsyncResult[Any]]:
    """The results that were not refused. Of calls with the same id the first are stored and the last refused."""
    left = Counter(item.key for item in refused)
    stored = []
    for result in reversed(results):
        if left[result._key]:
            left[result._key] -= 1
        else:
            stored.append(result)
    return stored[::-1]


def judge_many(refused: Sequence[Refused], results: Results) -> None:
    """Lets other jobs stand for those that were kept, and raises BatchError when any other is refused."""
    holders = {item.key: item.holder for item in refused if item.reason == KEPT}
    if holders:
        for result in results:
            if result._key in holders:
                result._key = key_of(holders[result._key])
    others = [item for item in refused if item.reason != KEPT]
    if others:
        raise batch_error(others, results)


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
