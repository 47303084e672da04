"""A real file system whose disk writes everything down: ext4 on a loop device on a file of ours. Linux, root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crash.powercut import fuse
from tests.crash.powercut.blocks import BlockLog

SIZE = 1 << 30
"""Bytes of the disk; sparse, so that only what is written takes room."""
PATIENCE = 30.0
"""Seconds for a command that should take a fraction of one."""
POLL = 0.02


def lacking() -> str:
    """Why there can be no such disk on this machine; empty when there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root"
    for path in ("/dev/fuse", "/dev/loop-control"):
        if not os.path.exists(path):
            return f"needs {path}"
    missing = [tool for tool in ("mkfs.ext4", "losetup", "mount", "umount") if shutil.which(tool) is None]
    return f"needs {', '.join(missing)}" if missing else ""


class RecordedDisk:
    """While `mounted()`, a file system is in `point`. What clients append to `acks` is in one order with its writes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.point = folder / "files"
        self.acks = folder / "fuse" / "acks"
        self._folder = folder
        self._base = folder / "base"
        self._log = folder / "log"
        self._fails = folder / "fails"

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Makes the disk, with an empty file system; unmounts it at the end, after which there is a log."""
        format_disk(self._base)
        image = self._folder / "image"
        _run("cp", "--sparse=always", self._base, image)
        fused = self._folder / "fuse"
        fused.mkdir()
        command = [sys.executable, fuse.__file__, *map(str, (fused, image, self._log, self._fails))]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
            try:
                if not daemon.stdout or daemon.stdout.readline() != b"mounted\n":
                    raise OSError("the recorded disk could not be mounted")
                with mounted(fused / "disk", self.point):
                    yield self.point
                _unmount(fused)
                daemon.wait(PATIENCE)
            finally:
                daemon.kill()  # it has ended by itself, unless something failed
                with contextlib.suppress(OSError):
                    _run("umount", "--lazy", fused)

    def fail(self) -> None:
        """From now on no write and no flush comes to a good end."""
        self._fails.touch()

    def written(self) -> int:
        """Bytes in the log by now, about."""
        return self._log.stat().st_size

    def log(self) -> BlockLog:
        """What happened to the disk, once it is not mounted any more."""
        return BlockLog.read(self._log, self._base)


def format_disk(image: Path) -> None:
    """An empty ext4 in this file. All of its tables are written now, so that later only its users write."""
    with image.open("wb") as file:
        file.truncate(SIZE)
    _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)


@contextmanager
def mounted(image: Path, point: Path) -> Iterator[Path]:
    """Mounts a file as a disk; its journal is replayed, as after any power cut."""
    point.mkdir(parents=True, exist_ok=True)
    loop = _run("losetup", "--find", "--show", image).strip()
    try:
        _run("mount", "-t", "ext4", loop, point)
        try:
            yield point
        finally:
            _unmount(point)
    finally:
        _run("losetup", "--detach", loop)


def _unmount(point: Path) -> None:
    """Processes that were killed a moment ago may be using it still."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            _run("umount", point)
            return
        except OSError:
            if time.monotonic() > deadline:
                _run("umount", "--lazy", point)
                raise
            time.sleep(POLL)


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout
