"""kill -9 of the broker while it takes a workflow in."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.acceptance.harness.site import Site
from tests.crash.failpoints import armed, kills_at

from tqbroker.call import Batch, Head, Join, Nodes, Workflow
from tqbroker.ids import new_keys, text_of

JOBS = 50

pytestmark = [pytest.mark.crash, pytest.mark.proof("T23")]

HEAD = Head(task="tasks.mark", queue="default", priority=0, format="json")


def chain(site: Site) -> Workflow:
    """Jobs that wait for each other and are handed nothing."""
    nodes: list[Nodes] = []
    for index, key in enumerate(new_keys(JOBS)):
        batch = Batch(HEAD, [key], [b"[[%d],{}]" % index])
        nodes.append(Nodes(batch, after=index, silent=True, member_of=(index + 1,) if index < JOBS - 1 else ()))
        site.history.write("invoke", index)
    return Workflow(new_keys(1)[0], "a chain", [Join(number) for number in range(1, JOBS)], nodes)


@kills_at("before_commit", "after_workflow_commit")
def test_a_broker_killed_while_it_takes_a_workflow_in_runs_all_of_it_once_and_in_order(site: Site, place: str) -> None:
    broker = site.broker(**armed(place))
    workflow = chain(site)
    with ThreadPoolExecutor(1) as pool:
        submit = pool.submit(site.calls.app.transport.submit_workflow, workflow, 30.0)
        assert broker.wait() == -signal.SIGKILL
        site.started(broker)
        assert submit.result() == []
    ids = [text_of(nodes.batch.keys[0]) for nodes in workflow.nodes]
    for number, job in enumerate(ids):
        site.history.write("ok", number, job)

    site.worker()

    site.check(lost=0)
    starts = site.history.read().starts
    assert list(starts) == list(range(JOBS)), "they ran in another order"
    assert {len(runs) for runs in starts.values()} == {1}
