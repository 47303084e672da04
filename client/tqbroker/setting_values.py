"""The settings with their defaults and meanings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tqbroker.amounts import Span
from tqbroker.options import Rates
from tqbroker.urls import DEFAULT_URL


class TaskSettings:
    """What tasks and calls are like unless they say otherwise."""

    strict_typing: bool = True
    """Compare arguments with the task's signature before sending."""

    accept_content: Sequence[str] = ("json", "msgpack")
    """Formats that a worker decodes: there are no others, and none of them runs code."""

    timezone: str | None = None
    """Zone of naive datetimes, for example "Europe/Berlin". None is UTC, or the machine's without enable_utc."""

    enable_utc: bool = True
    """Naive datetimes are UTC where `timezone` is not set."""

    imports: Sequence[str] = ()
    """Modules that a worker imports at start."""

    include: Sequence[str] = ()
    """More such modules, imported after `imports`."""

    task_always_eager: bool = False
    """Run every call here and now instead of sending it. For trying things out: nothing is stored or retried later."""

    task_eager_propagates: bool = False
    """An eager call raises what its task raises."""

    task_allow_error_cb_on_chord_header: bool = False
    """Error callbacks of a chord are also called for the members of its header that fail."""

    task_annotations: Any = None
    """Task options by configuration: {"tasks.add": {"rate_limit": "10/s"}, "*": {...}}, or a list of such."""

    task_routes: Any = None
    """Where jobs go by the name of their task, see docs/migrating.md."""

    task_queues: Any = None
    """Queues the app knows: names, or tqbroker.Queue objects."""

    task_default_queue: str = "default"
    """Queue of jobs that nothing else gives one. Celery's is "celery"."""

    task_create_missing_queues: bool = True
    """Any name is a queue. With False, only those of task_queues and the default one are."""

    task_default_priority: int | None = 0
    """Priority, 0 to 9, of jobs whose task and call name none. A higher number goes first. None is 0."""

    task_inherit_parent_priority: bool = False
    """A job submitted by a task gets that job's priority, unless its call, route or task names one."""

    task_serializer: str = "json"
    """Format of arguments: json or msgpack."""

    task_compression: str | None = None
    """Compression of arguments: zlib, gzip, bzip2 or lzma."""

    task_ignore_result: bool = False
    """Keep no return values, unless task or call say otherwise."""

    task_time_limit: Span | None = None
    """Seconds after which a run is stopped."""

    task_soft_time_limit: Span | None = None
    """Seconds after which SoftTimeLimitExceeded is raised inside the task."""

    task_default_rate_limit: Rates | None = None
    """Rate limit of each task that names none, over all workers."""

    task_acks_late: bool = True
    """A run lost with its worker is repeated. False: each job is started at most once."""

    task_acks_on_failure_or_timeout: bool = True
    """A job ends when its run failed or timed out. It cannot be False: a retry says when to try again."""

    task_acks_on_failure: bool | None = None
    """The same for failures alone; None is the setting above."""

    task_acks_on_timeout: bool | None = None
    """The same for timeouts alone; None is the setting above."""

    task_reject_on_worker_lost: bool | None = None
    """A run that takes its process down is repeated, a few times, unless task_acks_late is False."""

    task_store_errors_even_if_ignored: bool = True
    """A job that failed is kept with its error, whether or not its result would be. It cannot be switched off."""

    task_remote_tracebacks: bool = True
    """Exceptions carry the worker's traceback. It cannot be switched off."""

    task_track_started: bool = True
    """The broker knows which jobs run. It cannot be switched off, and costs no write."""

    task_send_sent_event: bool = True
    """The broker records that a job was submitted. It cannot be switched off."""

    task_publish_retry: bool = True
    """Send again what was not confirmed. False: give up after a second."""

    task_publish_retry_policy: Mapping[str, Any] | None = None
    """Celery's policy, as the time a submit is tried. None leaves it to submit_timeout."""


class WorkerSettings:
    """What `tqbroker worker` does unless its flags say otherwise."""

    worker_concurrency: int | None = None
    """Jobs run at once. None is one for each processor."""

    worker_pool: str = "process"
    """process (or prefork), thread (or threads), asyncio, solo."""

    worker_max_tasks_per_child: int | None = None
    """Jobs after which a child process is replaced."""

    worker_max_memory_per_child: int | None = None
    """KiB of memory above which a child process is replaced after its job."""

    worker_disable_rate_limits: bool = False
    """This worker declares no rate limits."""

    worker_prefetch_multiplier: int | None = None
    """Jobs to hold for each slot at most, 0 for any number. None leaves it to measured run times."""

    worker_proc_alive_timeout: Span | None = None
    """Seconds in which a child that follows another must have loaded the app, or it is killed and another started.

    None is any time, because only the app knows how long its imports take; Celery's 4 seconds are for a fork.
    """

    worker_soft_shutdown_timeout: Span = 0
    """Seconds that running jobs still get after the second signal, before they go back to the broker."""

    worker_enable_remote_control: bool = True
    """Workers carry out commands of operators. With False they refuse them; cancelling jobs is no command."""

    worker_pool_restarts: bool = True
    """The command pool_restart is carried out. Celery's default is False."""

    worker_direct: bool = False
    """Each worker also takes jobs from a queue of its own, "worker:" and its name."""

    worker_hijack_root_logger: bool = True
    """A worker logs by itself, whatever handlers the app has given the root logger. With False those stay instead."""

    worker_redirect_stdouts: bool = True
    """What tasks print goes to the log, line by line."""

    worker_redirect_stdouts_level: str = "WARNING"
    """The level of these lines."""

    worker_log_color: bool | None = None
    """Colors in the log. None: on a terminal."""

    worker_log_format: str | None = None
    """Format of a line, as of logging.Formatter. None: for people on a terminal, JSON otherwise."""

    worker_task_log_format: str | None = None
    """The same for lines of tasks; `%(task_name)s` and `%(task_id)s` may stand in it. None is worker_log_format."""


class ScheduleSettings:
    """What the broker is to do by the clock."""

    beat_schedule: dict[str, Any]
    """Schedules by name: {"nightly": {"task": "tasks.report", "schedule": crontab(hour=3)}}. See docs/schedules.md."""

    beat_cron_starting_deadline: Span | None = None
    """Seconds after which a firing by the clock that was missed is not made up for. None is any time."""


class SettingValues(TaskSettings, WorkerSettings, ScheduleSettings):
    """All of them."""

    broker_url: str = DEFAULT_URL
    """Where the broker is: tq://host[:port] or tq+unix:///path."""

    submit_timeout: float = 5.0
    """Seconds after which a submit that the broker has not confirmed raises OperationalError."""

    request_timeout: float = 5.0
    """Seconds after which a question to the broker (status, revoke, forget) raises OperationalError."""

    result_backend: str | None = None
    """None, or the URL of the broker: it keeps the results."""

    result_serializer: str = "json"
    """Format of return values: json or msgpack."""

    result_compression: str | None = None
    """Compression of return values: zlib, gzip, bzip2 or lzma."""

    result_expires: Span | None = None
    """Seconds that a finished job and its result are kept. None leaves it to the broker: 1 day."""

    result_extended: bool = True
    """Name, arguments, worker, retries and queue are kept with a result. It cannot be switched off."""
