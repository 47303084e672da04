"""Workflows of a simulated world: random graphs, sent over the wire, and what must be true of them at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from tests.crash.workflow_graphs import Graph, GraphNode, draw
from tests.proof.simulation import bodies
from tests.proof.simulation.record import Run

from tqbroker.ids import text_of
from tqbroker.v1 import job_pb2, workflow_pb2
from tqbroker_broker.answers import Job
from tqbroker_broker.records import State
from tqbroker_broker.workflows import On

ENDS = {"ok": ("ok",), "fail": ("fail",), "retry": ("retry", "ok"), "put back": ("requeue", "ok"), "replace": ("ok",)}
BAD = (State.FAILED, State.EXPIRED)


@dataclass
class Flow:
    """A workflow that was submitted; `nodes` are its jobs by the text of their ids."""

    graph: Graph
    nodes: dict[str, GraphNode]
    seconds: float

    @property
    def id(self) -> bytes:
        return self.graph.id

    def part(self) -> workflow_pb2.WorkflowPart:
        """All of it, as one message."""
        joins = [
            workflow_pb2.Join(number=join.number, on=int(join.on), shape=int(join.shape), id=join.id)  # type: ignore[arg-type]
            for join in self.graph.joins
        ]
        nodes = [self._node(node) for node in self.graph.nodes]
        return workflow_pb2.WorkflowPart(workflow=self.id, last=True, name="drawn", joins=joins, nodes=nodes)

    def _node(self, node: GraphNode) -> workflow_pb2.NodeBatch:
        body = bodies.Body(ENDS[node.fate], self.seconds)
        jobs = job_pb2.JobBatch(
            task="quick", queue="a", format="json", ids=job_pb2.Ids(uuids=node.id), args=[body.args()]
        )
        return workflow_pb2.NodeBatch(jobs=jobs, after=node.after, silent=node.silent, member_of=node.member_of)


def draw_flow(rng: Random, stretch: float) -> Flow:
    """A graph under an id that no other has. Its jobs take so many times longer."""
    graph = draw(rng, rng.randbytes(8).hex())
    return Flow(graph, {text_of(node.id): node for node in graph.nodes}, rng.choice((0.01, 0.5, 5.0)) * stretch)


def faults(flow: Flow, ends: Mapping[str, Job], runs: Mapping[str, list[Run]]) -> list[str]:
    """What is wrong with a workflow whose jobs have all ended: each is judged by the ends of those it waited for."""
    return [
        f"I6: node {text} of workflow {flow.id.hex()} {fault}"
        for text, node in flow.nodes.items()
        for fault in _faults(flow, node, ends, runs.get(text, []))
    ]


def _faults(flow: Flow, node: GraphNode, ends: Mapping[str, Job], runs: list[Run]) -> list[str]:
    if not node.after:
        return []
    join = flow.graph.joins[node.after - 1]
    members = [ends[text_of(flow.graph.nodes[number].id)] for number in flow.graph.members[node.after]]
    good = [job for job in members if job.state is State.SUCCEEDED]
    end = ends[text_of(node.id)]
    released = any(job.state in BAD for job in members) if join.on is On.FAILURE else len(good) == len(members)
    if not released:
        return [f"ran although its join was not released by {members}"] if runs else []
    if not runs and end.state is not State.CANCELLED and not end.lost:
        return [f"never ran and is {end.state.name}, its members are {[job.state.name for job in members]}"]
    if join.on is On.SUCCESS and not node.silent:
        handed = [job.result for job in members]
        return [f"was handed {run.handed}, not {handed}" for run in runs if run.handed != handed]
    return []
