"""The judge itself is judged: it sees each kind of broken promise, and is content when none is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.acceptance.harness.checker import Injected, violations
from tests.acceptance.harness.history import Events, History

from tqbroker import codec
from tqbroker.v1 import job_pb2

KILLED = 99
GOOD = ["invoke 1", "ok 1 a", "start 1 a 10", "end 1 a 10"]


def judge(
    folder: Path,
    lines: list[str],
    lost: int = 0,
    state: int = job_pb2.STATE_SUCCEEDED,
    value: int = 1,
    counted: bool = True,
) -> str:
    folder.mkdir(exist_ok=True)
    history = History(folder / "history")
    for line in lines:
        history.write(line)
    history.close()
    status = job_pb2.JobStatus(state=job_pb2.State.ValueType(state), lost_leases=lost, result=codec.encode(value))
    return "; ".join(violations(history.read(), {"a": status}, Injected({KILLED}, counted=counted)))


def test_a_job_that_ran_once_is_fine(tmp_path: Path) -> None:
    assert judge(tmp_path, GOOD) == ""


def test_a_job_that_ran_again_because_its_process_was_killed_is_fine(tmp_path: Path) -> None:
    lines = ["invoke 1", "ok 1 a", f"start 1 a {KILLED}", "start 1 a 10", "end 1 a 10"]

    assert judge(tmp_path, lines, lost=1) == ""
    assert "ran 2 times" in judge(tmp_path / "again", lines, lost=0)
    assert judge(tmp_path / "uncounted", lines, lost=0, counted=False) == ""


def test_a_call_of_unknown_fate_may_have_run_or_not(tmp_path: Path) -> None:
    lines = [*GOOD, "invoke 2", "fail 2 unknown", "invoke 3", "fail 3 unknown", "start 3 c 10", "end 3 c 10"]

    assert judge(tmp_path, lines) == ""


@pytest.mark.parametrize(
    ("lines", "broken"),
    [
        (["invoke 1", "ok 1 a"], "did not run"),
        (["invoke 1", "ok 1 a", "start 1 a 10"], "did not run"),
        ([*GOOD, "start 1 a 10", "end 1 a 10"], "ran 2 times"),
        ([*GOOD, f"start 1 a {KILLED}"], "ran 2 times"),
        ([*GOOD, "start 1 b 10", "end 1 b 10"], "under several ids"),
        (["invoke 1", "ok 1 a", "start 1 b 10", "end 1 b 10"], "was acknowledged as a"),
        ([*GOOD, "start 2 b 10", "end 2 b 10"], "was never made"),
        ([*GOOD, "invoke 2", "fail 2 rejected", "start 2 b 10", "end 2 b 10"], "told that it was rejected"),
        ([*GOOD, "invoke 2", "ok 2 b", "start 2 b 10", "end 2 b 10"], "is not known"),
    ],
)
def test_a_broken_promise_is_seen_in_the_history(tmp_path: Path, lines: list[str], broken: str) -> None:
    assert broken in judge(tmp_path, lines)


def test_a_broken_promise_is_seen_in_the_outcome(tmp_path: Path) -> None:
    assert "was acknowledged and is STATE_RUNNING" in judge(tmp_path, GOOD, state=job_pb2.STATE_RUNNING)
    assert "was acknowledged and is STATE_FAILED" in judge(tmp_path, GOOD, state=job_pb2.STATE_FAILED)
    assert "has the result 2" in judge(tmp_path, GOOD, value=2)


def test_a_lost_lease_is_seen_where_none_may_be_lost() -> None:
    status = job_pb2.JobStatus(state=job_pb2.STATE_SUCCEEDED, lost_leases=2, result=codec.encode(1))

    assert violations(Events(), {"a": status}) == ["2 leases were lost, at most 0 may be"]
    assert violations(Events(), {"a": status}, Injected(lost=2)) == []
