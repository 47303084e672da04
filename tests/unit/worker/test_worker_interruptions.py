"""Soft limits, hard limits and forced ends reach the job they are meant for, and never the one after it."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tqbroker import App
from tqbroker.codec import encode_call
from tqbroker.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded
from tqbroker.signals import task_prerun
from tqbroker_worker.coroutines import Running
from tqbroker_worker.delivery import Job, Success
from tqbroker_worker.execute import Executor
from tqbroker_worker.guard import Guard
from tqbroker_worker.jobs import Head, Traits
from tqbroker_worker.limits import Bounds, TimeLimits
from tqbroker_worker.protocol import Ended, Verdict
from tqbroker_worker.slots import MainSlot, Slot, Slots

SECONDS = 10.0
JOBS, STRUCK = 4000, 10
"""Jobs that are run while another thread interrupts them, and how many of them it must have struck at least."""

app = App("tasks", broker="tq://localhost")
started = threading.Event()
wait_here = threading.Event()
cleaned: list[str] = []


anywhere = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""An interruption may come while a destructor runs, from where Python lets no exception out."""


def job(task: str, *args: Any, token: int = 7, soft: int = 0, hard: int = 0) -> Job:
    traits = Traits(soft_limit_ms=soft, hard_limit_ms=hard) if soft or hard else None
    return Job(Head(task, "default", 0, "json", traits=traits), bytes(16), token, encode_call(args, {}), 0, 0)


def tokens(struck: set[int]) -> Iterator[int]:
    """Tokens of JOBS jobs, and of more until STRUCK were struck: a busy machine may keep a thread away for long."""
    until = time.monotonic() + SECONDS
    for token in count(1):
        if token > JOBS and (len(struck) >= STRUCK or time.monotonic() > until):
            return
        yield token


def spin_until(happened: threading.Event) -> None:
    """Runs bytecode until then, as a busy task does."""
    until = time.monotonic() + SECONDS
    while not happened.is_set():
        assert time.monotonic() < until


@app.task(name="busy")
def busy() -> str:
    started.set()
    spin_until(wait_here)
    return "done"


@app.task(name="careful")
def careful() -> str:
    started.set()
    try:
        spin_until(wait_here)
    except SoftTimeLimitExceeded:
        cleaned.append("careful")
        return "cleaned"
    return "done"


@app.task(name="asleep")
def asleep() -> None:
    started.set()
    time.sleep(SECONDS)  # in the system, where only a signal reaches


@app.task(name="short")
def short(x: int) -> int:
    return x


@app.task(name="awaits")
async def awaits() -> str:
    started.set()
    try:
        await asyncio.Event().wait()
    except SoftTimeLimitExceeded:
        return "cleaned"
    return "done"


@app.task(name="deaf")
async def deaf() -> None:
    started.set()
    while not wait_here.is_set():
        try:
            await asyncio.sleep(0.005)
        except BaseException:
            cleaned.append("deaf")


