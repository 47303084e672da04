"""What a worker sends: its introduction, credit, and outcomes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tqbroker.v1 import job_pb2
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_broker.attempts import Ending, Failure, Held, Successes, Verdict
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.messages.checks import LATEST_MS, check_most, check_name, check_names
from tqbroker_broker.messages.ids import read_ids
from tqbroker_broker.messages.rules import read_limit, read_queues
from tqbroker_broker.messages.schedules import read_declared
from tqbroker_broker.messages.traits import MAX_NAME
from tqbroker_broker.records import JobId
from tqbroker_broker.refusals import Invalid, UnknownZone
from tqbroker_broker.schedules import Schedule
from tqbroker_broker.sessions import MAX_WINDOW, Hello

log = logging.getLogger("tqbroker.broker")

MAX_NAMES = 10_000
"""Queues of one worker, and tasks: no app has a tenth of it."""

MAX_LABELS = 64
"""Labels of one worker: four times what one job can require."""

MAX_LIMITS = 2 * MAX_NAMES
"""Rules that one app declares: for each task its own, and as many shared ones."""

MAX_HELD = 10 * MAX_WINDOW
"""Leases that a worker can say it has when it comes back: more than one can be handed."""

MAX_TEXT = 64 * 1024
"""Characters of a failure's message, of its traceback, and bytes of its arguments: the middle of more is cut out."""

MAX_FORMAT = 64
"""Characters of the name of a format."""

MAX_CHILDREN = 10_000
"""Jobs that one body has submitted which are remembered as its children: beyond, a list of them helps nobody."""

_VERDICTS = {int(verdict): verdict for verdict in Verdict}


def read_hello(hello: pb.Hello, config: BrokerConfig) -> Hello:
    """The introduction. Raises Invalid."""
    check_name("the worker's name", hello.name, MAX_NAME)
    _check(len(hello.instance) == 16, "instance must be 16 random bytes")
    check_most("tasks", len(hello.tasks), MAX_NAMES)
    check_names("labels", hello.labels, MAX_LABELS, MAX_NAME)
    check_most("limits", len(hello.limits), MAX_LIMITS)
    return Hello(
        name=hello.name,
        instance=hello.instance,
        queues=_queues(hello.queues) or ("default",),
        tasks=frozenset(hello.tasks),
        slots=hello.slots,
        pool=hello.pool,
        host=hello.host,
        pid=hello.pid,
        version=hello.version,
        store=hello.store,
        held=_held(hello.held),
        labels=frozenset(hello.labels),
        limits=tuple(read_limit(limit) for limit in hello.limits),
        declared=_declared(hello, config),
    )


def _declared(hello: pb.Hello, config: BrokerConfig) -> tuple[str, list[Schedule]] | None:
    """The schedules of the app. What was declared before stays when its worker knows time zones that we do not."""
    if not hello.HasField("schedules"):
        return None
    try:
        return read_declared(hello.schedules, config)
    except UnknownZone as error:
        log.warning("the schedules that worker %s declares are not taken over: %s", hello.name, error)
        return None


def _held(held: pb.Held) -> list[Held]:
    ids = read_ids(held.ids)
    check_most("leases held", len(ids), MAX_HELD)
    _check(len(ids) == len(held.tokens), "held needs one token for each id")
    return [Held(*pair) for pair in zip(ids, held.tokens, strict=True)]


def _queues(names: Sequence[str]) -> tuple[str, ...]:
    check_most("queues", len(names), MAX_NAMES)
    return read_queues(names)


def read_consume(consume: pb.Consume) -> tuple[str, ...]:
    """The queues to take jobs from; none is allowed. Raises Invalid."""
    return _queues(consume.queues)


def read_successes(batches: Sequence[pb.Successes], max_result: int) -> tuple[list[Successes], list[Ending]]:
    """The columns, and as endings those whose result is too large to keep. Raises Invalid."""
    successes: list[Successes] = []
    too_large: list[Ending] = []
    for batch in batches:
        columns = _columns(batch)
        if max(map(len, columns.results), default=0) > max_result:
            columns = _split_off(columns, max_result, too_large)
        if columns.tokens:
            successes.append(columns)
    return successes, too_large


def _columns(batch: pb.Successes) -> Successes:
    count = len(batch.tokens)
    _check(len(batch.format) <= MAX_FORMAT, f"the name of a format has at most {MAX_FORMAT} characters")
    _check(len(batch.results) == count, "successes need one result for each token; empty bytes where there is none")
    _check(len(batch.started_unix_ms) in (0, count), "started_unix_ms needs one time for each token, or none at all")
    _check(len(batch.runtime_us) in (0, count), "runtime_us needs one time for each token, or none at all")
    ids = read_ids(batch.ids) or None
    _check(ids is None or len(ids) == count, "successes need one id for each token, or none at all")
    if batch.trails:
        return _successes(batch, ids)._replace(children=_trails(batch.trails, count))
    return _successes(batch, ids)


