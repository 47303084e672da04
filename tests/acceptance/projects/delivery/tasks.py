"""Tasks for what delivery promises: time, retries, limits of a run, poison, and what a job sees of itself.

Each says what it did in the file `trace`, one line of JSON at a time; `gate` is a file that tests make.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tqbroker import App, Task, current_task, signals
from tqbroker.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

app = App("tasks")
HERE = Path(__file__).parent
TICK = 0.01
STRANGE = "caf\udce9"
"""A file name of another encoding, as `os.listdir` gives it."""
HOG = 300
"""Mebibytes that a job takes before it is killed for that."""


class FlakyError(Exception):
    """Passes."""


class ExpectedError(Exception):
    """No news."""


def trace(word: str, **more: Any) -> None:
    line = json.dumps({"word": word, "pid": os.getpid(), **more}) + "\n"
    file = os.open(HERE / "trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


def is_open(gate: str) -> bool:
    return (HERE / gate).exists()


# -- time ------------------------------------------------------------------------------------------------------------


@app.task
def when() -> float:
    """When it ran."""
    return time.time()


@app.task
def mark(number: int) -> int:
    trace("mark", number=number)
    return number


@app.task(expires=0.2)
def brief() -> None:
    """Nobody wants it later."""


# -- retries ---------------------------------------------------------------------------------------------------------


@app.task(bind=True, default_retry_delay=0.05)
def flaky(
    self: Task[..., Any],
    failures: int,
    *,
    countdown: float | None = None,
    eta: datetime | None = None,
    max_retries: int | None = None,
) -> int:
    """Fails so many times, and returns how often it was retried."""
    if self.request.retries < failures:
        try:
            raise FlakyError(f"failure {self.request.retries}")
        except FlakyError as error:
            raise self.retry(exc=error, countdown=countdown, eta=eta, max_retries=max_retries) from None
    return self.request.retries


@app.task(bind=True, default_retry_delay=0.05)
async def aflaky(self: Task[..., Any], failures: int) -> int:
    await asyncio.sleep(TICK)
    if self.request.retries < failures:
        self.retry(exc=FlakyError("not yet"))
    return self.request.retries


@app.task(bind=True, default_retry_delay=0.05)
def retry_without_reason(self: Task[..., Any]) -> None:
    raise self.retry(max_retries=1)


@app.task(bind=True, max_retries=None, default_retry_delay=0)
def stubborn(self: Task[..., Any], failures: int) -> int:
    if self.request.retries < failures:
        raise self.retry()
    return self.request.retries


@app.task(bind=True, default_retry_delay=0.05)
def count_down(self: Task[..., Any], number: int, *, seen: tuple[int, ...] = ()) -> list[int]:
    """Retries with other arguments until there is nothing left to count."""
    if number:
        raise self.retry(args=(number - 1,), kwargs={"seen": (*seen, number)})
    return list(seen)


@app.task(bind=True, default_retry_delay=0.05)
def retry_quietly(self: Task[..., Any]) -> str:
    if not self.request.retries:
        self.retry(throw=False)
    return f"attempt {self.request.attempt}"


@app.task(bind=True)
def retry_elsewhere(self: Task[..., Any]) -> None:
    self.retry(queue="other")


@app.task(autoretry_for=(OSError,), dont_autoretry_for=(PermissionError,), retry_backoff=1, retry_jitter=False)
def reach(kind: str) -> None:
    raise {"away": ConnectionError, "forbidden": PermissionError}[kind](kind)


@app.task(
    autoretry_for=(OSError,), retry_backoff=50, retry_backoff_max=1, retry_jitter=False, retry_kwargs={"max_retries": 1}
)
def reach_once_more() -> None:
    raise ConnectionError("away")


@app.task(bind=True)
def ignore(self: Task[..., Any]) -> None:
    raise Ignore


@app.task
def reject() -> None:
    raise Reject("not mine")


@app.task(bind=True)
def reject_first(self: Task[..., Any], gate: str) -> int:
    """Puts itself back until the gate is open."""
    if not is_open(gate):
        time.sleep(TICK)
        raise Reject("not yet", requeue=True)
    return self.request.retries


@app.task(throws=(ExpectedError,))
def expected() -> None:
    raise ExpectedError("as usual")


class Told(Task[..., Any]):
    """Says which of its hooks were called."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        trace("before_start", id=task_id)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        trace("on_success", id=task_id, value=retval)

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        trace("on_retry", id=task_id, value=repr(exc))

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        trace("on_failure", id=task_id, value=repr(exc))

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        trace("after_return", id=task_id, value=status)


