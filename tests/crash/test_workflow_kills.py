"""Chains, groups, chords and their nestings while broker, worker or child are killed at every step of their way.

What a workflow comes to is known before it is sent. Each must come to that, or fail with the job that failed; each job
has run once, and once more for each lease that was lost.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.fixtures import closed_and_judged
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until
from tests.crash.canvas_draws import Draws
from tests.crash.failpoints import armed, kills_at
from tests.mutants.catching import catches
from tests.proof.amount import seeds

from tqbroker import AsyncResult
from tqbroker.ids import text_of
from tqbroker.v1 import admin_pb2, job_pb2
from tqbroker.v1.workflow_pb2 import WorkflowInfo, WorkflowState

WORKFLOWS = 40
"""For each place and seed."""

ENDS_THE_WORKER = ("worker_before_send_outcome", "worker_after_receive")
"""Where it is the worker that dies, not its child."""

pytestmark = [pytest.mark.crash, pytest.mark.proof("T23")]


class Sent(NamedTuple):
    """A workflow on its way: its result, its error callback, and the value it must come to (None: it fails)."""

    result: AsyncResult[int]
    callback: str
    value: int | None


@pytest.fixture
def workflows(folder: Path, counts: Counter[str], request: pytest.FixtureRequest) -> Iterator[Site]:
    """A site with the tasks of workflows."""
    yield from closed_and_judged(Site(folder, "workflows", counts), request.node)


def at_some(place: str, random: Random) -> dict[str, str]:
    return armed(place, random.randrange(2, WORKFLOWS))


def send(site: Site, random: Random) -> list[Sent]:
    draws = Draws(site.calls.app, random)
    sent = []
    for _ in range(WORKFLOWS):
        canvas, value = draws.workflow()
        callback = site.calls.app.signature("tasks.told")
        told = callback.freeze().id
        sent.append(Sent(canvas.apply_async(link_error=callback), told, value))
    return sent


@seeds(1, 3)
@kills_at(
    "before_commit",
    "after_commit",
    "before_apply",
    "after_workflow_commit",
    "after_grant",
    "before_send",
    "after_finish_commit",
    long=("before_commit", "before_apply", "after_workflow_commit", "after_grant", "before_send"),
)
def test_a_workflow_survives_the_broker_killed_at(workflows: Site, place: str, seed: int) -> None:
    assert kill_the_broker(workflows, place, seed) == []


def kill_the_broker(site: Site, place: str, seed: int, mutant: str = "") -> list[str]:
    """Everything that is not as it must be. The worker lives on, and so no lease is lost. The broker may have a bug."""
    random = Random(f"{place} {seed}")
    killed = site.broker("--max-lost-leases", "1000", mutant=mutant, **at_some(place, random))
    site.worker()
    with ThreadPoolExecutor(1) as client:
        sent = client.submit(send, site, random)
        assert killed.wait() == -signal.SIGKILL
        site.started(killed)

    return faults(site, sent.result(), lost=False)


@contextmanager
def frozen(worker: Daemon) -> Iterator[None]:
    """Its children are stopped, so that no job runs."""
    children = worker.children()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in children:
        os.kill(pid, signal.SIGCONT)


@catches("released_too_early")
def test_a_killed_broker_shows_that_workflows_come_to_something_else(workflows: Site, mutant: str) -> None:
    found = kill_the_broker(workflows, "before_commit", 1, mutant)

    assert any("STATE_SUCCEEDED" in fault or "STATE_FAILED" in fault for fault in found), found


@catches("resend_dropped")
def test_a_killed_broker_shows_that_jobs_of_workflows_run_again_for_nothing(workflows: Site, mutant: str) -> None:
    """The children wait until the broker does not listen any more: it dies with their outcomes on their way."""
    broker = workflows.broker()
    worker = workflows.worker("-l", "info", mutant=mutant)
    with frozen(worker):
        sent = send(workflows, Random(1))
        worker.expect("received")
        broker.signal(signal.SIGSTOP)
    worker.expect("succeeded")
    broker.kill()
    workflows.started(broker)

    found = faults(workflows, sent, lost=False)
    assert any(" ran 2 times" in fault for fault in found), found


@seeds(1, 3)
@kills_at(
    "worker_before_send_outcome",
    "worker_after_receive",
    "child_before_run",
    "child_after_run",
    long=("worker_after_receive", "child_after_run"),
)
def test_a_workflow_survives_the_worker_killed_at(workflows: Site, place: str, seed: int) -> None:
    random = Random(f"{place} {seed}")
    workflows.broker("--max-lost-leases", "1000", "--grace", "0.5")
    worker = workflows.worker(**at_some(place, random))
    sent = send(workflows, random)
    if place in ENDS_THE_WORKER:
        worker.wait()
        worker.start()

    assert faults(workflows, sent, lost=True) == []


def faults(site: Site, sent: list[Sent], *, lost: bool) -> list[str]:
    """Everything that is not as it must be. `lost`: whether leases may have been lost."""
    site.counts["workflows"] += len(sent)
    return [fault for each in sent for fault in _ends(site, each)] + _runs(site, lost=lost)


def _ends(site: Site, sent: Sent) -> list[str]:
    """The workflow has come to its value, or failed and told its callback, once."""
    status = site.wire.finals([sent.result.id], 60)[sent.result.id]
    callback = site.wire.finals([sent.callback], 60)[sent.callback]
    if sent.value is not None:
        good = status.state == job_pb2.STATE_SUCCEEDED and int(status.result) == sent.value
        spared = callback.state == job_pb2.STATE_CANCELLED
        return [] if good and spared else [f"{sent} ended {status} and its callback {callback}"]
    named = status.state == job_pb2.STATE_FAILED and status.failure.type in ("ValueError", "ChordError")
    told = callback.state == job_pb2.STATE_SUCCEEDED
    return [] if named and told else [f"{sent} ended {status} and its callback {callback}"]


def _runs(site: Site, *, lost: bool) -> list[str]:
    """Every workflow has come to its end, and each of its jobs has run as often as it must."""
    until(lambda: not _left(site), f"the rest of the workflows to end, of which are left: {_left(site)}", 60)
    started = site.history.read().starts.values()
    nodes = {node for each in _workflows(site) for node in _nodes(site, each.id)}
    strangers = {run.id for runs in started for run in runs} - nodes
    faults = [f"job {job} ran and is in no workflow" for job in strangers]
    for runs in started:
        for job, count in Counter(run.id for run in runs).items():
            if count > 1 and count > 1 + lost * _lost(site, job):
                faults.append(f"job {job} ran {count} times and lost {_lost(site, job)} leases")
    counts = site.wire.counts()
    staged = sum(each.left for each in _workflows(site) if each.state == WorkflowState.WORKFLOW_STATE_UPLOADING)
    if counts.queued or counts.running or counts.scheduled or counts.waiting != staged:
        faults.append(f"left behind: {counts}")
    return faults


def _left(site: Site) -> list[WorkflowInfo]:
    """Workflows with jobs that have not ended. What a killed worker has only uploaded does not count: it expires."""
    running = WorkflowState.WORKFLOW_STATE_RUNNING
    return [each for each in _workflows(site) if each.state == running]


def _lost(site: Site, job: str) -> int:
    """Leases that a job has lost, by its history: its counters begin anew when it is replaced."""
    answer = site.wire.admin.GetJob(admin_pb2.GetJobRequest(id=job), timeout=20, wait_for_ready=True)
    return sum(attempt.verdict == "lost" for attempt in answer.job.attempts)


def _nodes(site: Site, workflow: bytes) -> Iterator[str]:
    """The ids of a workflow's jobs: each body runs under one of them (I6)."""
    cursor = b""
    while True:
        request = admin_pb2.GetWorkflowRequest(id=workflow, cursor=cursor, limit=1000)
        page = site.wire.admin.GetWorkflow(request, timeout=20, wait_for_ready=True)
        yield from (text_of(node.job.uuid) for node in page.nodes)
        cursor = page.cursor
        if not cursor:
            return


def _workflows(site: Site) -> Iterator[WorkflowInfo]:
    cursor = b""
    while True:
        request = admin_pb2.ListWorkflowsRequest(cursor=cursor, limit=1000)
        page = site.wire.admin.ListWorkflows(request, timeout=20, wait_for_ready=True)
        yield from page.workflows
        cursor = page.cursor
        if not cursor:
            return
