"""Where a job stands in its workflow, what it is handed, and what it has submitted: between parent and child."""

from __future__ import annotations

import msgspec

from tqbroker.failures import FailureData


class Inputs(msgspec.Struct, array_like=True, frozen=True):
    """What the members of a join returned, in their order; an empty value is None.

    `formats`: one for all, or one each. `count` is how many there are: with fewer `values` the rest is to be fetched.
    `as_list`: a list of them goes in front of the arguments, else the only one.
    """

    values: list[bytes]
    formats: list[str]
    count: int
    as_list: bool


class Cause(msgspec.Struct, array_like=True, frozen=True):
    """The job whose failure an error callback is for. `id` and its like are text, `failure` is None when it expired."""

    id: str
    task: str
    queue: str
    priority: int
    format: str
    args: bytes
    headers: bytes
    retries: int
    lost: int
    worker: str
    root: str
    parent: str
    expired: bool
    failure: FailureData | None


class Trail(msgspec.Struct, array_like=True, frozen=True):
    """The jobs that a body has submitted: UUIDs, 16 bytes each, and ids that are none."""

    uuids: bytes
    texts: list[str]

    def size(self) -> int:
        """Bytes."""
        return len(self.uuids) + sum(map(len, self.texts))


class Place(msgspec.Struct, array_like=True, frozen=True):
    """See proto/tqbroker/v1/workflow.proto: ids are text, but for `group`; empty is none."""

    root: str = ""
    parent: str = ""
    group: bytes = b""
    group_index: int = 0
    in_chord: bool = False
    inputs: Inputs | None = None
    cause: Cause | None = None

    def size(self) -> int:
        """Bytes that are handed over, roughly."""
        values = sum(map(len, self.inputs.values)) if self.inputs is not None else 0
        return values + (len(self.cause.args) if self.cause is not None else 0)