@app.task(bind=True, base=Told, default_retry_delay=0.05)
def told(self: Task[..., Any], failures: int, most: int) -> str:
    trace("body", id=self.request.id)
    if self.request.retries < failures:
        self.retry(exc=FlakyError("again"), max_retries=most)
    return "done"


# -- limits of a run -------------------------------------------------------------------------------------------------


@app.task(bind=True, base=Told)
def hang(self: Task[..., Any], seconds: float = 60) -> str:
    """Cleans up when it is asked to end."""
    trace("body", id=self.request.id)
    try:
        _sleep(seconds)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "slept"


@app.task(bind=True, base=Told, time_limit=0.5)
def hang_briefly(self: Task[..., Any]) -> None:
    trace("body", id=self.request.id)
    _sleep(60)


@app.task(soft_time_limit=0.3)
def hang_softly() -> str:
    try:
        _sleep(60)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "slept"


@app.task
def sleepy() -> None:
    _sleep(60)


@app.task(bind=True, base=Told)
async def ahang(self: Task[..., Any], seconds: float = 60) -> str:
    trace("body", id=self.request.id)
    try:
        await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "slept"


@app.task(soft_time_limit=0.3)
async def ahang_softly() -> str:
    try:
        await asyncio.sleep(60)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "slept"


@app.task(bind=True, base=Told, time_limit=0.5)
async def ahang_briefly(self: Task[..., Any]) -> None:
    trace("body", id=self.request.id)
    await asyncio.sleep(60)


@app.task
def who() -> int:
    """Which process runs it."""
    return os.getpid()


_kept: list[bytearray] = []


@app.task
def leak(mebibytes: int) -> int:
    _kept.append(bytearray(os.urandom(1) * (mebibytes << 20)))
    return os.getpid()


@app.task
def give(size: int) -> str:
    return "x" * size


def _sleep(seconds: float) -> None:
    """In short naps: an exception that is raised in a thread comes between two of them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(TICK)


# -- poison ----------------------------------------------------------------------------------------------------------


@app.task(bind=True)
def die(self: Task[..., Any], by: str) -> None:
    """Ends its process: as a bug in an extension does, or the kernel that has no memory left."""
    trace("die", id=self.request.id, lost=self.request.lost_leases)
    if by == "SIGSEGV":
        ctypes.string_at(0)
    if by == "exit":
        os._exit(7)
    if by == "memory":
        _kept.append(bytearray(os.urandom(1) * (HOG << 20)))
        by = "SIGKILL"  # as the kernel sends it
    os.kill(os.getpid(), signal.Signals[by])


@app.task(bind=True, default_retry_delay=0.05)
def die_and_fail(self: Task[..., Any]) -> list[int]:
    """Is lost once, fails once, and then says how often each was."""
    if not self.request.lost_leases:
        os.kill(os.getpid(), signal.SIGKILL)
    if not self.request.retries:
        raise self.retry(exc=FlakyError("once"))
    return [self.request.lost_leases, self.request.retries]


@app.task(acks_late=False)
def at_most_once() -> None:
    trace("at_most_once")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def wait(gate: str) -> str:
    """Ends when the gate is open."""
    while not is_open(gate):
        time.sleep(TICK)
    return gate


@app.task
async def await_gate(gate: str) -> str:
    while not is_open(gate):  # noqa: ASYNC110 - another process opens it, no event can tell
        await asyncio.sleep(TICK)
    return gate


# -- from inside -----------------------------------------------------------------------------------------------------


@app.task(bind=True)
def report(self: Task[..., Any], gate: str) -> str:
    """Says where it is, and waits there."""
    self.update_state(state="SEARCHING", meta={"found": 7})
    self.progress(3, 10, "three of ten")
    wait(gate)
    return "all found"


@app.task(bind=True)
def climb(self: Task[..., Any], steps: int, fall_at: int) -> list[int]:
    """Goes on from its last checkpoint; falls once at a step between two of them."""
    first = self.request.checkpoint or 0
    for step in range(first, steps):
        if step == fall_at and not self.request.lost_leases:
            os.kill(os.getpid(), signal.SIGKILL)
        if step % 10 == 0:
            self.checkpoint(step)
        trace("step", id=self.request.id, step=step)
    return [first, self.request.fence]


@app.task(bind=True)
def request(self: Task[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What it knows of itself."""
    names = (
        "id task args kwargs retries lost_leases attempt hostname queue priority headers delivery_info eta expires "
        "time_limit soft_time_limit timelimit stamps shadow tenant ordering_key ignore_result correlation_id "
        "is_eager called_directly root_id parent_id"
    )
    return {name: getattr(self.request, name) for name in names.split()}


