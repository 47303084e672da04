"""What a request carries beside its call: what only some jobs have, and what the job says of itself."""

from __future__ import annotations

from typing import Any, NamedTuple


class Details(NamedTuple):
    """What plain jobs do not have. Moments are milliseconds since 1970 UTC, limits milliseconds; 0: none.

    `checkpoint` is what an earlier attempt left. `root`, `parent` and `group` are ids as text; `in_chord`: something
    follows on the group.
    """

    due_ms: int = 0
    expires_ms: int = 0
    started_ms: int = 0
    soft_ms: int = 0
    hard_ms: int = 0
    shadow: str = ""
    stamps: tuple[str, ...] = ()
    tenant: str = ""
    ordering_key: str = ""
    checkpoint: Any = None
    root: str = ""
    parent: str = ""
    group: str = ""
    group_index: int = 0
    in_chord: bool = False


class Said(NamedTuple):
    """What a job has said of itself so far: a state of its own with a value, and how far it is."""

    state: str = ""
    meta: Any = None
    done: float = 0.0
    total: float = 0.0
    note: str = ""


PLAIN = Details()
