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
    """Formats that a worker decodes. A job in another one fails."""

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

    task_store_errors_even_if_ignored: bool = False
    """Keep failures of tasks that ignore their result."""

    task_time_limit: Span | None = None
    """Seconds after which a run is stopped."""

    task_soft_time_limit: Span | None = None
    """Seconds after which SoftTimeLimitExceeded is raised inside the task."""

    task_default_rate_limit: Rates | None = None
    """Rate limit of each task that names none, over all workers."""

    task_acks_late: bool = True
    """A run lost with its worker is repeated. False: each job is started at most once."""

    task_acks_on_failure_or_timeout: bool = True
    """A job ends when its run failed or timed out. False: it goes back to its queue."""

    task_acks_on_failure: bool | None = None
    """The same for failures alone; None is the setting above."""

    task_acks_on_timeout: bool | None = None
    """The same for timeouts alone; None is the setting above."""

    task_reject_on_worker_lost: bool | None = None
    """False: a run that takes its process down ends the job. None and True: it is repeated, a few times."""

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

    worker_prefetch_multiplier: int | None = None
    """Short jobs held ahead for each slot, at most; long ones never are. None lets the worker measure."""

    worker_max_tasks_per_child: int | None = None
    """Jobs after which a child process is replaced."""

    worker_max_memory_per_child: int | None = None
    """KiB of memory above which a child process is replaced after its job."""

    worker_lost_wait: Span = 10.0
    """Seconds to wait for the last words of a child that died."""

    worker_proc_alive_timeout: Span = 60.0
    """Seconds a child may take to start. Celery's are 4: imports of large apps take longer."""

    worker_soft_shutdown_timeout: Span = 0.0
    """Seconds between the polite and the forced end of a worker's shutdown."""

    worker_disable_rate_limits: bool = False
    """This worker declares no rate limits."""

    worker_enable_remote_control: bool = True
    """Answer commands such as `tqbroker inspect`."""

    worker_pool_restarts: bool = False
    """Allow the command pool_restart."""

    worker_cancel_long_running_tasks_on_connection_loss: bool = False
    """Stop a run as soon as its lease is lost, instead of letting it end in vain."""

    worker_direct: bool = False
    """Each worker also takes jobs from a queue of its own, "worker:NAME"."""

    worker_hijack_root_logger: bool = True
    """Set up the root logger."""

    worker_redirect_stdouts: bool = True
    """What tasks print goes to the log."""

    worker_redirect_stdouts_level: str = "WARNING"
    """The level it gets there."""

    worker_log_color: bool | None = None
    """Colours in the log. None: on a terminal."""

    worker_log_format: str | None = None
    """Format of log lines, as in the standard library's logging."""

    worker_task_log_format: str | None = None
    """The same for lines from inside tasks, with task_name and task_id."""

    worker_logfile: str | None = None
    """File to log to. None is stderr."""

    worker_pidfile: str | None = None
    """File for the process id."""

    worker_uid: str | int | None = None
    """User to run as."""

    worker_gid: str | int | None = None
    """Group to run as."""

    worker_umask: str | int | None = None
    """File mode mask, octal as text."""


class SettingValues(TaskSettings, WorkerSettings):
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
