"""Where tests kill daemons, and how they say so; the places are those of tqbroker/_failpoint.py."""

from __future__ import annotations

from collections.abc import Collection

import pytest

WITH_ANY_JOB = (
    "before_commit",
    "after_commit",
    "before_apply",
    "after_commit_before_reply",
    "after_grant",
    "before_send",
    "after_finish_commit",
)
"""Places in a broker that the plainest of jobs comes by."""
WITH_TIME = ("in_expire", "in_due", "in_fire")
UNDER_LOAD = (
    *WITH_ANY_JOB,
    "after_workflow_commit",
    "after_order_commit",
    "after_annotate_commit",
    "after_payment",
    *WITH_TIME,
)
"""Places in a broker that a load of everything comes by again and again."""
IN_WORKER = ("worker_before_send_outcome", "worker_after_receive", "child_before_run", "child_after_run")


def kills_at(*places: str, long: Collection[str] = ()) -> pytest.MarkDecorator:
    """Runs a test once for each of these places, whose name it gets as `place`; at those in `long` not in `make test`.

    Every place must be named by one of these, see test_failpoint_names.py.
    """
    marks = {place: [pytest.mark.long] if place in long else [] for place in places}
    return pytest.mark.parametrize("place", [pytest.param(place, marks=marks[place]) for place in places])


def armed(place: str, nth: int | str = 1, action: str = "kill9") -> dict[str, str]:
    """The environment of a daemon to which this happens when it comes there the nth time ("*": each time)."""
    return {"TQ_TESTING": "1", "TQ_FAILPOINT": f"{place}:{nth}={action}"}


def slowed(*places: str) -> dict[str, str]:
    """The environment of a daemon that takes its time at each of these places: what may come between two steps does."""
    return {"TQ_TESTING": "1", "TQ_FAILPOINT": ";".join(f"{place}:*=sleep:0.005" for place in places)}
