"""What values the settings may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tqbroker import option_rules as rules
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.option_rules import COMPRESSION, FLAG, LONG, RATE, Rule, one_of, text, whole
from tqbroker.urls import target_of

MODULES = Rule("a list of module names", lambda value: _are_texts(value))
FORMATS = Rule("a list of 'json' and 'msgpack'", lambda value: _are_formats(value))
ANYTHING = Rule("anything", lambda value: True)
LEVEL = one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMAT = Rule('a format of logging such as "%(levelname)s %(message)s"', lambda value: _is_log_format(value))
SECONDS = Rule("a number of seconds above 0", lambda value: _is_number(value) and 0 < value < float("inf"))
SCHEDULES = Rule(
    "a mapping of names to {'task': ..., 'schedule': ...}",
    lambda value: rules.MAPPING.test(value) and all(isinstance(entry, Mapping) for entry in value.values()),
)
POOL = one_of("process", "prefork", "processes", "thread", "threads", "asyncio", "solo")

REQUIRED = frozenset(
    {
        "task_default_queue",
        "task_serializer",
        "result_serializer",
        "submit_timeout",
        "request_timeout",
        "strict_typing",
        "beat_schedule",
    }
)
"""Settings that cannot be None."""


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple, set)) and all(isinstance(item, str) and item for item in value)


def _are_formats(value: Any) -> bool:
    names = {"json", "msgpack", "application/json", "application/x-msgpack"}
    return _are_texts(value) and len(value) > 0 and names.issuperset(value)


def _is_log_format(value: Any) -> bool:
    import logging

    try:
        logging.PercentStyle(value).validate()
    except (TypeError, ValueError):
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _flags(names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), FLAG)


RULES: dict[str, Rule] = {
    **_flags("strict_typing enable_utc task_always_eager task_eager_propagates task_create_missing_queues"),
    **_flags("task_allow_error_cb_on_chord_header"),
    **_flags("task_inherit_parent_priority task_ignore_result task_acks_late"),
    **_flags("task_publish_retry"),
    **dict.fromkeys(("task_acks_on_failure_or_timeout", "task_acks_on_failure", "task_acks_on_timeout"), rules.ENDS),
    **_flags("task_reject_on_worker_lost task_store_errors_even_if_ignored task_remote_tracebacks"),
    **_flags("task_track_started task_send_sent_event result_extended worker_disable_rate_limits"),
    **_flags("worker_enable_remote_control worker_pool_restarts worker_direct worker_hijack_root_logger"),
    **_flags("worker_redirect_stdouts worker_log_color"),
    "accept_content": FORMATS,
    "timezone": text(255),
    "imports": MODULES,
    "include": MODULES,
    "task_annotations": ANYTHING,
    "task_routes": ANYTHING,
    "task_queues": ANYTHING,
    "task_default_queue": rules.QUEUE,
    "task_default_priority": rules.PRIORITY,
    "task_serializer": rules.SERIALIZER,
    "task_compression": COMPRESSION,
    "task_time_limit": LONG,
    "task_soft_time_limit": LONG,
    "task_default_rate_limit": RATE,
    "task_publish_retry_policy": rules.MAPPING,
    "result_serializer": rules.SERIALIZER,
    "result_compression": COMPRESSION,
    "result_expires": LONG,
    "submit_timeout": SECONDS,
    "request_timeout": SECONDS,
    "worker_concurrency": whole(1, 10_000),
    "worker_pool": POOL,
    "worker_max_tasks_per_child": whole(1, 1 << 31),
    "worker_max_memory_per_child": whole(1, 1 << 40),
    "worker_prefetch_multiplier": whole(0, 10_000),
    "worker_proc_alive_timeout": LONG,
    "worker_soft_shutdown_timeout": rules.SPAN,
    "worker_redirect_stdouts_level": LEVEL,
    "worker_log_format": FORMAT,
    "worker_task_log_format": FORMAT,
    "beat_schedule": SCHEDULES,
    "beat_cron_starting_deadline": rules.SPAN,
}


def _check_backend(value: Any) -> None:
    if value is None or (isinstance(value, str) and value.startswith(("tq://", "tq+unix://"))):
        return
    raise ImproperlyConfigured("setting 'result_backend': the broker keeps results itself: leave it out")


def _check_policy(value: Any) -> None:
    if value is not None:
        from tqbroker.publishing import check_policy

        check_policy(value)


_OTHERS: Mapping[str, Callable[[Any], object]] = {
    "broker_url": target_of,
    "result_backend": _check_backend,
    "task_publish_retry_policy": _check_policy,
}


def check(name: str, value: Any) -> None:
    """Raises ImproperlyConfigured for a value that is not allowed."""
    rule = RULES.get(name)
    if rule is not None and ((value is None and name in REQUIRED) or not (value is None or rule.test(value))):
        raise ImproperlyConfigured(f"setting {name}={value!r:.200} is not allowed: {_written(rule.allowed)}")
    other = _OTHERS.get(name)
    if other is not None:
        try:
            other(value)
        except ValueError as error:
            raise ImproperlyConfigured(f"setting {name}: {error}") from None


def _written(allowed: str) -> str:
    """The words of an option's rule, as advice for a line of configuration."""
    return f"write {allowed.removeprefix('use ').removeprefix('give ').removeprefix('write ')}"