@app.task(name="bounded", soft_time_limit=3, time_limit=4.5)
def bounded() -> None: ...


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    started.clear()
    wait_here.clear()
    cleaned.clear()
    yield
    wait_here.set()


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns after some bytecodes, so that each meets the other everywhere."""
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(former)


@pytest.fixture
def executor() -> Executor:
    return Executor(app, "worker@here", show=True)


class InThread:
    """A job in a thread with a slot."""

    def __init__(self, executor: Executor, job: Job) -> None:
        self.outcome: Success | Ended | None = None
        self.slot: Slot | None = None
        self._executor, self._job = executor, job
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert started.wait(SECONDS)

    def _run(self) -> None:
        self.slot = self._executor.slots.add(Slot())
        self.outcome = self._executor.run(self._job, self.slot)
        self._executor.close()

    def end(self) -> Success | Ended | None:
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        return self.outcome


def failed_with(outcome: Success | Ended | None) -> str:
    assert isinstance(outcome, Ended)
    assert outcome.failure is not None
    return outcome.failure.type


def test_a_soft_limit_is_raised_in_a_busy_thread_where_the_task_can_clean_up(executor: Executor) -> None:
    running = InThread(executor, job("careful", soft=50))
    executor.slots.tick(time.monotonic() + 0.01)
    assert cleaned == []
    executor.slots.tick(time.monotonic() + 1)
    outcome = running.end()
    assert isinstance(outcome, Success)
    assert outcome.shown == "'cleaned'"


def test_a_task_that_lets_its_soft_limit_pass_has_failed_with_it(executor: Executor) -> None:
    running = InThread(executor, job("busy", soft=50))
    executor.slots.tick(time.monotonic() + 1)
    assert failed_with(running.end()) == "SoftTimeLimitExceeded"


def test_over_its_hard_limit_a_thread_is_left_behind_and_its_outcome_is_nobodys(executor: Executor) -> None:
    late: list[tuple[Any, Job, Any]] = []
    executor.slots.on_hard = lambda slot, job, request: late.append((slot, job, request))
    running = InThread(executor, job("busy", hard=50))
    executor.slots.tick(time.monotonic() + 1)
    (slot, known, request) = late[0]
    assert (slot.abandoned, known.token) == (True, 7)
    ended = executor.endings.timed_out(known, request, slot.hard_ms)
    assert (failed_with(ended), ended.verdict) == ("TimeLimitExceeded", Verdict.FAILED)
    assert ended.runtime_us >= 50_000
    assert running.end() is None


def test_a_job_stopped_by_force_in_a_thread_ends_cancelled(executor: Executor) -> None:
    running = InThread(executor, job("busy"))
    executor.slots.cancel([7], force=True, number="")
    outcome = running.end()
    assert isinstance(outcome, Ended)
    assert outcome.verdict is Verdict.CANCELLED


def test_a_job_that_is_cancelled_without_force_goes_on_and_knows(executor: Executor) -> None:
    running = InThread(executor, job("busy"))
    executor.slots.cancel([7], force=False, number="")
    assert running.slot is not None
    assert running.slot.request is not None
    assert running.slot.request.cancelled
    wait_here.set()
    assert isinstance(running.end(), Success)


def test_a_cancel_that_comes_before_its_job_is_decoded_is_not_lost(executor: Executor) -> None:
    executor.slots.cancel([7], force=True, number="")
    outcome = executor.run(job("busy"), executor.slots.add(Slot()))
    assert isinstance(outcome, Ended)
    assert outcome.verdict is Verdict.CANCELLED
    assert not started.is_set()


@anywhere
@pytest.mark.usefixtures("restless")
def test_an_interruption_never_reaches_the_next_job_of_a_thread(executor: Executor) -> None:
    """One thread interrupts job after job at moments of its own; each may fail alone by what was meant for it."""
    struck: set[int] = set()
    failed: set[int] = set()
    slot_there, over = threading.Event(), threading.Event()
    slots: list[Slot] = []

    def work() -> None:
        slots.append(Slot())
        slot_there.set()
        for token in tokens(struck):
            outcome = executor.run(job("short", token, token=token), slots[0])
            if isinstance(outcome, Ended):
                failed.add(token)
        over.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert slot_there.wait(SECONDS)
    while not over.is_set():
        current = slots[0].job
        if current is not None and slots[0].interrupt(current.token, SoftTimeLimitExceeded):
            struck.add(current.token)
    thread.join(SECONDS)
    assert len(struck) >= STRUCK
    assert failed <= struck


@anywhere
@pytest.mark.usefixtures("restless")
def test_an_interruption_by_signal_never_reaches_the_next_job_of_the_main_thread(executor: Executor) -> None:
    former = signal.getsignal(MainSlot.NUMBER)
    slot = MainSlot()
    slot.listen()
    struck: set[int] = set()
    over = threading.Event()

    def interrupt() -> None:
        while not over.is_set():
            current = slot.job
            if current is not None and slot.interrupt(current.token, SoftTimeLimitExceeded):
                struck.add(current.token)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        outcomes = {token: executor.run(job("short", token, token=token), slot) for token in tokens(struck)}
    finally:
        over.set()
        thread.join(SECONDS)
        signal.signal(MainSlot.NUMBER, former)
    assert len(struck) >= STRUCK
    assert {token for token, outcome in outcomes.items() if isinstance(outcome, Ended)} <= struck


def test_a_soft_limit_wakes_a_main_thread_that_waits_for_the_system(executor: Executor) -> None:
    former = signal.getsignal(MainSlot.NUMBER)
    slot = executor.slots.add(MainSlot())
    assert isinstance(slot, MainSlot)
    slot.listen()

    over = threading.Event()

    def tick() -> None:
        assert started.wait(SECONDS)
        while not over.wait(0.01):
            executor.slots.tick(time.monotonic() + 1)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        before = time.monotonic()
        assert failed_with(executor.run(job("asleep", soft=50), slot)) == "SoftTimeLimitExceeded"
        assert time.monotonic() - before < SECONDS / 2
    finally:
        over.set()
        thread.join(SECONDS)
        signal.signal(MainSlot.NUMBER, former)


def test_a_job_in_the_main_thread_is_stopped_by_force_only_while_it_runs() -> None:
    died: list[str] = []
    slots = Slots(died.append)
    slot = slots.add(MainSlot())
    executor = Executor(app, "w", show=False, slots=slots)

    def cancel(**_: Any) -> None:
        slots.cancel([1, 3], force=True, number="SIGTERM")

    task_prerun.connect(cancel)
    executor.run(job("short", 5, token=1), slot)
    task_prerun.disconnect(cancel)
    assert died == ["SIGTERM"]
    executor.run(job("short", 5, token=2), slot)
    slots.cancel([1, 2], force=True, number="SIGTERM")
    assert died == ["SIGTERM"]


def test_a_signal_that_nobody_sent_for_a_job_reaches_no_job(executor: Executor) -> None:
    former = signal.getsignal(MainSlot.NUMBER)
    slot = MainSlot()
    slot.listen()

    def kill(**_: Any) -> None:
        signal.raise_signal(MainSlot.NUMBER)

    task_prerun.connect(kill)
    try:
        assert isinstance(executor.run(job("short", 1), slot), Success)
    finally:
        task_prerun.disconnect(kill)
        signal.signal(MainSlot.NUMBER, former)


def test_a_coroutine_in_a_thread_gets_its_soft_limit_where_it_waits(executor: Executor) -> None:
    running = InThread(executor, job("awaits", soft=50))
    executor.slots.tick(time.monotonic() + 1)
    outcome = running.end()
    assert isinstance(outcome, Success)
    assert outcome.shown == "'cleaned'"


def start(executor: Executor, job: Job) -> Running:
    running = Running(executor, job, lambda _running: None)
    running.task = asyncio.create_task(running.run())
    return running


async def end(running: Running) -> Success | Ended | None:
    assert running.task is not None
    return await asyncio.wait_for(running.task, SECONDS)


async def test_in_a_loop_a_soft_limit_is_raised_inside_of_the_coroutine(executor: Executor) -> None:
    outcome = await end(start(executor, job("awaits", soft=20)))
    assert isinstance(outcome, Success)
    assert outcome.shown == "'cleaned'"


async def test_in_a_loop_a_plain_function_gets_its_soft_limit_in_its_thread(executor: Executor) -> None:
    outcome = await end(start(executor, job("careful", soft=50)))
    assert isinstance(outcome, Success)
    assert cleaned == ["careful"]


async def test_in_a_loop_a_plain_function_is_stopped_by_force_in_its_thread(executor: Executor) -> None:
    running = start(executor, job("busy"))
    assert await asyncio.to_thread(started.wait, SECONDS)
    running.cancel(force=True)
    outcome = await end(running)
    assert isinstance(outcome, Ended)
    assert outcome.verdict is Verdict.CANCELLED


async def test_in_a_loop_a_job_over_its_hard_limit_is_told_and_abandoned(executor: Executor) -> None:
    over = asyncio.Event()
    running = Running(executor, job("deaf", hard=20), lambda _running: over.set())
    running.task = asyncio.create_task(running.run())
    await asyncio.wait_for(over.wait(), SECONDS)
    assert running.hard_ms == 20
    wait_here.set()  # the body swallows what is raised in it, and ends by itself
    assert await end(running) is None
    assert cleaned == ["deaf"]


async def test_a_guard_raises_at_the_first_step_of_a_coroutine_that_has_not_begun() -> None:
    async def body() -> None:
        raise AssertionError("not reached")

    guard = Guard(body(), asyncio.get_running_loop())
    guard.strike(TimeLimitExceeded)
    with pytest.raises(TimeLimitExceeded):
        await guard


async def test_a_guard_passes_on_values_errors_and_other_cancellations() -> None:
    async def body() -> str:
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="inner"):
            await failing()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cancelled"
        return "never"

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("inner")

    guard = Guard(body(), asyncio.get_running_loop())
    task = asyncio.create_task(guard.run())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    assert await task == "cancelled"
    guard.strike(TaskRevokedError)


def test_limits_are_those_of_the_call_the_order_at_run_time_the_task_and_the_worker() -> None:
    limits = TimeLimits(app.tasks, Bounds(9000, 0))
    assert limits.of(job("bounded").head) == (3000, 4500)
    assert limits.of(job("short").head) == (9000, 0)
    assert limits.of(job("bounded", soft=1).head) == (1, 4500)
    limits.set("bounded", 0, 70)
    assert limits.of(job("bounded").head) == (0, 70)