def _trails(trails: Sequence[pb.Trail], count: int) -> dict[int, Sequence[JobId]]:
    children: dict[int, Sequence[JobId]] = {}
    for trail in trails:
        _check(trail.index < count, f"a trail has index {trail.index}, and there are {count} tokens")
        _check(trail.index not in children, f"two trails have index {trail.index}")
        children[trail.index] = _children(trail.children)
    return children


def _children(ids: job_pb2.Ids) -> list[JobId]:
    children = read_ids(ids)
    check_most("children of a job", len(children), MAX_CHILDREN)
    return children


def _successes(batch: pb.Successes, ids: list[JobId] | None) -> Successes:
    count = len(batch.tokens)
    return Successes(
        list(batch.tokens),
        list(batch.results),
        batch.format,
        list(batch.started_unix_ms) or [0] * count,
        list(batch.runtime_us) or [0] * count,
        ids,
    )


def _split_off(columns: Successes, max_result: int, too_large: list[Ending]) -> Successes:
    """Takes out results above the limit: those jobs fail, which the caller sees, instead of never ending."""
    fits = [len(result) <= max_result for result in columns.results]
    for index, fit in enumerate(fits):
        if not fit:
            size = len(columns.results[index])
            text = f"the result has {size} bytes and may have {max_result}: store it elsewhere and return its name"
            failure = Failure("ResultTooLarge", "tqbroker.exceptions", text)
            job = columns.ids[index] if columns.ids else None
            times = columns.started_ms[index], columns.runtime_us[index]
            children = columns.children.get(index, ())
            token = columns.tokens[index]
            too_large.append(Ending(token, Verdict.FAILED, failure, 0, *times, job, children=children))
    keep = [index for index, fit in enumerate(fits) if fit]
    return Successes(
        [columns.tokens[i] for i in keep],
        [columns.results[i] for i in keep],
        columns.format,
        [columns.started_ms[i] for i in keep],
        [columns.runtime_us[i] for i in keep],
        [columns.ids[i] for i in keep] if columns.ids else None,
        {place: columns.children[i] for place, i in enumerate(keep) if i in columns.children},
    )


def read_ending(ending: pb.Ending, max_args: int) -> Ending:
    """One ending; a retry with larger arguments than allowed, or too far away, is a failure. Raises Invalid."""
    verdict = _VERDICTS.get(ending.verdict)
    if verdict is None:
        raise Invalid(f"verdict {ending.verdict} is not known: use one of {', '.join(each.name for each in Verdict)}")
    ids: list[JobId] = read_ids(ending.ids)
    _check(len(ids) <= 1, "an ending has one id, or none")
    _check(not ending.args or verdict is Verdict.RETRY, "only a retry has arguments")
    named = verdict is Verdict.REPLACED
    _check(
        len(ending.workflow) == (16 if named else 0), "what is replaced names a workflow by 16 bytes, and nothing else"
    )
    failure = _failure(ending.failure) if ending.HasField("failure") else None
    if len(ending.args) > max_args:
        verdict, failure = Verdict.FAILED, _too_large(len(ending.args), max_args)
    elif verdict is Verdict.RETRY and ending.retry_in_ms > LATEST_MS:
        verdict, failure = Verdict.FAILED, _too_late(ending.retry_in_ms)
    return Ending(
        ending.token,
        verdict,
        failure,
        ending.retry_in_ms if verdict is Verdict.RETRY else 0,
        ending.started_unix_ms,
        ending.runtime_us,
        ids[0] if ids else None,
        ending.args if ending.args and verdict is Verdict.RETRY else None,
        ending.workflow,
        _children(ending.children) if ending.HasField("children") else (),
    )


def _too_large(size: int, limit: int) -> Failure:
    text = f"the arguments of the retry have {size} bytes and may have {limit}: put large things into a file"
    return Failure("ArgumentsTooLarge", "tqbroker.exceptions", text)


def _too_late(delay_ms: int) -> Failure:
    text = f"the retry is {delay_ms} ms away and may be {LATEST_MS}: look whether the unit is right"
    return Failure("RetryTooLate", "tqbroker.exceptions", text)


def _failure(failure: job_pb2.Failure) -> Failure:
    """The failure, cut to what a store should keep of it."""
    return Failure(
        _cut(failure.type, 1024),
        _cut(failure.module, 1024),
        _cut(failure.message, MAX_TEXT),
        _cut(failure.traceback, MAX_TEXT),
        failure.args if len(failure.args) <= MAX_TEXT else b"",
        _cut(failure.format, 64),
    )


def _cut(text: str, limit: int) -> str:
    return (
        text
        if len(text) <= limit
        else f"{text[: limit // 2]}\n… {len(text) - limit} characters …\n{text[-limit // 2 :]}"
    )


def _check(good: bool, rule: str) -> None:
    if not good:
        raise Invalid(f"the worker's message breaks the protocol: {rule}")
