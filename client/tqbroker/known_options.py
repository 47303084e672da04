"""Every option of `@app.task` and `apply_async` with its verdict. docs/migrating.md shows the same."""

from __future__ import annotations

from tqbroker.verdicts import Known, names

_DURABLE = "a job is always on the disk before the call returns, and its broker needs no AMQP properties"
_WORKFLOWS = "what a job belongs to is said by the chain, group or chord that it is sent with"
_ARGUMENTS = "neither logs nor events show arguments"

_SHARED = {
    **names("works", "ignore_result queue serializer expires time_limit soft_time_limit"),
    **names("adapted", "priority compression exchange routing_key"),
    **names("accepted", "delivery_mode mandatory immediate", _DURABLE),
    **names("works", "result_expires ordering_key tenant limits requires unique_for unique_until unique_on_conflict"),
    **names("works", "unique_key"),
}

TASK: dict[str, Known] = {
    **_SHARED,
    **names("works", "name bind base typing max_retries default_retry_delay autoretry_for dont_autoretry_for"),
    **names("works", "retry_kwargs retry_backoff retry_backoff_max retry_jitter throws"),
    **names("works", "shadow_name"),
    **names("works", "before_start on_success on_retry on_failure after_return"),
    **names("works", "max_concurrency"),
    **names("adapted", "acks_on_failure_or_timeout acks_on_failure acks_on_timeout"),
    **names("works", "trail resultrepr_maxsize pydantic pydantic_strict pydantic_context pydantic_dump_kwargs"),
    **names("adapted", "store_errors_even_if_ignored send_events"),
    **names("adapted", "rate_limit acks_late reject_on_worker_lost track_started"),
    **names("works", "on_replace"),
    **names("refused", "immutable", "a call is immutable, not a task: write task.si(...)"),
    **names("refused", "backend", "there is one store for results, the broker itself: leave it out"),
    **names(
        "refused",
        "Request Strategy",
        "class paths are not taken: write before_start, on_success, on_retry, on_failure or after_return",
    ),
    **names(
        "refused",
        "rate_limit_scope",
        "a rate limit holds for all workers together: leave it out",
    ),
}

CALL: dict[str, Known] = {
    **_SHARED,
    **names("works", "args kwargs countdown eta headers shadow stamps stamped_headers idempotency_key add_to_parent"),
    **names("adapted", "task_id retry retry_policy"),
    **names("accepted", "expiration user_id app_id", _DURABLE),
    **names(
        "accepted",
        "reply_to connection producer publisher router",
        "there is one connection a process, and results come back over it",
    ),
    **names("accepted", "argsrepr kwargsrepr", _ARGUMENTS),
    **names("works", "link link_error"),
    **names("accepted", "group_id chord root_id parent_id group_index", _WORKFLOWS),
    **names("refused", "result_cls", "results are AsyncResult objects: wrap the one that the call returns"),
    **names("refused", "route_name", "routes go by the name of the task: write queue="),
    **names("refused", "retries", "the broker counts retries: leave it out"),
}
