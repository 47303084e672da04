"""The recorder and the faults: what every test with a broken disk rests on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.crash.powercut.trace import Kind, Marks, Record, read
from tests.proof.preload.disk import disk

PREAMBLE = """
import os, sys, time
path = sys.argv[1]
file = os.open(path, os.O_RDWR | os.O_CREAT)
meta = os.open(path, os.O_RDWR | os.O_DSYNC)
def tell(call, *args):
    begun = time.monotonic()
    try: answer = call(*args)
    except OSError as error: answer = error.errno
    print(answer, time.monotonic() - begun, flush=True)
"""


def ran(folder: Path, code: str, *faults: str, log: Path | None = None) -> tuple[int, list[int], list[float]]:
    """Runs code under the recorder: its exit code; what each `tell` has got, or the errno; how long that took."""
    command = [sys.executable, "-c", PREAMBLE + code, str(folder / "data.mdb")]
    environment = {**os.environ, **disk(folder, faults, log=log)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode <= 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    answers = [-1 if answer == "None" else int(answer) for answer, _ in lines]
    return done.returncode, answers, [float(took) for _, took in lines]


def test_writes_flushes_and_marks_are_recorded_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    Marks(log).write(b"before")
    (tmp_path / "data.mdb").write_bytes(b"there")
    ran(
        tmp_path,
        "os.pwrite(file, b'one', 10); os.fdatasync(file); os.pwrite(meta, b'two', 0)\n"
        "os.lseek(file, 5, 0); os.writev(file, [b'a', b'b']); os.lseek(file, 8, 0); os.write(file, b'c')\n"
        "os.ftruncate(file, 99); open(path + '-lock', 'wb').write(b'other')",
        log=log,
    )
    Marks(log).write(b"after")
    assert list(read(log)) == [
        Record(Kind.MARK, 0, b"before"),
        Record(Kind.BEGINNING, 0, b"there"),
        Record(Kind.WRITE, 10, b"one"),
        Record(Kind.SYNC, 0, b""),
        Record(Kind.DURABLE_WRITE, 0, b"two"),
        Record(Kind.WRITE, 5, b"ab"),
        Record(Kind.WRITE, 8, b"c"),
        Record(Kind.TRUNCATE, 99, b""),
        Record(Kind.MARK, 0, b"after"),
    ]


FLUSHES = "for _ in range(4): tell(os.fdatasync, file)"
WRITES = "for at in range(4): tell(os.pwrite, file, b'x' * 100, at * 100)"


@pytest.mark.parametrize(
    ("code", "fault", "answers"),
    [
        (FLUSHES, "fdatasync:2:eio", [-1, 5, -1, -1]),
        (FLUSHES, "fdatasync:2+:enospc", [-1, 28, 28, 28]),
        (WRITES, "pwrite:3:short", [100, 100, 50, 100]),
        (WRITES, "metawrite:1+:eio", [100] * 4),
        ("for _ in range(2): tell(os.pwrite, meta, b'x', 0)", "metawrite:1:eio", [5, 1]),
        ("tell(os.pwrite, file, b'x', 9); tell(os.pwrite, file, b'x', 0); tell(os.pwrite, file, b'x', 10)",
         "grow:1+:enospc", [28, 28, 28]),
        ("os.pwrite(file, b'x', 9)\nfor at in (0, 10): tell(os.pwrite, file, b'x', at)", "grow:2+:eio", [1, 5]),
        ("tell(os.ftruncate, file, 5)", "ftruncate:1:enospc", [28]),
    ],
)  # fmt: skip
def test_a_call_fails_as_it_was_told(tmp_path: Path, code: str, fault: str, answers: list[int]) -> None:
    assert ran(tmp_path, code, fault)[:2] == (0, answers)


def test_a_fault_lasts_while_its_file_is_there(tmp_path: Path) -> None:
    control = tmp_path / "full"
    code = f"{FLUSHES}\nopen({str(control)!r}, 'w')\n{FLUSHES}\nos.remove({str(control)!r})\n{FLUSHES}"
    assert ran(tmp_path, code, f"fdatasync:2+:enospc:{control}")[1] == [-1] * 4 + [-1, 28, 28, 28] + [-1] * 4


@pytest.mark.parametrize(("when", "flushed"), [("kill", 1), ("killed", 2)])
def test_a_process_ends_before_or_after_a_flush(tmp_path: Path, when: str, flushed: int) -> None:
    log = tmp_path / "log"
    code, answers, _ = ran(tmp_path, FLUSHES, f"fdatasync:2:{when}", log=log)
    assert (code, len(answers)) == (-signal.SIGKILL, 1)
    assert [record.kind for record in read(log)].count(Kind.SYNC) == flushed


def test_a_flush_takes_as_long_as_it_was_told(tmp_path: Path) -> None:
    begun = time.monotonic()
    _, _, took = ran(tmp_path, "for _ in range(12): tell(os.fdatasync, file)", "fdatasync:10+:50-150")
    assert time.monotonic() - begun > 0.15
    assert min(took[:9]) < 0.05, "the disk itself may be slow now and then"
    assert all(each >= 0.05 for each in took[9:])
