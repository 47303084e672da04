"""Workflows over the wire: in parts, in order, each sent again until it is confirmed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tqbroker import App
from tqbroker.call import Batch, Head, Join, Nodes, Workflow
from tqbroker.exceptions import OperationalError
from tqbroker.ids import new_key, new_keys, text_of
from tqbroker.transport import InputsInfo, Refused

HEAD = Head("t", "default", 0, "json")


def workflow(*sizes: int, key: bytes | None = None) -> Workflow:
    """A group for each size, with one job behind all of them."""
    joins = [Join(number + 1, shape="list", id=new_key()) for number in range(len(sizes))]
    nodes = [
        Nodes(Batch(HEAD, list(new_keys(size)), [b"[[],{}]"] * size), member_of=(number + 1,))
        for number, size in enumerate(sizes)
    ]
    nodes.append(Nodes(Batch(HEAD, list(new_keys(1)), [b"[[],{}]"]), after=1))
    return Workflow(key or new_key(), "a workflow", joins, nodes)


def test_a_large_workflow_goes_in_parts_whose_last_says_so(wire: Any, app: App) -> None:
    sent = workflow(3, 12_000, 2)

    assert app.transport.submit_workflow(sent, 5) == []
    assert [part.part for part in wire.parts] == list(range(len(wire.parts)))
    assert [part.last for part in wire.parts] == [False] * (len(wire.parts) - 1) + [True]
    assert {part.workflow for part in wire.parts} == {sent.id}
    assert [part.name for part in wire.parts if part.name] == ["a workflow"]
    assert [join.number for part in wire.parts for join in part.joins] == [1, 2, 3]
    assert len(wire.jobs) == 12_006


@pytest.mark.parametrize("fault", ["lose", "drop", "BUSY", "STORE_FULL"])
def test_a_part_without_an_answer_or_refused_for_the_moment_is_sent_again(wire: Any, app: App, fault: str) -> None:
    faults = ["", fault, fault]
    wire.part_fault = lambda part: faults.pop() if faults else ""

    assert app.transport.submit_workflow(workflow(2), 5) == []
    assert [part.part for part in wire.parts] == [0, 0, 0]
    assert len(wire.jobs) == 3


async def test_the_same_in_asyncio(wire: Any, app: App) -> None:
    faults = ["", "lose", "BUSY"]
    wire.part_fault = lambda part: faults.pop() if faults else ""

    assert await app.async_transport.submit_workflow(workflow(2, 7000), 5) == []
    assert len(wire.jobs) == 7003
    wire.part_fault = lambda part: "ID_CONFLICT"
    sent = workflow(1)
    [refused] = await app.async_transport.submit_workflow(sent, 5)
    assert (refused.key, refused.reason) == (sent.nodes[0].batch.keys[0], "ID_CONFLICT")
    wire.part_fault = lambda part: "BUSY"
    wire.retry_after_ms = 5000  # so that the first answer is the last
    with pytest.raises(OperationalError) as caught:
        await app.async_transport.submit_workflow(sent, 5)
    assert (caught.value.reason, caught.value.outcome) == ("BUSY", "rejected")
    await app.aclose()


def test_a_job_that_cannot_be_stored_is_named_and_nothing_more_is_sent(wire: Any, app: App) -> None:
    wire.part_fault = lambda part: "" if part.part == 0 else "ID_CONFLICT"
    sent = workflow(5000, 5000, 5000)
    refused = app.transport.submit_workflow(sent, 5)

    assert refused == [Refused(sent.nodes[1].batch.keys[0], "ID_CONFLICT", "refused for ID_CONFLICT", False, "")]
    assert len(wire.parts) == 2


def test_when_only_the_last_part_has_no_answer_all_may_be_stored(wire: Any, app: App) -> None:
    wire.part_fault = lambda part: "drop" if part.last else ""
    sent = workflow(6000)
    with pytest.raises(OperationalError, match="is perhaps stored") as caught:
        app.transport.submit_workflow(sent, 0.5)

    assert caught.value.outcome == "unknown"
    assert caught.value.task_ids == [text_of(key) for nodes in sent.nodes for key in nodes.batch.keys]
    wire.part_fault = lambda part: "" if part.last else "drop"
    with pytest.raises(OperationalError, match="nothing of it is stored") as caught:
        app.transport.submit_workflow(workflow(6000), 0.5)
    assert caught.value.outcome == "rejected"


def test_without_a_broker_nothing_is_stored_and_the_error_comes_in_time(wire: Any, app: App) -> None:
    wire.stop()
    start = time.monotonic()
    with pytest.raises(OperationalError, match="no broker answered") as caught:
        app.transport.submit_workflow(workflow(1), 0.3)

    assert (caught.value.outcome, caught.value.reason) == ("rejected", "UNREACHABLE")
    assert time.monotonic() - start < 3


def test_inputs_come_a_page_at_a_time(wire: Any, app: App) -> None:
    assert app.transport.inputs("x", 0, 5) == InputsInfo([b"0", b"1"], ["json"], 3)
    assert app.transport.inputs("x", 2, 5) == InputsInfo([b"2"], ["json"], 3)
