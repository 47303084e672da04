"""The settings by name and type, as keywords of `App(...)` and `conf.update(...)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from tqbroker.amounts import Span
from tqbroker.options import Rates


class _TaskSettings(TypedDict, total=False):
    strict_typing: bool
    accept_content: Sequence[str]
    timezone: str | None
    enable_utc: bool
    imports: Sequence[str]
    include: Sequence[str]
    task_allow_error_cb_on_chord_header: bool
    task_always_eager: bool
    task_eager_propagates: bool
    task_annotations: Any
    task_routes: Any
    task_queues: Any
    task_default_queue: str
    task_create_missing_queues: bool
    task_default_priority: int | None
    task_inherit_parent_priority: bool
    task_serializer: str
    task_compression: str | None
    task_ignore_result: bool
    task_time_limit: Span | None
    task_soft_time_limit: Span | None
    task_default_rate_limit: Rates | None
    task_acks_late: bool
    task_acks_on_failure_or_timeout: bool
    task_acks_on_failure: bool | None
    task_acks_on_timeout: bool | None
    task_reject_on_worker_lost: bool | None
    task_store_errors_even_if_ignored: bool
    task_remote_tracebacks: bool
    task_track_started: bool
    task_send_sent_event: bool
    task_publish_retry: bool
    task_publish_retry_policy: Mapping[str, Any] | None


class _WorkerSettings(TypedDict, total=False):
    worker_concurrency: int | None
    worker_pool: str
    worker_max_tasks_per_child: int | None
    worker_max_memory_per_child: int | None
    worker_disable_rate_limits: bool
    worker_prefetch_multiplier: int | None
    worker_proc_alive_timeout: Span | None
    worker_soft_shutdown_timeout: Span
    worker_enable_remote_control: bool
    worker_pool_restarts: bool
    worker_direct: bool
    worker_hijack_root_logger: bool
    worker_redirect_stdouts: bool
    worker_redirect_stdouts_level: str
    worker_log_color: bool | None
    worker_log_format: str | None
    worker_task_log_format: str | None


class _ScheduleSettings(TypedDict, total=False):
    beat_schedule: dict[str, Any]
    beat_cron_starting_deadline: Span | None


class SettingOptions(_TaskSettings, _WorkerSettings, _ScheduleSettings, total=False):
    """All settings. What each means and its default stands in `setting_values`."""

    broker_url: str
    submit_timeout: float
    request_timeout: float
    result_backend: str | None
    result_serializer: str
    result_compression: str | None
    result_expires: Span | None
    result_extended: bool
