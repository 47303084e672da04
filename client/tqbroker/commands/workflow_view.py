"""A workflow as the commands show it: one line, many lines, JSON, or a graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tqbroker.commands.tables import moment, table
from tqbroker.dependency_graph import DependencyGraph
from tqbroker.ids import text_of
from tqbroker.states import Phase
from tqbroker.workflow_info import JoinState, Node, WorkflowInfo, WorkflowView

HEADINGS = ("WORKFLOW", "state", "progress", "submitted", "name")


def workflow_line(info: WorkflowInfo) -> tuple[str, ...]:
    """The cells of a workflow in a list."""
    return (text_of(info.id), info.state.name, progress(info), moment(info.submitted_ms), info.name)


def progress(info: WorkflowInfo) -> str:
    """How many jobs have ended, and how many of them badly: "7 of 10, 1 failed"."""
    parts = [f"{info.total - info.left} of {info.total}"]
    counts = (("failed", info.failed), ("cancelled", info.cancelled), ("not needed", info.unneeded))
    return ", ".join(parts + [f"{count} {word}" for word, count in counts if count])


def workflow_json(info: WorkflowInfo) -> dict[str, Any]:
    """A workflow for programs."""
    return {**info._asdict(), "id": text_of(info.id), "state": info.state.name}


def view_lines(view: WorkflowView) -> Iterator[str]:
    """A workflow with its jobs, for people."""
    info = view.info
    yield f"workflow   {text_of(info.id)}"
    if info.name:
        yield f"name       {info.name}"
    yield f"state      {info.state.name}"
    yield f"progress   {progress(info)}"
    yield f"submitted  {moment(info.submitted_ms)}"
    if info.finished_ms:
        yield f"finished   {moment(info.finished_ms)}"
    if info.first_failed:
        yield f"failed     {info.first_failed}, the first that did"
    yield ""
    members = _members(view)
    yield from table(
        [("JOB", "state", "task", "group", "after", "note"), *(_row(node, view, members) for node in view.nodes)]
    )


def _row(node: Node, view: WorkflowView, members: dict[int, list[Node]]) -> tuple[str, ...]:
    job = node.job
    group = f"{text_of(job.group)}[{job.group_index}]" if job.group else "-"
    return (text_of(job.key), job.phase.name, job.task, group, _after(node, view, members), _note(node))


def _after(node: Node, view: WorkflowView, members: dict[int, list[Node]]) -> str:
    """What a job follows: a job, a group, or the failure of one."""
    join = view.joins.get(node.after)
    if join is None:
        return "-"
    if join.join.id:
        whom = f"group {text_of(join.join.id)}"
    elif join.members == 1 and len(members.get(node.after, ())) == 1:
        whom = text_of(members[node.after][0].job.key)
    else:
        whom = f"{join.members} jobs"
    if join.join.on == "failure":
        return f"failure of {whom}"
    waits = node.job.phase is Phase.WAITING and join.members > 1
    return f"{whom}, {join.left} of {join.members} left" if waits else whom


def _note(node: Node) -> str:
    job = node.job
    if job.phase is Phase.FAILED:
        failure = job.failure.type if job.failure is not None else "WorkerLostError"
        return f"{failure} because of {job.cause}" if job.cause else failure
    if job.phase in (Phase.QUEUED, Phase.WAITING):
        return job.waits_for
    return f"because of {job.cause}" if job.cause else ""


def view_json(view: WorkflowView) -> dict[str, Any]:
    """A workflow with its jobs and joins, for programs."""
    members = _members(view)
    return {
        **workflow_json(view.info),
        "jobs": [_node_json(node) for node in view.nodes],
        "joins": [_join_json(join, members.get(number, [])) for number, join in sorted(view.joins.items())],
    }


def _node_json(node: Node) -> dict[str, Any]:
    job = node.job
    return {
        "id": text_of(job.key),
        "phase": job.phase.name,
        "task": job.task,
        "queue": job.queue,
        "after": node.after or None,
        "silent": node.silent,
        "member_of": list(node.member_of),
        "group": text_of(job.group) if job.group else None,
        "group_index": job.group_index if job.group else None,
        "waits_for": job.waits_for,
        "cause": job.cause or None,
        "error": None if job.failure is None else f"{job.failure.type}: {job.failure.message}",
    }


def _join_json(join: JoinState, members: list[Node]) -> dict[str, Any]:
    return {
        "number": join.join.number,
        "on": join.join.on,
        "shape": join.join.shape,
        "group": text_of(join.join.id) if join.join.id else None,
        "members": [text_of(node.job.key) for node in members],
        "left": join.left,
        "released": join.released,
        "cause": join.cause or None,
    }


def graph(view: WorkflowView) -> DependencyGraph[str]:
    """An edge from each job to those that wait for it. A group with more than one on each side is a node of its own."""
    drawn: DependencyGraph[str] = DependencyGraph()
    names = {text_of(node.job.key): _label(node) for node in view.nodes}
    followers: dict[int, list[str]] = {}
    for node in view.nodes:
        drawn.add_arc(names[text_of(node.job.key)])
        if node.after:
            followers.setdefault(node.after, []).append(names[text_of(node.job.key)])
    for number, members in _members(view).items():
        above = [names[text_of(node.job.key)] for node in members]
        below = followers.get(number, [])
        if len(above) > 1 and len(below) > 1:  # or every job of a group would be tied to every one of the next
            above = [_tied(drawn, above, view.joins[number])]
        for one in above:
            for other in below:
                drawn.add_edge(one, other)
    return drawn


def _tied(drawn: DependencyGraph[str], above: list[str], join: JoinState) -> str:
    knot = f"group {text_of(join.join.id)}" if join.join.id else f"join {join.join.number}"
    for one in above:
        drawn.add_edge(one, knot)
    return knot


def _label(node: Node) -> str:
    return f"{node.job.task}\n{text_of(node.job.key)}\n{node.job.phase.name}"


def _members(view: WorkflowView) -> dict[int, list[Node]]:
    members: dict[int, list[Node]] = {}
    for node in view.nodes:
        for number in node.member_of:
            members.setdefault(number, []).append(node)
    return members
