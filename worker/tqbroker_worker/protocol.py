"""What parent and child say to each other: columns, so that a job costs a microsecond and not a message.

Down go jobs and what is to become of them (`Jobs`, `Cancel`, `HandBack`, `Stop`), answers (`Noted`), and what a child
does besides running jobs (`Failed`, `Ask`, `TimeLimits`, `Fire`). Up come one `Manifest` or `Broken`, then `Done`,
`Ended`, `Unstarted`, `Annotate` and `Answered`. The messages are msgpack arrays; both ends are always the same version
of this package.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from tqbroker.failures import FailureData
from tqbroker.schedule_values import Declared
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.places import Trail


class Cancel(msgspec.Struct, array_like=True, tag=2):
    """Somebody cancelled these: what is not started is given back, what runs sees `self.request.cancelled`.

    With `force` what runs is stopped: a coroutine is cancelled, in a thread TaskRevokedError is raised. A child that
    runs jobs in its main thread (pools process and solo) sends itself `signal` ("" means SIGTERM) while the job is
    still the one that runs, after reporting what has finished; the parent sees it die, or kills it if it does not.
    """

    tokens: list[int]
    force: bool = False
    signal: str = ""


class HandBack(msgspec.Struct, array_like=True, tag=3):
    """Give back every job that is not started."""


class Stop(msgspec.Struct, array_like=True, tag=4):
    """Finish what runs, then exit."""


class Verdict(IntEnum):
    """How an attempt ended, other than by success; numbers are those of the wire."""

    FAILED = 1
    RETRY = 2
    LOST = 3
    CANCELLED = 4
    REJECTED = 5
    REQUEUED = 6
    REPLACED = 7


class Noted(msgspec.Struct, array_like=True, tag=5):
    """What became of the `Annotate` with this number: durable, or `error` says why it never will be (lease lost)."""

    number: int
    error: str = ""


class Failed(msgspec.Struct, array_like=True, tag=6):
    """Run the hooks of a job that the parent has ended itself (hard time limit, killed child); no outcome is due.

    `jobs` is one job, which counts neither as started nor as finished.
    """

    jobs: Jobs
    failure: FailureData
    verdict: Verdict
    started_ms: int = 0


class Ask(msgspec.Struct, array_like=True, tag=7):
    """A question of an operator, with its arguments as a JSON object: "stacks", "conf", "registered" or "usage".

    Answered at once by `Answered`, whatever runs.
    """

    number: int
    command: str
    arguments: bytes = b"{}"


class TimeLimits(msgspec.Struct, array_like=True, tag=8):
    """New limits of a task, for jobs that start from now on and name none themselves; 0 means none."""

    task: str
    soft_ms: int
    hard_ms: int


class Fire(msgspec.Struct, array_like=True, tag=9):
    """Send one of the signals that happen in the parent; `kwargs` is a JSON object, "sender" in it is the sender.

    Only useful to a child whose manifest names the signal. It happens between jobs.
    """

    signal: str
    kwargs: bytes = b"{}"


class TaskLimits(msgspec.Struct, array_like=True, frozen=True):
    """What a task's options bound. 0 and empty mean no bound. `rates`: starts and the milliseconds they are spread on.

    `per_worker`: the rates hold for each worker by itself.
    """

    soft_ms: int = 0
    hard_ms: int = 0
    rates: tuple[tuple[int, int], ...] = ()
    max_concurrency: int = 0
    per_worker: bool = False


class LogLook(msgspec.Struct, array_like=True, frozen=True):
    """How lines of the log look: formats of logging.Formatter, "" for ours, and colors, None on a terminal."""

    line: str = ""
    task_line: str = ""
    color: bool | None = None


class WorkerSettings(msgspec.Struct, array_like=True, frozen=True):
    """Settings of the app that are for its workers; what the command line says goes first. None and 0: not set.

    `limits` are those of tasks that name none: task_time_limit, task_soft_time_limit, task_default_rate_limit.
    `direct`: the worker has a queue of its own. `load_ms`: how long a child may take to load the app; `grace_ms`: what
    running jobs get after the second signal. `commands`, `restarts`: what operators may ask for.
    """

    concurrency: int | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child_kib: int | None = None
    pool: str | None = None
    limits: TaskLimits = TaskLimits()
    prefetch: int | None = None
    direct: bool = False
    load_ms: int = 0
    grace_ms: int = 0
    commands: bool = True
    restarts: bool = True
    log: LogLook = LogLook()


class WantedQueue(msgspec.Struct, array_like=True, frozen=True):
    """How the app wants a queue to be bounded: 0 is not at all. `flags`: the same for `tqbroker queues set`."""

    name: str
    max_length: int
    overflow: str
    ttl_ms: int
    flags: str


class Manifest(msgspec.Struct, array_like=True, tag=11):
    """The app is loaded and the child is ready. `broker` is empty when the app names none.

    `queues` are those of the app, the default one first. `limits` has those tasks whose own options bound something;
    `signals` are the names of those with handlers, `wanted` the queues that the app wants to be bounded, `at_most_once`
    the tasks with acks_late=False, `schedules` what the app declares; None when it has no name to declare it under.
    """

    app: str
    broker: str
    queues: list[str]
    tasks: list[str]
    limits: dict[str, TaskLimits] = {}
    settings: WorkerSettings = WorkerSettings()
    signals: list[str] = []
    wanted: list[WantedQueue] = []
    at_most_once: list[str] = []
    schedules: list[Declared] | None = None


class Broken(msgspec.Struct, array_like=True, tag=12):
    """The app could not be loaded. `usage`: the command line is wrong, not the user's code."""

    message: str
    traceback: str = ""
    usage: bool = False


