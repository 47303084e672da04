"""Disks that are full, and then are not: a real one of some MiB, and one that only says so."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.acceptance.harness.site import Site
from tests.crash.powercut.disk import mounted
from tests.proof.preload.disk import disk

SIZE = 32 << 20
"""Bytes of the real one."""
BLOCK = 4096


class SmallDisk(ABC):
    """The disk that a site's data directory is on. `environment` is what its broker must be started with."""

    environment: dict[str, str]

    @abstractmethod
    def fill(self, left: int = 0) -> None:
        """Another program takes everything but about so many bytes."""

    @abstractmethod
    def free(self) -> None:
        """It gives them back."""


class RealDisk(SmallDisk):
    """An ext4 file system."""

    def __init__(self, point: Path) -> None:
        self.environment = {}
        self._point = point
        self._other = point / "other"

    def fill(self, left: int = 0) -> None:
        with self._other.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(BLOCK)):
                pass
        with self._other.open("r+b") as file:
            file.truncate(self._other.stat().st_size - left)
            os.fsync(file.fileno())

    def free(self) -> None:
        self._other.unlink()


class SaidDisk(SmallDisk):
    """One whose every write fails while it is full, so that nothing at all fits."""

    def __init__(self, site: Site) -> None:
        self._control = site.folder / "full"
        self.environment = disk(site.data, [f"pwrite:1+:enospc:{self._control}"])

    def fill(self, left: int = 0) -> None:
        self._control.touch()

    def free(self) -> None:
        self._control.unlink()


@contextmanager
def real_disk(site: Site) -> Iterator[RealDisk]:
    """The site's data is on a real disk of its own. Needs root."""
    image = site.folder / "image"
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True, timeout=60)
    with mounted(image, site.folder / "disk") as point:
        site.data = point / "data"
        try:
            yield RealDisk(point)
        finally:
            site.discard()  # a file system that somebody uses cannot be unmounted
