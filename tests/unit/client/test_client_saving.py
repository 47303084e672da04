"""The file of a backup: there whole or not at all, under a name that nothing else has, for its owner only."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path

import pytest

from tqbroker import _whole_file
from tqbroker._whole_file import CannotSaveError
from tqbroker.saving import BackupTarget, NotWholeError

BODY = b"all of it"
DIGEST = hashlib.sha256(BODY).digest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the backup goes."""
    return tmp_path / "monday.tq"


def partial(file: Path) -> Path:
    """The name that it has until it is whole."""
    return file.with_name(file.name + ".partial")


def save(file: Path, size: int = len(BODY), digest: bytes = DIGEST) -> BackupTarget:
    """A backup in two parts, with this at its end."""
    with BackupTarget(file) as target:
        target.write(0, BODY[:4], len(BODY))
        target.write(4, BODY[4:], len(BODY))
        target.finish(size, digest)
    return target


def save_some(file: Path) -> None:
    """A backup that is interrupted."""
    with BackupTarget(file) as target:
        target.write(0, BODY[:4], len(BODY))
        raise KeyboardInterrupt


def test_a_file_gets_its_name_when_it_is_whole(file: Path) -> None:
    with BackupTarget(file) as target:
        target.write(0, BODY, len(BODY))
        assert not file.exists()
        assert stat.S_IMODE(partial(file).stat().st_mode) == 0o600
        target.finish(len(BODY), DIGEST)

    assert file.read_bytes() == BODY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == [file.name]


def test_the_bytes_are_flushed_before_the_file_has_its_name_and_then_the_name(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, bool]] = []
    flush = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, file.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    save(file)
    assert flushed == [(file.stat().st_ino, False), (file.parent.stat().st_ino, True)]


def test_what_breaks_off_leaves_nothing(file: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        save_some(file)
    assert os.listdir(file.parent) == []


@pytest.mark.parametrize(("size", "digest"), [(len(BODY), b"d" * 32), (len(BODY) + 1, DIGEST)], ids=["digest", "size"])
def test_what_is_not_what_was_sent_is_not_kept(file: Path, size: int, digest: bytes) -> None:
    with pytest.raises(NotWholeError):
        save(file, size, digest)
    assert os.listdir(file.parent) == []


def test_a_missing_part_is_noticed(file: Path) -> None:
    with BackupTarget(file) as target:
        target.write(0, BODY[:4], len(BODY))
        with pytest.raises(NotWholeError, match="before byte 5"):
            target.write(5, BODY[5:], len(BODY))


def test_nothing_is_replaced(file: Path) -> None:
    file.write_text("gold")
    with pytest.raises(CannotSaveError, match="there already"):
        save(file)
    assert file.read_text() == "gold"


def test_nothing_that_appeared_meanwhile_is_replaced(file: Path) -> None:
    with BackupTarget(file) as target:
        target.write(0, BODY, len(BODY))
        file.write_text("gold")
        with pytest.raises(CannotSaveError, match="meanwhile"):
            target.finish(len(BODY), DIGEST)
    assert file.read_text() == "gold"
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.proof("S12")
@pytest.mark.parametrize("where", ["the file", "the partial file"])
def test_a_link_is_not_followed(file: Path, where: str) -> None:
    treasure = file.parent / "treasure"
    (file if where == "the file" else partial(file)).symlink_to(treasure)
    with pytest.raises(CannotSaveError):
        save(file)
    assert not treasure.exists()


def test_what_a_killed_backup_has_left_is_written_over(file: Path) -> None:
    partial(file).write_text("longer than what comes now")
    partial(file).chmod(0o644)

    assert save(file).left_over
    assert file.read_bytes() == BODY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_another_backup_writes_is_left_to_it(file: Path) -> None:
    with partial(file).open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CannotSaveError, match="another backup is writing"):
            save(file)
        assert partial(file).exists()


@pytest.mark.proof("S12")
def test_a_second_name_of_a_good_file_does_not_cost_it(file: Path) -> None:
    good = file.parent / "sunday.tq"
    good.write_text("good")
    partial(file).hardlink_to(good)
    with pytest.raises(CannotSaveError, match="not a file of ours"):
        save(file)
    assert good.read_text() == "good"


def test_what_is_no_file_is_not_written_to(file: Path) -> None:
    os.mkfifo(partial(file))
    with pytest.raises(CannotSaveError, match="not a file of ours"):
        save(file)


@pytest.mark.parametrize("name", [".", "/"])
def test_a_place_without_a_name_is_refused_in_words(name: str) -> None:
    with pytest.raises(CannotSaveError, match="is a directory: give the name of a file in it"):
        save(Path(name))


def test_a_name_that_could_not_be_flushed_is_not_told_as_a_file_that_is_not_there(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(_whole_file, "flush_directory", broken)
    with pytest.raises(CannotSaveError, match="is there, but its name may not outlive a power cut: Input/output error"):
        save(file)
    assert os.listdir(file.parent) == [file.name]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotSaveError, match=r"nowhere.*: its directory is not there: make it first"):
        save(tmp_path / "nowhere" / "file")


def test_a_disk_that_is_too_small_is_found_out_at_once(file: Path) -> None:
    with BackupTarget(file) as target, pytest.raises(CannotSaveError, match=r"has [0-9]+ free"):
        target.write(0, BODY, 1 << 60)
    assert os.listdir(file.parent) == []


def test_a_disk_that_fills_up_leaves_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BackupTarget(file) as target, monkeypatch.context() as full:
        full.setattr(os, "write", _full)
        with pytest.raises(CannotSaveError, match="No space left"):
            target.write(0, BODY, len(BODY))
    assert os.listdir(file.parent) == []


def _full(*_: object) -> int:
    raise OSError(28, os.strerror(28))
