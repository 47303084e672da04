"""What `tqbroker backup` says of what it has saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tqbroker.commands import backup
from tqbroker.operations import Backup

SAVED = Backup(3 << 20, "ab" * 32, "cd" * 16, 7, 0, {"queued": 5, "succeeded": 2})


def test_a_backup_is_told_in_four_lines() -> None:
    lines = backup.describe(SAVED, Path("monday.tq"), 1.5, "verified")

    assert lines == [
        "saved     monday.tq: 3 MiB in 1 s, verified",
        "jobs      7: 5 queued, 2 succeeded",
        f"store     {'cd' * 16}, as of -",
        f"sha256    {'ab' * 32}",
    ]
    assert "jobs      0" in backup.describe(SAVED._replace(jobs={}), Path("monday.tq"), 1.5, "verified")


def test_a_backup_with_faults_stays_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "monday.tq"
    file.write_bytes(b"not a store" * 1000)

    with pytest.raises(SystemExit) as end:
        backup._verified(file)

    assert end.value.code == 1
    assert "is what the broker has sent, but its store has faults" in capsys.readouterr().err
    assert file.exists()


def test_what_lies_in_the_working_directory_is_not_run_to_look_through_a_backup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tqbroker.py").write_text("raise SystemExit(0)")
    (tmp_path / "monday.tq").write_bytes(b"not a store" * 1000)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit):
        backup._verified(Path("monday.tq"))

    assert "but its store has faults" in capsys.readouterr().err


@pytest.mark.parametrize("end", ["exit 2", "exit 1", "kill -KILL $$"])
def test_a_look_that_came_to_nothing_is_not_told_as_faults_of_the_backup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    reader = tmp_path / "reader"
    reader.write_text(f"#!/bin/sh\necho why >&2\n{end}\n")
    reader.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(reader))

    with pytest.raises(SystemExit) as failed:
        backup._verified(tmp_path / "monday.tq")

    assert failed.value.code == 1
    assert "is what the broker has sent, but it could not be looked through:\nwhy" in capsys.readouterr().err


def test_a_backup_that_takes_too_long_to_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_VERIFY_SECONDS", 0.001)

    with pytest.raises(SystemExit) as end:
        backup._verified(tmp_path / "monday.tq")

    assert end.value.code == 1
    assert "was not read within 1 ms: run `tqbroker verify" in capsys.readouterr().err


def test_an_interrupted_look_says_that_the_backup_is_there_and_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.run", interrupted)
    with pytest.raises(SystemExit) as end:
        backup._verified(tmp_path / "monday.tq")

    assert end.value.code == 130
    assert "is whole, but not all of it was read: run `tqbroker verify" in capsys.readouterr().err
