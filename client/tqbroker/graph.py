"""What a signature is made of when it is sent: calls, the joins that they wait for, and the results they will have.

Calls come in the order of the canvas, members of a join before those that follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from tqbroker.call import Join
from tqbroker.canvas_signature import Signature
from tqbroker.ids import Key, key_of, new_keys, text_of

TAKES_OVER: Key = b""
"""Instead of an id: this call becomes the body of a job that is there."""

_KEYS_AT_ONCE = 64


class Node(NamedTuple):
    """A call with its place; see `tqbroker.call.Nodes`. `args` are without what it will be handed."""

    sig: Signature[Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]
    key: Key
    after: int = 0
    silent: bool = False
    member_of: tuple[int, ...] = ()
    beside: bool = False


class Outcome(NamedTuple):
    """A result to be: of the job with the number `node`, or of a group. Members and `parent` are earlier outcomes."""

    key: Key
    node: int = -1
    members: tuple[int, ...] = ()
    parent: int = -1


class Graph(NamedTuple):
    """A workflow before anything is encoded. `result` is the outcome of the whole; `fixed`: no id in it is new."""

    nodes: list[Node]
    joins: list[Join]
    outcomes: list[Outcome]
    result: int
    fixed: bool = False

    def results(self, job: Callable[[Outcome], Any], group: Callable[[Outcome, list[Any]], Any]) -> Any:
        """The result of the whole, of what these make for jobs and groups, each with its `parent`."""
        made: list[Any] = []
        for outcome in self.outcomes:
            result = job(outcome) if outcome.node >= 0 else group(outcome, [made[each] for each in outcome.members])
            if outcome.parent >= 0:
                result.parent = made[outcome.parent]
            made.append(result)
        return made[self.result]


class Draft:
    """A graph under way. With `freeze` the ids that are chosen are written into the signatures."""

    def __init__(self, freeze: bool) -> None:
        self.freeze = freeze
        self.nodes: list[Node] = []
        self.joins: list[Join] = []
        self.outcomes: list[Outcome] = []
        self.fixed = True
        """Whether every id was there before."""
        self._keys: list[bytes] = []

    def join(self, on: Literal["success", "failure"], *, many: bool = False) -> int:
        """The number of a new join."""
        self.joins.append(Join(len(self.joins) + 1, on, "list" if many else "value"))
        return len(self.joins)

    def node(self, node: Node, parent: int) -> int:
        """Adds a call, and returns the number of its outcome."""
        self.nodes.append(node)
        return self._outcome(Outcome(node.key, len(self.nodes) - 1, (), parent))

    def group(self, key: bytes, join: int, members: list[int], parent: int) -> int:
        """Makes a join that of a group, and returns the number of its outcome."""
        self.joins[join - 1] = self.joins[join - 1]._replace(id=key)
        return self._outcome(Outcome(key, -1, tuple(members), parent))

    def empty_group(self, key: bytes, parent: int) -> int:
        """The number of the outcome of a group without members."""
        return self._outcome(Outcome(key, -1, (), parent))

    def fresh(self) -> bytes:
        """A new id; they rise."""
        self.fixed = False
        if not self._keys:
            self._keys = new_keys(_KEYS_AT_ONCE)[::-1]
        return self._keys.pop()

    def fix(self, sig: Signature[Any], key: Key) -> None:
        """Writes an id into a signature, if this is to freeze it."""
        if self.freeze:
            sig.options["task_id"] = text_of(key)

    def _outcome(self, outcome: Outcome) -> int:
        self.outcomes.append(outcome)
        return len(self.outcomes) - 1


def chosen_id(options: dict[str, Any], given: Key | None) -> Key | None:
    """The id among options, else the one given. Takes it out. Raises ValueError for what is none, or may be none."""
    own = options.pop("task_id", None)
    if own is None:
        return given
    if given == TAKES_OVER:
        raise ValueError(f"task_id={own!r}: what replaces a job goes on under the id of that job, leave task_id out")
    return key_of(own)


def group_key(key: Key) -> bytes:
    """The id of a group. Raises ValueError unless it is a UUID."""
    if isinstance(key, bytes) and key:
        return key
    raise ValueError(f"task_id={key!r}: the id of a group is a UUID, for example str(uuid.uuid4())")