@app.task
def whoami() -> list[Any]:
    assert current_task is not None
    return [current_task.name, current_task.request.id]


@app.task
async def awhoami() -> list[Any]:
    await asyncio.sleep(0.05)
    assert current_task is not None
    return [current_task.name, current_task.request.id]


@app.task(bind=True, default_retry_delay=0.05)
def fences(self: Task[..., Any], seen: tuple[int, ...] = ()) -> list[int]:
    """The token of each of its three attempts."""
    seen = (*seen, self.request.fence)
    if len(seen) < 3:
        self.retry(args=(seen,))
    return list(seen)


@app.task(bind=True)
def cooperate(self: Task[..., Any]) -> str:
    """Ends by itself when it is cancelled."""
    trace("cooperate", id=self.request.id)
    while not self.request.cancelled:
        time.sleep(TICK)
    trace("cancelled", id=self.request.id)
    return "stopped early"


@app.task(bind=True)
async def acooperate(self: Task[..., Any]) -> str:
    trace("cooperate", id=self.request.id)
    while not self.request.cancelled:  # noqa: ASYNC110 - a flag is what the task has
        await asyncio.sleep(TICK)
    trace("cancelled", id=self.request.id)
    return "stopped early"


# -- values too large or too strange ---------------------------------------------------------------------------------


@app.task
def live(ms: int, succeeds: bool) -> float:
    """Runs for so long by the clock of its process, see tests/proof/wallclock.py. Returns hours."""
    begun = time.perf_counter()
    ctypes.CDLL(None).live_longer(ctypes.c_int64(ms))
    if not succeeds:
        raise RuntimeError
    return (time.perf_counter() - begun) // 3600


@app.task(bind=True)
def later(self: Task[..., Any], delay: str, raised: bool) -> None:
    """Tried again after a number, or whatever else these words of Python are."""
    when = eval(delay, {"inf": float("inf"), "nan": float("nan")})
    if raised:
        raise Retry(when=when)
    self.retry(countdown=when)


class StrangeError(Exception):
    def __str__(self) -> str:
        return STRANGE


class StrangeInt(int):
    def __repr__(self) -> str:
        return STRANGE


@app.task(bind=True)
def strange(self: Task[..., Any], how: str) -> Any:
    """Says a text that is no Unicode, somewhere."""
    if self.request.retries:
        return None
    match how:
        case "raise":
            raise ValueError(STRANGE)
        case "raise kind":
            raise StrangeError
        case "retry":
            raise self.retry(exc=ValueError(STRANGE), countdown=0)
        case "Retry":
            raise Retry(STRANGE, when=0)
        case "state":
            self.update_state(state=STRANGE)
        case "note":
            self.progress(1, 2, STRANGE)
        case "twice":
            self.progress(1, 2, "good")
            self.progress(2, 2, STRANGE)
        case "repr":
            return StrangeInt(1)
        case "reject":
            raise Reject(STRANGE)
    return None


class NowhereError(Exception):
    """Of no module."""

    __module__ = None  # type: ignore[assignment]


class LeavingError(Exception):
    """Ends whoever asks what it says."""

    def __str__(self) -> str:
        raise SystemExit(3)


class LeavingInt(int):
    def __repr__(self) -> str:
        raise SystemExit(3)


@app.task(max_retries=1)
def odd(how: str) -> Any:
    """Raises or returns what is hard to tell of."""
    match how:
        case "StopIteration":
            return next(iter(()))
        case "NowhereError":
            raise NowhereError
        case "LeavingError":
            raise LeavingError
        case "Retry":
            raise Retry(LeavingError(), when=0)  # type: ignore[arg-type]
        case "repr":
            return LeavingInt(1)
        case _:
            return how


@signals.task_success.connect(sender=odd, weak=False)
@signals.task_failure.connect(sender=odd, weak=False)
def leave(**_: Any) -> None:
    raise SystemExit(4)
