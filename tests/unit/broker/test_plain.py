"""Stored values as JSON, and back: whatever they are, nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tqbroker_broker.attempts import Failure, PastAttempt, Verdict
from tqbroker_broker.records import Head
from tqbroker_broker.rules import QueueRule, Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.storage.plain import plain, reader

HEAD = Head("tasks.add", "default", 3, "json", headers=b"\xff\x00", traits=Traits("a", limits=("x", "y")))
UNIQUE = Unique(UniqueUntil.TIME, UniqueConflict.KEEP, 5)
FAILED = PastAttempt("w", 1, Verdict.FAILED, 2, 3, Failure("ValueError", "builtins", "no", args=b"[]"))

VALUES: list[tuple[Any, Any, Any]] = [
    (bytes, b"plain text", "plain text"),
    (bytes, b"", ""),
    (bytes, b"\xff\x01", {"base64": "/wE="}),
    (bytes, bytes([255] * 16), {"uuid": "ffffffff-ffff-ffff-ffff-ffffffffffff"}),
    (int, 7, 7),
    (float, 1.5, 1.5),
    (type(None), None, None),
    (list[bytes], [b"a", b"\xfe"], ["a", {"base64": "/g=="}]),
    (tuple[int, ...], (1, 2), [1, 2]),
    (list[tuple[int, int]], [(1, 2), (3, 4)], [[1, 2], [3, 4]]),
    (Unique, UNIQUE, {"until": "TIME", "conflict": "KEEP", "for_ms": 5}),
    (QueueRule, QueueRule(weights={"a": 2}), {"weights": {"a": 2}}),
    (Head, HEAD, {
        "task": "tasks.add", "queue": "default", "priority": 3, "format": "json", "headers": {"base64": "/wA="},
        "traits": {"tenant": "a", "limits": ["x", "y"]},
    }),
    (PastAttempt, FAILED, {
        "worker": "w", "token": 1, "verdict": "FAILED", "started_ms": 2, "ended_ms": 3,
        "failure": {"type": "ValueError", "module": "builtins", "message": "no", "args": "[]"},
    }),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "written"), VALUES)
def test_a_value_is_written_so_and_comes_back(kind: Any, value: Any, written: Any) -> None:
    assert plain(value) == written
    back = reader(kind)(json.loads(json.dumps(plain(value))))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("kind", "written", "words"),
    [
        (bytes, 7, "a text, a uuid or base64"),
        (bytes, {"base64": "%%"}, "base64"),
        (int, "7", "int should be"),
        (int, True, "int should be"),
        (Unique, {"until": "TIME", "conflict": "KEEP", "more": 1}, "no field 'more'"),
        (Unique, {"until": "TIME"}, "'conflict' of Unique is missing"),
        (Unique, {"until": "NEVER", "conflict": "KEEP"}, "one of QUEUED, STARTED"),
        (list[int], {"a": 1}, "list should be"),
        (tuple[int, int], [1, 2, 3], "zip"),
    ],
)
def test_what_should_not_be_there_is_said(kind: Any, written: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reader(kind)(written)
