"""Everything tqbroker raises, and what a task may raise to say how its job goes on.

TqbrokerError
├── ImproperlyConfigured            a setting, URL, option or app cannot be used; the message says what to write
├── SecurityError                   what came cannot be trusted
├── CodecError
│   ├── EncodeError (TypeError)     a value cannot be sent
│   └── DecodeError (ValueError)    bytes cannot be read back
├── OperationalError                the broker did not do it, or did not say so
│   ├── BatchError                  the same for many calls: which are stored, rejected, unknown
│   ├── QueueFull                   the queue has as many waiting jobs as it may have
│   └── LeaseLostError              this attempt does not count any more: another worker may have the job
├── NotUniqueError                  another job holds the unique key; .holder is its result
├── BackendError
│   ├── BackendGetMetaError         for code that catches Celery's; a result cannot be read
│   └── BackendStoreError           likewise; a result cannot be stored
├── ResultNotFound (LookupError)    there is nothing to get
│   └── UnknownJob                  the broker has never seen this id
├── TaskPredicate                   raised by a task, no error of it
│   ├── Retry                       run again later
│   ├── Ignore                      done, nothing to keep
│   │   └── Replaced                a workflow goes on in place of the job
│   └── Reject                      FAILED, or back to the queue
└── TaskError                       something about a task, or how a job ended other than by success
    ├── NotRegistered (KeyError)    no task of this name in the app
    ├── AlreadyRegistered           two functions under one task name
    ├── QueueNotFound (KeyError)    no queue of this name is configured
    ├── InvalidTaskError            what came is no job
    ├── TimeoutError (TimeoutError) the job has not ended in the time given; it goes on
    ├── MaxRetriesExceededError     it was tried again as often as it may be
    ├── TaskRevokedError            cancelled, or expired before it started
    ├── SoftTimeLimitExceeded       raised in the task once its soft time limit is over
    ├── TimeLimitExceeded           it was stopped by its hard time limit
    ├── WorkerLostError             its workers died too often
    ├── Terminated                  its worker was told to stop it by force
    ├── ChordError                  a part of the chord failed
    ├── IncompleteStream            a result ended early
    ├── ResultTooLarge              it returned more than the broker keeps
    ├── InputsTooLarge              what it waited for returned more than it may be handed
    ├── DamagedRecord               the broker cannot read it any more
    └── RemoteError                 it raised an exception whose class is not loaded here
SystemExit
├── WorkerShutdown                  ends a worker after what runs
└── WorkerTerminate                 ends a worker at once
"""

from __future__ import annotations

from tqbroker.exceptions.answers import (
    BackendError,
    BackendGetMetaError,
    BackendStoreError,
    BatchError,
    LeaseLostError,
    NotUniqueError,
    OperationalError,
    QueueFull,
    ResultNotFound,
    UnknownJob,
)
from tqbroker.exceptions.base import (
    CodecError,
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
    SecurityError,
    TqbrokerError,
)
from tqbroker.exceptions.endings import (
    AlreadyRegistered,
    ChordError,
    DamagedRecord,
    IncompleteStream,
    InputsTooLarge,
    InvalidTaskError,
    MaxRetriesExceededError,
    NotRegistered,
    QueueNotFound,
    RemoteError,
    RemoteTraceback,
    ResultTooLarge,
    SoftTimeLimitExceeded,
    TaskError,
    TaskRevokedError,
    Terminated,
    TimeLimitExceeded,
    TimeoutError,  # noqa: A004 - ours is a builtin TimeoutError too
    WorkerLostError,
    WorkerShutdown,
    WorkerTerminate,
)
from tqbroker.exceptions.predicates import (
    Ignore,
    Reject,
    Replaced,
    Retry,
    TaskPredicate,
)

__all__ = [
    "AlreadyRegistered",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "BatchError",
    "ChordError",
    "CodecError",
    "DamagedRecord",
    "DecodeError",
    "EncodeError",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InputsTooLarge",
    "InvalidTaskError",
    "LeaseLostError",
    "MaxRetriesExceededError",
    "NotRegistered",
    "NotUniqueError",
    "OperationalError",
    "QueueFull",
    "QueueNotFound",
    "Reject",
    "RemoteError",
    "RemoteTraceback",
    "Replaced",
    "ResultNotFound",
    "ResultTooLarge",
    "Retry",
    "SecurityError",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "TqbrokerError",
    "UnknownJob",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
]

for _name in __all__:  # where users import them from, and how the wire names them
    globals()[_name].__module__ = __name__