class Done(msgspec.Struct, array_like=True, tag=13):
    """Jobs that succeeded, as columns. `shown` holds what the log prints of each result; empty when it prints none.

    `trails` has, by their place, the few that have submitted jobs.
    """

    format: str
    tokens: list[int]
    results: list[bytes]
    started_ms: list[int]
    runtime_us: list[int]
    shown: list[str]
    trails: dict[int, Trail] = {}


class Ended(msgspec.Struct, array_like=True, tag=14):
    """One attempt that ended other than by success.

    `args` are the next attempt's arguments, empty to keep them; `shown` is what the log says after "retry: ";
    `expected`: the task's option `throws` names the exception, so the log shows no traceback. `workflow` takes the
    place of a job that is REPLACED. `trail` is what its body has submitted.
    """

    token: int
    verdict: Verdict
    failure: FailureData | None
    started_ms: int = 0
    runtime_us: int = 0
    retry_in_ms: int = 0
    args: bytes = b""
    shown: str = ""
    expected: bool = False
    workflow: bytes = b""
    trail: Trail | None = None


class Unstarted(msgspec.Struct, array_like=True, tag=15):
    """Jobs given back. `overdue`: unasked, because what runs has been running for too long."""

    tokens: list[int]
    overdue: bool = False


class Note(msgspec.Struct, array_like=True, frozen=True):
    """How far a job is. `state` is one of the task's own words, `meta` a value in `format`; empty when not given."""

    state: str
    meta: bytes
    format: str
    done: float
    total: float
    note: str
    at_ms: int


class Annotate(msgspec.Struct, array_like=True, tag=16):
    """What a running job says of itself. A checkpoint has a `number` above 0 and wants to be told by `Noted`."""

    number: int
    token: int
    note: Note | None = None
    checkpoint: bytes | None = None
    format: str = ""


class Answered(msgspec.Struct, array_like=True, tag=17):
    """The answer to an `Ask`: JSON, or what went wrong."""

    number: int
    error: str = ""
    body: bytes = b"null"


Down = Jobs | Cancel | HandBack | Stop | Noted | Failed | Ask | TimeLimits | Fire
Up = Manifest | Broken | Done | Ended | Unstarted | Annotate | Answered

encode = msgspec.msgpack.Encoder().encode
decode_down = msgspec.msgpack.Decoder(Down).decode
decode_up = msgspec.msgpack.Decoder(Up).decode
