"""Random workflows, and what must be true of one when all of its jobs have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from random import Random
from typing import NamedTuple

from tqbroker_broker.answers import Job
from tqbroker_broker.records import Head, JobId, NewJobs, State
from tqbroker_broker.workflows import NewJoin, NewNodes, On, Part, Shape

MOST_NODES = 12

FATES = ("ok", "ok", "ok", "ok", "ok", "fail", "retry", "put back", "replace")
"""What the body of a node does; what is retried, put back or replaced succeeds the next time."""

HEAD = Head(task="tasks.add", queue="default", priority=0, format="json")


OVER = b"over"
"""The arguments of what takes the place of a job."""


class GraphNode(NamedTuple):
    """A node by its number in the graph: the join it follows (0: none), and those it is a member of."""

    id: JobId
    fate: str
    after: int
    silent: bool
    member_of: tuple[int, ...]


class Graph(NamedTuple):
    """A workflow; `members` are node numbers by join."""

    id: bytes
    nodes: list[GraphNode]
    joins: list[NewJoin]
    members: dict[int, list[int]]


class Ran(NamedTuple):
    """One run of a body: with what it was handed, and because of whose failure."""

    args: bytes
    values: Sequence[bytes] | None
    cause: JobId


def draw(rng: Random, name: str) -> Graph:
    """A graph in which every node follows nothing, or a join over some nodes before it."""
    count = rng.randint(2, MOST_NODES)
    joins: list[NewJoin] = []
    members: dict[int, list[int]] = {}
    afters = [0]
    for number in range(1, count):
        if rng.random() < 0.25:
            afters.append(0)
        elif joins and rng.random() < 0.3:
            afters.append(rng.choice(joins).number)
        else:
            afters.append(_new_join(rng, number, joins, members, name))
    nodes = [
        GraphNode(
            _digest(f"{name} node {number}"),
            rng.choice(FATES),
            after,
            rng.random() < 0.2,
            tuple(join for join, inside in members.items() if number in inside),
        )
        for number, after in enumerate(afters)
    ]
    return Graph(_digest(name), nodes, joins, members)


def _new_join(rng: Random, before: int, joins: list[NewJoin], members: dict[int, list[int]], name: str) -> int:
    chosen = sorted(rng.sample(range(before), rng.randint(1, min(before, 5))))
    on = On.FAILURE if rng.random() < 0.25 else On.SUCCESS
    shape = Shape.LIST if on is On.SUCCESS and (len(chosen) > 1 or rng.random() < 0.5) else Shape.VALUE
    number = len(joins) + 1
    joins.append(NewJoin(number, on, shape, _digest(f"{name} join {number}") if shape is Shape.LIST else b""))
    members[number] = chosen
    return number


def parts(graph: Graph, rng: Random) -> list[Part]:
    """The graph as it is sent: cut into parts anywhere."""
    cuts = sorted(rng.sample(range(1, len(graph.nodes)), min(rng.choice((0, 0, 1, 3)), len(graph.nodes) - 1)))
    bounds = [0, *cuts, len(graph.nodes)]
    return [
        Part(
            graph.id,
            number,
            end == len(graph.nodes),
            _digest(f"{graph.id.hex()} part {number}"),
            "drawn",
            graph.joins if number == 0 else [],
            [_new_node(node) for node in graph.nodes[start:end]],
        )
        for number, (start, end) in enumerate(pairwise(bounds))
    ]


def _new_node(node: GraphNode) -> NewNodes:
    jobs = NewJobs(HEAD, [node.id], [node.id], [node.id])
    return NewNodes(jobs, node.after, node.silent, node.member_of)


def replacement(job: JobId) -> Part:
    """What takes the place of a job: one job, and one that follows it."""
    name = f"in place of {job.hex()}"
    first = _digest(f"{name} first")
    return Part(
        _digest(name),
        0,
        True,
        _digest(f"{name} part"),
        "replacement",
        [NewJoin(1, On.SUCCESS, Shape.VALUE)],
        [
            NewNodes(NewJobs(HEAD, [first], [first], [first]), member_of=(1,)),
            NewNodes(NewJobs(HEAD, [b""], [OVER], [OVER.ljust(16)]), after=1, takes_over=True),
        ],
        held=True,
    )


def result_of(job: JobId) -> bytes:
    """What the body of a job returns."""
    return b"result of " + job.hex().encode()


def judge(graph: Graph, ends: Mapping[JobId, Job], runs: Mapping[JobId, list[Ran]]) -> list[str]:
    """What is wrong with the ends of a workflow's jobs. Each node is judged by the ends of those it waited for."""
    return [
        f"node {number} ({node.fate}): {fault}"
        for number, node in enumerate(graph.nodes)
        for fault in _faults(graph, node, ends, runs.get(node.id, []))
    ]


def _faults(graph: Graph, node: GraphNode, ends: Mapping[JobId, Job], runs: list[Ran]) -> list[str]:
    end = ends[node.id]
    if not node.after:
        return _ran(node, end, runs, None)
    join = graph.joins[node.after - 1]
    members = [ends[graph.nodes[number].id] for number in graph.members[node.after]]
    bad = [job for job in members if job.state is not State.SUCCEEDED]
    if join.on is On.SUCCESS:
        return _broken(end, runs, bad) if bad else _ran(node, end, runs, [result_of(job.id) for job in members])
    failed = [job.id for job in members if job.state in (State.FAILED, State.EXPIRED)]
    if not failed:
        return _spared(end, runs)
    faults = _ran(node, end, runs, None)
    if not node.silent and runs and runs[0].cause not in failed:
        faults.append(f"was told of {runs[0].cause.hex()}, which did not fail")
    return faults


def _ran(node: GraphNode, end: Job, runs: list[Ran], handed: list[bytes] | None) -> list[str]:
    """A node that was released has run, and ended as its body did."""
    wanted = State.FAILED if node.fate == "fail" else State.SUCCEEDED
    faults = [] if end.state is wanted else [f"is {end.state.name}, not {wanted.name}"]
    if not runs:
        return [*faults, "never ran"]
    values = None if node.silent else handed
    own = [run for run in runs if run.args == node.id]
    faults += [f"was handed {run.values}, not {values}" for run in own if run.values != values]
    first = [result_of(replacement(node.id).nodes[0].jobs.ids[0])]
    faults += [f"goes on with {run.values}, not {first}" for run in runs if run.args == OVER and run.values != first]
    if wanted is State.SUCCEEDED and end.result != result_of(node.id):
        faults.append(f"has the result {end.result!r}")
    return faults


def _broken(end: Job, runs: list[Ran], bad: list[Job]) -> list[str]:
    """A node behind one that did not succeed ends as that did, and never runs."""
    causes = {job.id: job.state for job in bad}
    if any(job.state is State.CANCELLED and not job.cause for job in bad) and not end.cause:
        return _spared(end, runs)
    faults = ["ran"] if runs else []
    if end.state is not causes.get(end.cause):
        faults.append(f"is {end.state.name} because of {end.cause.hex()}; in its way were {causes}")
    return faults


def _spared(end: Job, runs: list[Ran]) -> list[str]:
    """An error callback is not needed when nothing has failed."""
    faults = ["ran"] if runs else []
    if end.state is not State.CANCELLED or end.failure is not None:
        faults.append(f"is {end.state.name} with {end.failure}")
    return faults


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
