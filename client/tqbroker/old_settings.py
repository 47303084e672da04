"""Upper-case names of settings, as Celery had them before version 4, and as Django projects write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tqbroker.known_settings import SETTINGS

_RENAMED = {
    "CELERY_ALWAYS_EAGER": "task_always_eager",
    "CELERY_EAGER_PROPAGATES_EXCEPTIONS": "task_eager_propagates",
    "CELERY_EAGER_PROPAGATES": "task_eager_propagates",
    "CELERY_ACKS_LATE": "task_acks_late",
    "CELERY_ANNOTATIONS": "task_annotations",
    "CELERY_CREATE_MISSING_QUEUES": "task_create_missing_queues",
    "CELERY_DEFAULT_DELIVERY_MODE": "task_default_delivery_mode",
    "CELERY_DEFAULT_EXCHANGE": "task_default_exchange",
    "CELERY_DEFAULT_EXCHANGE_TYPE": "task_default_exchange_type",
    "CELERY_DEFAULT_QUEUE": "task_default_queue",
    "CELERY_DEFAULT_RATE_LIMIT": "task_default_rate_limit",
    "CELERY_DEFAULT_ROUTING_KEY": "task_default_routing_key",
    "CELERY_IGNORE_RESULT": "task_ignore_result",
    "CELERY_MESSAGE_COMPRESSION": "task_compression",
    "CELERY_QUEUES": "task_queues",
    "CELERY_ROUTES": "task_routes",
    "CELERY_SEND_EVENTS": "worker_send_task_events",
    "CELERY_SEND_TASK_SENT_EVENT": "task_send_sent_event",
    "CELERY_STORE_ERRORS_EVEN_IF_IGNORED": "task_store_errors_even_if_ignored",
    "CELERY_TRACK_STARTED": "task_track_started",
    "CELERY_TASK_PUBLISH_RETRY": "task_publish_retry",
    "CELERY_TASK_PUBLISH_RETRY_POLICY": "task_publish_retry_policy",
    "CELERY_TASK_RESULT_EXPIRES": "result_expires",
    "CELERY_TASK_SERIALIZER": "task_serializer",
    "CELERY_DISABLE_RATE_LIMITS": "worker_disable_rate_limits",
    "CELERY_ENABLE_REMOTE_CONTROL": "worker_enable_remote_control",
    "CELERY_ENABLE_UTC": "enable_utc",
    "CELERY_REDIRECT_STDOUTS": "worker_redirect_stdouts",
    "CELERY_REDIRECT_STDOUTS_LEVEL": "worker_redirect_stdouts_level",
    "CELERY_WORKER_DIRECT": "worker_direct",
    "CELERY_EVENT_QUEUE_TTL": "event_queue_ttl",
    "CELERY_EVENT_QUEUE_EXPIRES": "event_queue_expires",
    "CELERY_EVENT_SERIALIZER": "event_serializer",
    "CELERYD_CONCURRENCY": "worker_concurrency",
    "CELERYD_POOL": "worker_pool",
    "CELERYD_POOL_PUTLOCKS": "worker_pool_putlocks",
    "CELERYD_POOL_RESTARTS": "worker_pool_restarts",
    "CELERYD_PREFETCH_MULTIPLIER": "worker_prefetch_multiplier",
    "CELERYD_MAX_TASKS_PER_CHILD": "worker_max_tasks_per_child",
    "CELERYD_MAX_MEMORY_PER_CHILD": "worker_max_memory_per_child",
    "CELERYD_TASK_TIME_LIMIT": "task_time_limit",
    "CELERYD_TASK_SOFT_TIME_LIMIT": "task_soft_time_limit",
    "CELERYD_HIJACK_ROOT_LOGGER": "worker_hijack_root_logger",
    "CELERYD_LOG_COLOR": "worker_log_color",
    "CELERYD_LOG_FORMAT": "worker_log_format",
    "CELERYD_TASK_LOG_FORMAT": "worker_task_log_format",
    "CELERYD_STATE_DB": "worker_state_db",
    "CELERYD_WORKER_LOST_WAIT": "worker_lost_wait",
    "CELERYD_TIMER": "worker_timer",
    "CELERYD_TIMER_PRECISION": "worker_timer_precision",
    "CELERYD_AUTOSCALER": "worker_autoscaler",
    "CELERYD_CONSUMER": "worker_consumer",
    "CELERYD_AGENT": "worker_agent",
    "CELERYBEAT_SCHEDULE": "beat_schedule",
    "CELERYBEAT_SCHEDULER": "beat_scheduler",
    "CELERYBEAT_SCHEDULE_FILENAME": "beat_schedule_filename",
    "CELERYBEAT_SYNC_EVERY": "beat_sync_every",
    "CELERYBEAT_MAX_LOOP_INTERVAL": "beat_max_loop_interval",
}

_PREFIXES = ("CELERY_", "")


def new_name(name: str) -> str | None:
    """The name of today for an upper-case one; None when there is none."""
    if name in _RENAMED:
        return _RENAMED[name]
    for prefix in _PREFIXES:
        lower = name.removeprefix(prefix).lower()
        if name.startswith(prefix) and lower in SETTINGS:
            return lower
    return None


def read(found: Mapping[str, Any], namespace: str | None) -> dict[str, Any]:
    """The settings among the names of a module, object or mapping.

    With a namespace only names that begin with it and an underscore count, and each must be a setting. Without one,
    lower-case names that are settings count, and upper-case ones that can be one; others are not settings.
    """
    if namespace:
        prefix = f"{namespace}_"
        return {_within(name, prefix): value for name, value in found.items() if name.startswith(prefix)}
    known = {name: value for name, value in found.items() if name in SETTINGS}
    for name, value in found.items():
        new = new_name(name) if name.isupper() else None
        if new is not None:
            known.setdefault(new, value)
    return known


def _within(name: str, prefix: str) -> str:
    lower = name.removeprefix(prefix).lower()
    if lower in SETTINGS or not name.isupper():
        return lower
    return new_name(name) or lower
