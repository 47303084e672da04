"""Options of tasks and of calls by name and type. What values are allowed stands in `option_rules`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from tqbroker import known_options
from tqbroker.amounts import Moment, Span
from tqbroker.verdicts import Known, speak_up

if TYPE_CHECKING:
    from tqbroker.queues import Exchange, Queue
    from tqbroker.task import Task

Errors = type[BaseException] | Sequence[type[BaseException]]
"""One class of exceptions, or several."""

Callback = Mapping[str, Any]
"""A signature: `task.s(...)`, or the mapping that describes one."""

Rates = str | float | Sequence[str | float]
"""A rate limit: "10/s", "100/m", "5/h", a number a second, or several windows as "10/s 100/m" or a list."""


class SharedOptions(TypedDict, total=False):
    """Options that a task has for all its calls, and a call for itself. None means "not given".

    `queue` defaults to the app's. `priority`: 0 to 9, higher first. `exchange` and `routing_key` find a queue among
    `task_queues`. `expires` (seconds; for a call also a moment): do not start later. `result_expires`: seconds to keep
    the finished job. `serializer`: "json" or "msgpack". `compression`: "zlib", "gzip", "bzip2" or "lzma".
    `time_limit` and `soft_time_limit`: seconds a run may take.

    `ordering_key`: jobs of a queue with the same key run one at a time, in order. `tenant`: tenants take turns.
    `limits`: up to 8 names of limits to count against. `requires`: up to 16 labels a worker must have.

    `unique_until` ("queued", "started" or "finished") and `unique_for` (seconds): until then there is one job with the
    same arguments, or the same `unique_key`. `unique_on_conflict`: "reject" (the default) raises NotUniqueError,
    "keep" returns the result of the job that is there, "replace" cancels it while it waits.
    """

    queue: str | Queue | None
    priority: int | None
    exchange: str | Exchange | None
    routing_key: str | None
    ignore_result: bool | None
    result_expires: Span | None
    serializer: str | None
    compression: str | None
    time_limit: Span | None
    soft_time_limit: Span | None
    ordering_key: str | None
    tenant: str | None
    limits: str | Sequence[str] | None
    requires: str | Sequence[str] | None
    unique_for: Span | None
    unique_until: Literal["queued", "started", "finished"] | None
    unique_on_conflict: Literal["reject", "keep", "replace"] | None
    unique_key: str | None
    delivery_mode: object
    mandatory: object
    immediate: object


class TaskOptions(SharedOptions, total=False):
    """Options of `@app.task(...)`, beside `bind`. Defaults in brackets.

    `name` [module.function]. `base`: a subclass of Task. `typing` [True]: compare arguments with the signature.

    Retries: `max_retries` [3; None for ever], `default_retry_delay` [180 s], `autoretry_for` and `dont_autoretry_for`
    [none], `retry_kwargs`, `retry_backoff` [False; True or a factor in seconds], `retry_backoff_max` [600 s],
    `retry_jitter` [True], `throws`: expected errors, logged without traceback.

    Limits over all workers: `rate_limit` ("10/s", "100/m 1000/h"), `max_concurrency`.

    Ends: `acks_late` [True: a lost run is repeated; False: at most once], `acks_on_failure_or_timeout` [True],
    `acks_on_failure`, `acks_on_timeout`, `reject_on_worker_lost`, `track_started`: as they are, see docs/migrating.md.

    Hooks: `before_start`, `on_success`, `on_retry`, `on_failure`, `after_return`, `on_replace`, functions with Celery's
    parameters.
    `shadow_name(task, args, kwargs, options)` gives the name to show. `resultrepr_maxsize` [1024]: characters of a
    result that the log shows.

    `pydantic` [False]: arguments annotated with a model are validated (`pydantic_strict` [True], `pydantic_context`),
    a returned model is dumped (`pydantic_dump_kwargs`). `trail` [True]: remember what the body submits.
    `store_errors_even_if_ignored` and `send_events` are always as if True.
    """

    name: str | None
    base: type[Task[..., Any]] | None
    expires: Span | None
    typing: bool
    max_retries: int | None
    default_retry_delay: Span
    autoretry_for: Errors
    dont_autoretry_for: Errors
    retry_kwargs: Mapping[str, Any]
    retry_backoff: bool | float
    retry_backoff_max: Span
    retry_jitter: bool
    throws: Errors
    rate_limit: Rates | None
    max_concurrency: int | None
    store_errors_even_if_ignored: bool
    acks_late: bool
    acks_on_failure_or_timeout: bool
    acks_on_failure: bool | None
    acks_on_timeout: bool | None
    reject_on_worker_lost: bool | None
    track_started: bool
    send_events: bool
    resultrepr_maxsize: int
    pydantic: bool
    pydantic_strict: bool
    pydantic_context: Mapping[str, Any] | None
    pydantic_dump_kwargs: Mapping[str, Any] | None
    shadow_name: Callable[..., str | None] | None
    before_start: Callable[..., Any]
    on_success: Callable[..., Any]
    on_retry: Callable[..., Any]
    on_failure: Callable[..., Any]
    after_return: Callable[..., Any]
    on_replace: Callable[..., Any]
    trail: bool


class CallOptions(SharedOptions, total=False):
    """Options of `apply_async(args, kwargs, ...)`. None means "not given".

    `task_id` is 1 to 128 printable characters; a new UUIDv7 by default. `idempotency_key` makes the id instead: the
    same key and arguments are the same job, however often they are sent. `countdown` (seconds) or `eta` (a moment):
    start no earlier. `headers`: a mapping that the task sees as `self.request.headers`. `stamps`: names with values
    that jobs can be found by; or, as in Celery, `stamped_headers=["x"], x=1`. `link`: signatures to run when it has
    succeeded, handed its result; `link_error`: when it has failed. `shadow`: the name to show. `retry` and
    `retry_policy`: how long to try to reach the broker, instead of the app's `submit_timeout`. `add_to_parent`: False
    leaves it out of the `self.request.children` of the job whose body makes the call.
    """

    task_id: str | None
    idempotency_key: str | None
    countdown: Span | None
    eta: Moment | None
    expires: Span | Moment | None
    headers: Mapping[str, Any] | None
    stamps: Mapping[str, Any] | None
    stamped_headers: Sequence[str] | None
    link: Callback | Sequence[Callback] | None
    link_error: Callback | Sequence[Callback] | None
    shadow: str | None
    retry: bool | None
    retry_policy: Mapping[str, Any] | None
    expiration: object
    user_id: object
    app_id: object
    reply_to: object
    connection: object
    producer: object
    publisher: object
    router: object
    add_to_parent: bool | None
    argsrepr: object
    kwargsrepr: object
    group_id: object
    chord: object
    root_id: object
    parent_id: object
    group_index: object


class CallItem(CallOptions, total=False):
    """One call of `apply_async_many`: its options, and its arguments."""

    args: Any
    kwargs: Mapping[str, Any]


_REFUSED = frozenset({"refused", "later"})


def _allowed(table: Mapping[str, Known], *others: str) -> frozenset[str]:
    return frozenset(name for name, known in table.items() if known.kind not in _REFUSED) - {*others}


TASK_OPTIONS = _allowed(known_options.TASK)
CALL_OPTIONS = _allowed(known_options.CALL, "args", "kwargs")


def refuse_unknown(given: Mapping[str, Any], table: Mapping[str, Known], allowed: frozenset[str], where: str) -> None:
    """Raises TypeError for an option that does not exist or is refused; logs one that has no effect."""
    unknown = given.keys() - allowed - _stamp_names(given)
    unknown -= {name for name in unknown & table.keys() if given[name] is None or given[name] is False}
    if not unknown.isdisjoint(table) or any(table[name].sentence for name in given.keys() & allowed):
        sentence = speak_up("option", given, table)
        if sentence is not None:
            raise TypeError(f"{where}: {sentence}")
    if unknown:
        shown = ", ".join(sorted(unknown))
        raise TypeError(f"{where} has no option {shown}: allowed are {', '.join(sorted(allowed))}")


def _stamp_names(given: Mapping[str, Any]) -> set[str]:
    """The names that Celery's `stamped_headers=["x"], x=1` allows."""
    names = given.get("stamped_headers") or ()
    return {name for name in names if isinstance(name, str)} if isinstance(names, (list, tuple, set)) else {str(names)}


def check_task_options(given: Mapping[str, Any], where: str = "@app.task") -> None:
    """Raises TypeError for an option that a task cannot have."""
    refuse_unknown(given, known_options.TASK, TASK_OPTIONS, where)


def check_call_options(given: Mapping[str, Any], where: str) -> None:
    """Raises TypeError for an option that a call cannot have."""
    refuse_unknown(given, known_options.CALL, CALL_OPTIONS, where)
