"""One-file FUSE disk, straight over /dev/fuse: `python fuse.py MOUNTPOINT IMAGE LOG FAILS`, as root, prints "mounted".

MOUNTPOINT/disk is IMAGE, to be put under a loop device. Every write and every flush that arrives is appended to LOG in
the order of arrival, and so is what is written to MOUNTPOINT/acks: what the outside world has been told is in one order
with what is on the disk. While there is a file FAILS, writes and flushes end with EIO. Nothing but the standard
library, so that it starts in no time.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

ENTRY = struct.Struct("<cdQI")
"""An entry of the log: kind, time.monotonic(), offset, bytes that follow."""
WRITE, FLUSH, ACK = b"W", b"F", b"A"

ROOT, DISK, ACKS = 1, 2, 3
"""Inodes."""
NAMES = {b"disk": DISK, b"acks": ACKS}
BLOCK = 4096
LARGEST = 128 << 10
"""Bytes of one write."""
FOREVER = 3600
"""Seconds for which the kernel may believe what it was told of names and attributes: they never change."""
DIRECT, KEEP_CACHE = 1, 2
"""How a file is opened: each write comes here at once, or what was read stays cached."""

# Operations of the protocol, see linux/fuse.h.
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE_OP, STATFS, RELEASE, FSYNC = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20
FLUSH_OP, INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, ACCESS, DESTROY, BATCH_FORGET = (
    25,
    26,
    27,
    28,
    29,
    30,
    34,
    38,
    42,
)

IN = struct.Struct("<IIQQIIII")
OUT = struct.Struct("<IiQ")
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
RANGE = struct.Struct("<QQI")


class Disk:
    """The image and the log of what happened to it."""

    def __init__(self, image: Path, log: BinaryIO, fails: Path) -> None:
        file = os.open(image, os.O_RDWR)
        self.bytes = mmap.mmap(file, 0)
        os.close(file)
        self._log = log
        self._fails = fails

    def write(self, node: int, body: bytes) -> bytes:
        _, offset, size = RANGE.unpack_from(body)
        data = body[40 : 40 + size]
        if node == DISK:
            self._work()
            self.bytes[offset : offset + size] = data
        self._enter(WRITE if node == DISK else ACK, offset, data)
        return struct.pack("<II", size, 0)

    def flush(self, _node: int, _body: bytes) -> bytes:
        self._work()
        self._enter(FLUSH, 0, b"")
        return b""

    def _work(self) -> None:
        if self._fails.exists():
            raise OSError(errno.EIO, "the disk has failed")

    def read(self, _node: int, body: bytes) -> bytes:
        _, offset, size = RANGE.unpack_from(body)
        return self.bytes[offset : offset + size]

    def _enter(self, kind: bytes, offset: int, data: bytes) -> None:
        self._log.write(ENTRY.pack(kind, time.monotonic(), offset, len(data)) + data)

    # -- what never changes ------------------------------------------------------------------------------------------

    def attributes(self, node: int) -> bytes:
        kind, size = (stat.S_IFDIR | 0o700, BLOCK) if node == ROOT else (stat.S_IFREG | 0o600, 0)
        size = len(self.bytes) if node == DISK else size
        return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, kind, 1, 0, 0, 0, BLOCK, 0)

    def told(self, node: int, _body: bytes) -> bytes:
        return struct.pack("<QII", FOREVER, 0, 0) + self.attributes(node)

    def lookup(self, node: int, body: bytes) -> bytes:
        found = NAMES.get(body.rstrip(b"\0")) if node == ROOT else None
        if found is None:
            raise OSError(errno.ENOENT, "no such file")
        return struct.pack("<4Q2I", found, 0, FOREVER, FOREVER, 0, 0) + self.attributes(found)

    def opened(self, node: int, _body: bytes) -> bytes:
        return struct.pack("<QII", 0, KEEP_CACHE if node == DISK else DIRECT, 0)

    def room(self, _node: int, _body: bytes) -> bytes:
        return struct.pack("<5Q4I24x", len(self.bytes) // BLOCK, 0, 0, 2, 0, BLOCK, 255, BLOCK, 0)


def _answers(disk: Disk) -> dict[int, Callable[[int, bytes], bytes]]:
    """What to say to each operation that is known here."""
    return {
        **dict.fromkeys((RELEASE, FLUSH_OP, READDIR, RELEASEDIR, FSYNCDIR, ACCESS, DESTROY), lambda _node, _body: b""),
        INIT: lambda _node, _body: INIT_OUT.pack(7, 31, LARGEST, 0, 16, 12, LARGEST, 1, 0, 0, 0),
        LOOKUP: disk.lookup,
        GETATTR: disk.told,
        SETATTR: disk.told,
        OPEN: disk.opened,
        OPENDIR: disk.opened,
        READ: disk.read,
        WRITE_OP: disk.write,
        FSYNC: disk.flush,
        STATFS: disk.room,
    }


def serve(fuse: int, disk: Disk) -> None:
    """Answers the kernel until the disk is unmounted."""
    answers = _answers(disk)
    while request := _next(fuse):
        length, operation, unique, node, *_ = IN.unpack_from(request)
        if operation in (FORGET, BATCH_FORGET):
            continue  # by the protocol these have no answer
        try:
            answer, error = answers[operation](node, request[IN.size : length]), 0
        except KeyError:
            answer, error = b"", errno.ENOSYS
        except OSError as problem:
            answer, error = b"", problem.errno or errno.EIO
        os.write(fuse, OUT.pack(OUT.size + len(answer), -error, unique) + answer)
        if operation == DESTROY:
            return


def _next(fuse: int) -> bytes:
    """The next request; empty when the disk has been unmounted."""
    while True:
        try:
            return os.read(fuse, 2 * LARGEST)
        except OSError as problem:
            if problem.errno == errno.ENODEV:
                return b""
            if problem.errno not in (errno.EINTR, errno.ENOENT):
                raise


def mount(point: str) -> int:
    """Mounts an empty file system there; the file descriptor by which its requests come."""
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,max_read={LARGEST}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"cutdisk", point.encode(), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), f"mounting on {point}")
    return fuse


def main() -> None:
    point, image, log, fails = sys.argv[1:]
    with Path(log).open("wb", buffering=1 << 20) as file:
        fuse = mount(point)
        print("mounted", flush=True)
        serve(fuse, Disk(Path(image), file, Path(fails)))


if __name__ == "__main__":
    main()
