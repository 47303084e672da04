"""The judge itself is judged: it sees each kind of broken promise, and is content when none is broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.acceptance.harness.checker import BATCH, HELD, Injected, fired, violations
from tests.acceptance.harness.footprint import excess, footprint
from tests.acceptance.harness.history import Events, History
from tests.acceptance.harness.told import Told, discord

from tqbroker import codec
from tqbroker.v1 import admin_pb2, job_pb2

KILLED = 99
SENT, LOST, SUCCEEDED = admin_pb2.EVENT_KIND_SENT, admin_pb2.EVENT_KIND_LOST, admin_pb2.EVENT_KIND_SUCCEEDED
GOOD = ["invoke 1", "ok 1 a", "start 1 a 10 5", "end 1 a 10 5"]


def judge(
    folder: Path,
    lines: list[str],
    lost: int = 0,
    state: int = job_pb2.STATE_SUCCEEDED,
    value: int = 1,
    counted: bool = True,
    token: int = 5,
    alone: bool = True,
) -> str:
    folder.mkdir(exist_ok=True)
    history = History(folder / "history")
    for line in lines:
        history.write(line)
    history.close()
    status = job_pb2.JobStatus(
        state=job_pb2.State.ValueType(state), lost_leases=lost, result=codec.encode(value), token=token
    )
    injected = Injected({KILLED}, BATCH, counted, {KILLED} if alone else ())
    return "; ".join(violations(history.read(), {"a": status}, injected))


def test_a_job_that_ran_once_is_fine(tmp_path: Path) -> None:
    assert judge(tmp_path, GOOD) == ""


def test_a_job_that_ran_again_because_its_process_was_killed_is_fine(tmp_path: Path) -> None:
    lines = ["invoke 1", "ok 1 a", f"start 1 a {KILLED} 4", "start 1 a 10 5", "end 1 a 10 5"]

    assert judge(tmp_path, lines, lost=1) == ""
    assert "ran 2 times" in judge(tmp_path / "again", lines, lost=0)
    assert judge(tmp_path / "uncounted", lines, lost=0, counted=False) == ""


@pytest.mark.parametrize(("alone", "most"), [(True, BATCH), (False, HELD)], ids=["child", "worker"])
def test_a_job_that_runs_again_though_its_killed_process_had_long_reported_it_is_seen(
    tmp_path: Path, alone: bool, most: int
) -> None:
    def after(others: int) -> list[str]:
        runs = [(1, "a", KILLED, 4), *((number, f"b{number}", KILLED, 5) for number in range(2, 2 + others))]
        runs.append((1, "a", 10, 10**6))
        lines = [
            f"{kind} {number} {job} {pid} {fence}" for number, job, pid, fence in runs for kind in ("start", "end")
        ]
        return [*(f"invoke {number}" for number in range(1, 2 + others)), "ok 1 a", *lines]

    assert judge(tmp_path / "just", after(most - 1), lost=1, token=10**6, alone=alone) == ""
    assert "ran 2 times" in judge(tmp_path / "long", after(most), lost=1, token=10**6, alone=alone)


def test_a_call_of_unknown_fate_may_have_run_or_not(tmp_path: Path) -> None:
    lines = [*GOOD, "invoke 2", "fail 2 unknown", "invoke 3", "fail 3 unknown", "start 3 c 10 5", "end 3 c 10 5"]

    assert judge(tmp_path, lines) == ""


def test_a_call_comes_to_the_end_that_its_caller_wrote_down(tmp_path: Path) -> None:
    retried = ["invoke 1 SUCCEEDED 7 2", "ok 1 a", "start 1 a 10 4", "end 1 a 10 4", "start 1 a 10 5", "end 1 a 10 5"]
    cancelled = ["invoke 1 CANCELLED 0 0", "ok 1 a"]

    assert judge(tmp_path / "retried", retried, value=7) == ""
    assert "has the result 1" in judge(tmp_path / "other", retried, value=1)
    assert "did not run to its end 2 times" in judge(tmp_path / "once", [*retried[:2], *retried[4:]], value=7)
    assert judge(tmp_path / "cancelled", cancelled, state=job_pb2.STATE_CANCELLED) == ""
    assert "SUCCEEDED, not CANCELLED" in judge(tmp_path / "done", cancelled)
    ran = [*cancelled, "start 1 a 10 5", "end 1 a 10 5"]
    assert "ran 1 times" in judge(tmp_path / "ran", ran, state=job_pb2.STATE_CANCELLED)


@pytest.mark.parametrize(
    ("lines", "broken"),
    [
        (["invoke 1", "ok 1 a"], "did not run"),
        (["invoke 1", "ok 1 a", "start 1 a 10 5"], "did not run"),
        ([*GOOD, "start 1 a 10 5", "end 1 a 10 5"], "ran 2 times"),
        ([*GOOD, f"start 1 a {KILLED} 4"], "ran 2 times"),
        ([*GOOD, "start 1 b 10 5", "end 1 b 10 5"], "under several ids"),
        (["invoke 1", "ok 1 a", "start 1 b 10 5", "end 1 b 10 5"], "was acknowledged as a"),
        ([*GOOD, "start 2 b 10 5", "end 2 b 10 5"], "was never made"),
        ([*GOOD, "invoke 2", "fail 2 rejected", "start 2 b 10 5", "end 2 b 10 5"], "told that it was rejected"),
        ([*GOOD, "invoke 2", "ok 2 b", "start 2 b 10 5", "end 2 b 10 5"], "is not known"),
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

    assert violations(Events(), {"a": status}) == ["I4: 2 leases were lost, at most 0 may be"]
    assert violations(Events(), {"a": status}, Injected(lost=2)) == []


def test_an_outcome_of_any_attempt_but_the_last_is_seen(tmp_path: Path) -> None:
    twice = ["invoke 1", "ok 1 a", f"start 1 a {KILLED} 4", "start 1 a 10 5", "end 1 a 10 5"]

    assert "ended under 4, not the last" in judge(tmp_path / "stale", twice, lost=1, token=4)
    twice[2:4] = [f"start 1 a {KILLED} 5", "start 1 a 10 5"]
    assert "do not rise" in judge(tmp_path / "same", twice, lost=1)


@pytest.mark.parametrize(
    ("kinds", "lost", "broken"),
    [
        ([SENT, SUCCEEDED], 0, ""),
        ([SENT, LOST, SUCCEEDED], 1, ""),
        ([SENT, LOST, SUCCEEDED], 0, "I4"),
        ([SENT, SUCCEEDED, SUCCEEDED], 0, "I1"),
        ([SENT, SENT, SUCCEEDED], 0, "I1"),
        ([SENT], 0, "I1"),
        ([], 0, "I1"),
    ],
)
def test_a_log_that_tells_something_else_than_the_job_is_seen(kinds: list[int], lost: int, broken: str) -> None:
    status = job_pb2.JobStatus(state=job_pb2.STATE_SUCCEEDED, lost_leases=lost)

    found = discord(Told({"a": kinds}, []), {"a": status})

    assert [fault[:2] for fault in found] == ([broken] if broken else [])


def test_a_schedule_must_fire_once_for_each_of_its_moments() -> None:
    assert fired([1, 2, 3], [1, 2, 3]) == []
    assert [fault[4:] for fault in fired([1, 1, 4], [1, 2])] == [
        "1 has 2 jobs",
        "2 has no job",
        "4 has a job and is no moment of the schedule",
    ]


def test_what_grows_is_seen() -> None:
    assert excess(
        "broker", footprint(os.getpid())._replace(descriptors=10_000, threads=1, resident=1, anonymous=1)
    ) == ["I10: broker takes 10,000 (descriptors), at most 256"]
