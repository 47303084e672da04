"""Whole workflows as operators see and change them on the command line, with a real broker and worker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import chain, chord, group
from tqbroker.exceptions import TaskRevokedError

USAGE, NOT_FOUND = 2, 3
NOBODY = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture
def shop(tmp_path: Any) -> Iterator[Delivery]:
    with delivery(tmp_path, "results") as place:
        place.broker()
        place.worker()
        yield place


def printed(site: Delivery, *arguments: str) -> str:
    done = site.tqbroker(*arguments)
    assert done.returncode == os.EX_OK, done.stdout + done.stderr
    return done.stdout.strip()


def data(site: Delivery, *arguments: str) -> Any:
    return json.loads(printed(site, *arguments, "--json"))


def refused(site: Delivery, code: int, *arguments: str) -> str:
    done = site.tqbroker(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_progress_is_listed_and_what_waits_is_shown(shop: Delivery) -> None:
    tasks = shop.tasks
    body = chord([tasks.waits.s(1), tasks.add.s(1, 1), tasks.mends.s(3)])(tasks.total.s())
    members = body.parent
    assert members is not None
    until(lambda: members[1].ready() and members[2].ready(), "two members to end")

    (info,) = data(shop, "workflows", "list", "--state", "running")
    assert (info["total"], info["left"], info["succeeded"], info["failed"]) == (4, 1, 1, 2)
    assert (info["first_failed"], info["state"]) == (members[2].id, "RUNNING")
    assert "3 of 4, 2 failed" in printed(shop, "workflows")
    assert data(shop, "workflows", "list", "--state", "succeeded") == []

    shown = data(shop, "workflows", "show", info["id"])
    assert [job["id"] for job in shown["jobs"]] == [*(each.id for each in members), body.id]
    assert shown["jobs"][3]["cause"] == members[2].id
    (join,) = shown["joins"]
    assert (join["group"], join["members"]) == (members.id, [each.id for each in members])
    assert shown["id"] == data(shop, "workflows", "show", body.id)["id"]
    lines = printed(shop, "workflows", "show", body.id).splitlines()
    assert f"ChordError because of {members[2].id}" in lines[-1]
    assert f"group {members.id}" in lines[-1]
    shop.open("gate")


def test_a_waiting_job_says_so_everywhere(shop: Delivery) -> None:
    tasks = shop.tasks
    last = chain(tasks.waits.s(1), tasks.add.s(2))()
    (job,) = data(shop, "jobs", "list", "--state", "waiting")

    assert (job["id"], job["phase"], job["workflow"]) == (last.id, "WAITING", last.workflow_id)
    shown = printed(shop, "jobs", "show", last.id)
    assert f"workflow   {last.workflow_id}" in shown
    assert f"root       {last.parent.id}" in shown
    (queue,) = data(shop, "queues")
    assert (queue["name"], queue["waiting"]) == ("default", 1)
    assert data(shop, "status")["queues"][0]["waiting"] == 1
    line = printed(shop, "workflows", "show", last.id).splitlines()[-1]
    assert last.id in line
    assert last.parent.id in line
    shop.open("gate")
    assert last.get(timeout=PATIENCE) == 3


def test_the_graph_goes_to_graphviz(shop: Delivery) -> None:
    tasks = shop.tasks
    last = chain(tasks.add.s(1, 1), group(tasks.add.s(1), tasks.add.s(2)), group(tasks.total.s(), tasks.total.s()))()
    last.get(timeout=PATIENCE)
    dot = printed(shop, "workflows", "show", last[0].id, "--dot")

    assert dot.startswith("digraph {")
    assert dot.count("tasks.total\\n") == 2
    assert dot.count(" -> ") == 6, "one to two, two to their group, the group to two"


def test_a_failed_workflow_is_retried_and_then_deleted(shop: Delivery) -> None:
    tasks = shop.tasks
    last = chain(tasks.mends.s(1), tasks.add.s(1), tasks.add.s(1))()
    assert isinstance(last.get(timeout=PATIENCE, propagate=False), ArithmeticError)
    shop.open("mended")

    assert printed(shop, "workflows", "retry", last.id).endswith("retried 1 job")
    assert last.get(timeout=PATIENCE) == 3
    assert printed(shop, "workflows", "delete", last.id).endswith("deleted 3 jobs")
    assert shop.app.AsyncResult(last.id).state == "UNKNOWN"
    assert data(shop, "workflows") == []


def test_a_workflow_is_cancelled_before_it_can_be_deleted(shop: Delivery) -> None:
    tasks = shop.tasks
    last = chain(tasks.waits.s(1).set(countdown=600), tasks.add.s(1))()

    assert "cancel it first" in refused(shop, 1, "workflows", "delete", last.id)
    (done,) = data(shop, "workflows", "cancel", last.id)
    assert (done["id"], done["changed"]) == (last.workflow_id, 2)
    with pytest.raises(TaskRevokedError):
        last.get(timeout=PATIENCE)
    assert [info["state"] for info in data(shop, "workflows")] == ["CANCELLED"]


def test_a_running_workflow_is_stopped_by_force(shop: Delivery) -> None:
    last = chain(shop.tasks.waits.s(1), shop.tasks.add.s(1))()
    until(lambda: last.parent.state == "STARTED", "the first part to run")
    assert printed(shop, "workflows", "cancel", last.id).endswith(
        "cancelled 2 jobs; 1 job of it still running, asked to end"
    )
    printed(shop, "workflows", "cancel", last.id, "--terminate", "--signal", "KILL")

    with pytest.raises(TaskRevokedError):
        last.get(timeout=PATIENCE)


def test_an_order_that_changes_nothing_says_why_and_does_not_exit_with_0(shop: Delivery) -> None:
    last = chain(shop.tasks.add.s(1, 1), shop.tasks.add.s(1))()
    last.get(timeout=PATIENCE)

    done = shop.tqbroker("workflows", "cancel", last.id)
    assert (done.returncode, done.stdout.strip()[38:]) == (1, "nothing of it was cancelled: it is SUCCEEDED")
    done = shop.tqbroker("workflows", "retry", last.id)
    assert done.stdout.strip().endswith("it is SUCCEEDED, and no job of it has failed by itself")
    assert done.returncode == 1
    assert json.loads(shop.tqbroker("workflows", "retry", last.id, "--json").stdout)[0]["changed"] == 0


def test_what_is_large_is_cut_and_says_so(shop: Delivery) -> None:
    results = group(shop.tasks.add.s(n, n) for n in range(30))()
    results.get(timeout=PATIENCE)
    done = shop.tqbroker("workflows", "show", results[0].id, "--limit", "10")

    assert done.stdout.count("tasks.add") == 10 + 1, "and once in the name"
    assert "20 more jobs are left out: --limit 30 shows all" in done.stderr


def test_what_cannot_be_meant_is_refused(shop: Delivery) -> None:
    assert "knows no workflow" in refused(shop, NOT_FOUND, "workflows", "show", NOBODY)
    assert "knows no workflow" in refused(shop, NOT_FOUND, "workflows", "cancel", "no-such-job")
    assert "--terminate" in refused(shop, USAGE, "workflows", "cancel", NOBODY, "--signal", "KILL")
    assert "exclude each other" in refused(shop, USAGE, "workflows", "show", NOBODY, "--dot", "--json")
    plain = shop.tasks.add.delay(1, 1)
    assert "no job of one" in refused(shop, NOT_FOUND, "workflows", "show", plain.id)
