"""Named places where a test may kill, delay or break a daemon; inert unless armed at the start of the process.

`TQ_FAILPOINT="after_commit:17=kill9;before_send:*=sleep:0.5"` with `TQ_TESTING=1` arms two places. Each part reads
`name[:nth]=kill9|sleep:SECONDS|raise`; nth counts hits from 1, the default is the first hit and `*` means every hit.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

NAMES: dict[str, str] = {
    "before_commit": "broker, writer: a group is written but not committed",
    "after_commit": "broker, writer: a group is on the disk, nobody knows yet",
    "before_apply": "broker, loop: a committed group is not in memory yet",
    "after_commit_before_reply": "broker: jobs are on the disk, the client was not answered",
    "after_grant": "broker: jobs are leased, not yet in the worker's outbox",
    "before_send": "broker: a message to a worker is built, not yet written",
    "after_finish_commit": "broker: outcomes are on the disk, the worker was not told",
    "after_workflow_commit": "broker: a part of a workflow is on the disk, the client was not answered",
    "after_order_commit": "broker: what an operator has changed is on the disk, nobody was told",
    "after_annotate_commit": "broker: what jobs said of themselves is on the disk, the worker was not told",
    "after_payment": "broker: starts under a rate are on the disk, their jobs are not leased yet",
    "in_expire": "broker: a slice of endings by time was just applied",
    "in_due": "broker: a slice of due jobs was just moved",
    "in_fire": "broker: a slice of schedules was just fired",
    "at_open": "broker: the store is being opened",
    "in_backup": "broker: a step of a copy of the store is on the disk, the rest is missing",
    "in_restore": "restore: the copy is complete and has its new id, but not its name",
    "in_compact": "compact: the smaller file is complete, but has not its name",
    "at_shutdown": "broker: draining is over, the store is still open",
    "worker_before_send_outcome": "worker: an outcome is ready, not yet sent",
    "worker_after_receive": "worker: deliveries arrived, nothing started",
    "child_before_run": "child: a job is decoded, not started",
    "child_after_run": "child: a job has run, its outcome is not reported",
}


class FailpointError(RuntimeError):
    """Raised where a failpoint says `raise`, and for a specification that cannot be understood."""


class _Action(NamedTuple):
    kind: str
    seconds: float
    nth: int  # 0: every hit


_armed: dict[str, _Action] = {}
_hits: dict[str, int] = {}
_lock = threading.Lock()


def arm(environ: Mapping[str, str]) -> None:
    """Reads TQ_FAILPOINT once. Raises FailpointError when it is set without TQ_TESTING=1 or cannot be understood."""
    spec = environ.get("TQ_FAILPOINT", "")
    armed = dict(_parse(part.strip()) for part in spec.split(";") if part.strip())
    if armed and environ.get("TQ_TESTING") != "1":
        raise FailpointError("TQ_FAILPOINT breaks daemons on purpose: set TQ_TESTING=1 as well, or unset it")
    _armed.clear()
    _hits.clear()
    _armed.update(armed)


def hit(name: str) -> None:
    """Does what was armed for this place, if anything. Costs one look at an empty dict otherwise."""
    if _armed and (action := _armed.get(name)) is not None and _is_turn(name, action.nth):
        _act(name, action)


def _is_turn(name: str, nth: int) -> bool:
    with _lock:
        _hits[name] = count = _hits.get(name, 0) + 1
    return nth in (0, count)


def _act(name: str, action: _Action) -> None:
    if action.kind == "kill9":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action.kind == "sleep":
        time.sleep(action.seconds)
    else:
        raise FailpointError(f"failpoint {name}")


def _parse(part: str) -> tuple[str, _Action]:
    place, _, what = part.partition("=")
    name, _, count = place.partition(":")
    kind, _, seconds = what.partition(":")
    if name not in NAMES:
        raise FailpointError(f"TQ_FAILPOINT names unknown place {name!r}: use one of {', '.join(NAMES)}")
    if kind not in ("kill9", "sleep", "raise"):
        raise FailpointError(f"TQ_FAILPOINT asks for {what!r} at {name}: use kill9, sleep:SECONDS or raise")
    try:
        nth = 0 if count == "*" else int(count or "1")
        pause = float(seconds) if kind == "sleep" else 0.0
    except ValueError as error:
        raise FailpointError(f"TQ_FAILPOINT part {part!r} has a bad number: {error}") from error
    if nth < 1 and count != "*":
        raise FailpointError(f"TQ_FAILPOINT part {part!r} has a bad number: the hit counts from 1")
    return name, _Action(kind, pause, nth)
