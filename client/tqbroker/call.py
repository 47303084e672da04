"""One call of a task, or many alike, as values on their way to the broker."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tqbroker.ids import Key

UniqueUntil = Literal["queued", "started", "finished", "time"]
UniqueConflict = Literal["reject", "keep", "replace"]


class Unique(NamedTuple):
    """That at most one job with a key exists. `for_ms`: the key is free this long after the submit at the latest."""

    until: UniqueUntil
    conflict: UniqueConflict = "reject"
    for_ms: int = 0


class Traits(NamedTuple):
    """What a plain job does not have; meanings as in proto/tqbroker/v1/job.proto."""

    tenant: str = ""
    ordering_key: str = ""
    limits: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    time_limit_ms: int = 0
    soft_time_limit_ms: int = 0
    unique: Unique | None = None
    shadow: str = ""


PLAIN = Traits()
"""The traits of a job that has none: always this very object."""


class Head(NamedTuple):
    """What jobs of one batch share. Zero means "not set"; times are as in proto/tqbroker/v1/job.proto."""

    task: str
    queue: str
    priority: int
    format: str
    ignore_result: bool = False
    result_ttl_ms: int = 0
    countdown_ms: int = 0
    eta_unix_ms: int = 0
    expires_in_ms: int = 0
    expires_unix_ms: int = 0
    headers: bytes = b""
    traits: Traits = PLAIN
    parent: str = ""
    root: str = ""


class Own(NamedTuple):
    """What one call has for itself, beside its arguments: at most one of the two that make its id.

    `unique_key` stands for the arguments where jobs are unique. `timeout` in seconds replaces the app's submit_timeout.
    `add_to_parent`: the job that submits it from its body remembers it as its child.
    """

    task_id: str | None = None
    idempotency_key: str | None = None
    unique_key: str | None = None
    timeout: float | None = None
    add_to_parent: bool = True


NOTHING_OWN = Own()


class Batch(NamedTuple):
    """Jobs with one head, as columns: a key and the encoded arguments for each, and a unique key if the head asks."""

    head: Head
    keys: list[Key]
    args: list[bytes]
    unique_keys: list[bytes] | None = None


class Join(NamedTuple):
    """What jobs of a workflow wait for; see proto/tqbroker/v1/workflow.proto. `id` is that of a group, or empty."""

    number: int
    on: Literal["success", "failure"] = "success"
    shape: Literal["value", "list"] = "value"
    id: bytes = b""


class Nodes(NamedTuple):
    """Jobs of a workflow that share their head and their place.

    `after` is the number of the join they wait for (0: none), `member_of` those that wait for them; `silent`: they are
    not handed what the members returned. `takes_over`: this one job has an empty key and becomes the body of the job
    that is replaced. `beside`: they become members of the groups of `Workflow.beside`.
    """

    batch: Batch
    after: int = 0
    silent: bool = False
    member_of: tuple[int, ...] = ()
    takes_over: bool = False
    beside: bool = False


class Workflow(NamedTuple):
    """Jobs that wait for each other, submitted as one. `id` is 16 bytes; `name` is for people.

    `held`: it waits for the outcome that names it. `beside` is a running job to whose workflow it is added.
    """

    id: bytes
    name: str
    joins: list[Join]
    nodes: list[Nodes]
    held: bool = False
    beside: Key | None = None
    beside_token: int = 0
