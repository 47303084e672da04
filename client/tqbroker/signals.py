"""Signals: functions that are called when something happens in a client or a worker, under Celery's names.

    @task_failure.connect(sender=add)
    def tell(sender, task_id, exception, **_): ...

Receivers get `sender`, `signal` and what the signal has, all by name. One that raises is logged and changes nothing.
Signals cost nothing while nobody is connected.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar, overload
from weakref import WeakMethod, ref

Receiver = TypeVar("Receiver", bound=Callable[..., Any])

_lock = threading.RLock()
changes = 0
"""Rises with every connect and disconnect, so that what was derived from receivers can be kept until then."""


class _Connection(NamedTuple):
    key: tuple[Hashable, Hashable]
    sender: Hashable
    get: Callable[[], Callable[..., Any] | None]


class Signal:
    """One thing that happens. `receivers` are its connections: empty when nobody listens."""

    harmless: type[BaseException] = Exception
    """What a receiver may raise without effect."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.receivers: list[_Connection] = []
        ALL[name] = self

    @overload
    def connect(self, fn: Receiver, /, sender: Any = None, weak: bool = True, dispatch_uid: Any = None) -> Receiver: ...
    @overload
    def connect(
        self, /, *, sender: Any = None, weak: bool = True, dispatch_uid: Any = None
    ) -> Callable[[Receiver], Receiver]: ...

    def connect(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
    ) -> Any:
        """Calls `fn(sender=..., signal=..., **what the signal has)` from now on; also a decorator.

        `sender`: only for this one, a task or its name. With `weak` (the default) a function that nobody else refers to
        is forgotten. Connecting the same function, or the same `dispatch_uid`, a second time has no effect.
        """
        if fn is None:
            return lambda function: self.connect(function, sender=sender, weak=weak, dispatch_uid=dispatch_uid)
        if not callable(fn):
            raise TypeError(f"{self.name}.connect takes a function, not {fn!r}; write sender= and the others by name")
        of = _identity(sender)
        connection = _Connection((_uid(fn, dispatch_uid), of), of, self._hold(fn, weak))
        with _lock:
            if all(known.key != connection.key for known in self._alive()):
                self._replace([*self._alive(), connection])
        return fn

    def disconnect(
        self, fn: Callable[..., Any] | None = None, sender: Any = None, weak: bool = True, dispatch_uid: Any = None
    ) -> bool:
        """Undoes a `connect` with the same arguments; whether there was one."""
        key = (_uid(fn, dispatch_uid), _identity(sender))
        with _lock:
            kept = [known for known in self._alive() if known.key != key]
            found = len(kept) < len(self.receivers)
            self._replace(kept)
        return found

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether anybody would be called for this sender."""
        return bool(self._listeners(sender))

    def send(self, sender: Any = None, **named: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Calls the receivers in the order they were connected: each with what it returned or raised."""
        return [(fn, self._call(fn, sender, named)) for fn in self._listeners(sender)] if self.receivers else []

    send_robust = send

    def _hold(self, fn: Callable[..., Any], weak: bool) -> Callable[[], Callable[..., Any] | None]:
        return _reference(fn, weak)

    def _call(self, fn: Callable[..., Any], sender: Any, named: dict[str, Any]) -> Any:
        try:
            return fn(signal=self, sender=sender, **named)
        except self.harmless as error:
            import logging

            logging.getLogger("tqbroker.signals").exception("receiver %r of signal %s raised", fn, self.name)
            return error

    def _listeners(self, sender: Any) -> list[Callable[..., Any]]:
        of = _identity(sender)
        fitting = (known.get() for known in self.receivers if known.sender is None or known.sender == of)
        return [fn for fn in fitting if fn is not None]

    def _alive(self) -> list[_Connection]:
        return [known for known in self.receivers if known.get() is not None]

    def _replace(self, receivers: list[_Connection]) -> None:
        """A new list: whoever is calling the receivers goes on with the old one."""
        global changes
        self.receivers = receivers
        changes += 1

    def __repr__(self) -> str:
        return f"<Signal: {self.name}>"


class ServingSignal(Signal):
    """One that is sent where jobs run: not even SystemExit of a receiver ends that worker, or fails the job."""

    harmless = BaseException


def connected() -> list[str]:
    """Names of the signals that have receivers."""
    return sorted(name for name, signal in ALL.items() if signal.receivers)


def _identity(sender: Any) -> Hashable:
    """A task and its name are the same sender."""
    if sender is None or isinstance(sender, str):
        return sender
    name = getattr(sender, "name", None)
    return name if isinstance(name, str) and hasattr(sender, "apply_async") else id(sender)


def _uid(fn: Callable[..., Any] | None, dispatch_uid: Any) -> Hashable:
    if dispatch_uid is not None:
        return ("uid", dispatch_uid)
    return (id(getattr(fn, "__self__", None)), id(getattr(fn, "__func__", fn)))


def _reference(fn: Callable[..., Any], weak: bool) -> Callable[[], Callable[..., Any] | None]:
    if not weak:
        return lambda: fn
    return WeakMethod(fn) if hasattr(fn, "__self__") and hasattr(fn, "__func__") else ref(fn)


ALL: dict[str, Signal] = {}
"""Every signal by its name."""

# In the process that submits. `sender` is the task's name.
before_task_publish = Signal("before_task_publish")
after_task_publish = Signal("after_task_publish")

# Around a job, in the process that runs it. `sender` is the task.
task_prerun = ServingSignal("task_prerun")
task_postrun = ServingSignal("task_postrun")
task_success = ServingSignal("task_success")
task_retry = ServingSignal("task_retry")
task_failure = ServingSignal("task_failure")
task_internal_error = ServingSignal("task_internal_error")
task_revoked = ServingSignal("task_revoked")

# What the worker decides about a job, with values instead of objects: it happens in another process.
task_received = ServingSignal("task_received")
task_rejected = ServingSignal("task_rejected")
task_unknown = ServingSignal("task_unknown")

# The life of a worker and of its children.
import_modules = Signal("import_modules")
celeryd_init = Signal("celeryd_init")
celeryd_after_setup = Signal("celeryd_after_setup")
worker_init = Signal("worker_init")
worker_before_create_process = Signal("worker_before_create_process")
worker_process_init = Signal("worker_process_init")
worker_process_shutdown = Signal("worker_process_shutdown")
worker_ready = ServingSignal("worker_ready")
heartbeat_sent = ServingSignal("heartbeat_sent")
worker_shutting_down = ServingSignal("worker_shutting_down")
worker_shutdown = ServingSignal("worker_shutdown")

# Logging of the processes that run jobs.
setup_logging = Signal("setup_logging")
after_setup_logger = Signal("after_setup_logger")
after_setup_task_logger = Signal("after_setup_task_logger")

# Schedules and the command line.
beat_init = Signal("beat_init")
beat_embedded_init = Signal("beat_embedded_init")
user_preload_options = Signal("user_preload_options")
