"""What this machine is: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .systems import RIVALS_BIN

OURS = ("tqbroker", "grpcio", "protobuf", "lmdb", "msgspec", "uvloop")
RIVALS = ("celery", "kombu", "dramatiq", "pika", "rq", "redis")
APPENDS = 300
ROW = b"x" * 200


def describe(folder: Path) -> dict[str, str | float]:
    """The machine as it is for data in this folder."""
    p50, p99 = _fsync_ms(folder)
    return {
        "cpu": _found(r"^model name\s*: (.+)$", "/proc/cpuinfo"),
        "cores": float(os.cpu_count() or 0),
        "memory_gib": round(int(_found(r"^MemTotal: +(\d+) kB", "/proc/meminfo")) / 2**20, 1),
        "kernel": platform.release(),
        "file_system": file_system(folder),
        "python": platform.python_version(),
        "libraries": ", ".join(_versions(OURS)),
        "fsync_p50_ms": round(p50, 3),
        "fsync_p99_ms": round(p99, 3),
    }


def rival_versions() -> str:
    """Versions of the rivals' packages and servers, as far as they are there."""
    names = ", ".join(repr(name) for name in RIVALS)
    code = f"from importlib.metadata import version; print(', '.join(f'{{n}} {{version(n)}}' for n in ({names},)))"
    packages = _output([str(RIVALS_BIN / "python"), "-c", code])
    redis = re.search(r"v=(\S+)", _output(["redis-server", "--version"]))
    rabbitmq = [path.name.rpartition("-")[2] for path in Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")]
    found = [f"redis-server {redis[1]}"] if redis else []
    return ", ".join([packages, *found, *(f"rabbitmq-server {each}" for each in rabbitmq)])


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, this_kind, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, this_kind
    return kind


def _fsync_ms(folder: Path) -> tuple[float, float]:
    """p50 and p99 of appending 200 bytes and flushing them."""
    path, laps = folder / "fsync", []
    with path.open("ab", buffering=0) as file:
        for _ in range(APPENDS):
            before = time.perf_counter()
            file.write(ROW)
            os.fsync(file.fileno())
            laps.append(1000 * (time.perf_counter() - before))
    path.unlink()
    laps.sort()
    return laps[APPENDS // 2], laps[APPENDS * 99 // 100]


def _versions(names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _found(pattern: str, path: str) -> str:
    match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return match[1] if match else "0"


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
