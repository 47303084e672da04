"""Before the first transaction: the directory, the lock, a look at the file, the format, the epoch."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import resource
import stat
import uuid
from pathlib import Path
from struct import Struct, error

import lmdb

from tqbroker._failpoint import hit
from tqbroker._whole_file import flush_directory
from tqbroker_broker.config import MIB, StorageConfig
from tqbroker_broker.lifecycle import next_epoch
from tqbroker_broker.records import Time
from tqbroker_broker.storage import CRASH_FILE, CannotOpen
from tqbroker_broker.storage.lmdb.fullness import Fullness
from tqbroker_broker.storage.lmdb.keys import DATABASES, FORMAT_VERSION, U64
from tqbroker_broker.storage.lmdb.pages import page_faults

log = logging.getLogger("tqbroker.storage")

DATA_FILE = "data.mdb"
NEW_FILE = "data.new"
"""A data file that is being made; one that is found was never used."""
LOCK_FILE = "LOCK"
READERS_FILE = "data.mdb-lock"
"""LMDB's own."""

RESTORING = "data.mdb.restoring"
"""A backup on its way to be the store."""
COMPACTING = "data.mdb.compacting"
"""A smaller copy on its way to be the store."""

OTHERS_MAY_WRITE = 0o002
MOST_CHECKED = 1 << 30
"""Bytes of a store whose pages are looked at after a crash: that takes some ten seconds."""
MOST_REPEATED = 4000
"""Characters of what a crashed broker has left that go into the log: the end of it."""

# File systems on which LMDB's locks or memory maps do not hold.
REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"}
)
# File systems that do not outlive the machine or the container.
VOLATILE = frozenset({"tmpfs", "ramfs", "overlay"})

MOUNTS = Path("/proc/self/mountinfo")
ESCAPED = re.compile(rb"\\([0-7]{3})")
"""How spaces and the like stand there."""

# LMDB 0.9's meta page (lmdb.h, mdb.c): a 16-byte page header, then magic, version, address, map size and two database
# records of 48 bytes, the first of which begins with the page size; then the last page in use and the transaction id.
META_HEADER = 16
META = Struct("<IIQQ48s48sQQ")
META_MAGIC = 0xBEEFC0DE
PAGE_SIZE = Struct("<I")
PAGES_TRIED = 1 << 16


def prepare_directory(directory: Path) -> int:
    """Makes the data directory and locks it for this process. Returns the lock's descriptor. Raises CannotOpen."""
    try:
        if directory.exists() and not directory.is_dir():
            raise CannotOpen(f"cannot use the data directory {directory}: it is a file; give a directory (--data-dir).")
        _create(directory)
        _check_owner(directory)
        lock = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as problem:
        raise CannotOpen(f"cannot use the data directory {directory}: {problem.strerror}.") from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(lock)
        raise CannotOpen(
            f"another broker is using the data directory {directory}; stop it, or choose another with --data-dir."
        ) from problem
    check_file_system(directory)
    return lock


def _create(directory: Path) -> None:
    """Creates missing directories and flushes their entries, so that a power cut cannot lose them."""
    missing = [p for p in (directory, *directory.parents) if not p.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        flush_directory(path.parent)


def _check_owner(directory: Path) -> None:
    """Refuses a directory in which anybody may put something in the place of ours, and what is in such a place.

    Only the data directory itself may be a link, to a disk of its own.
    """
    if directory.stat().st_mode & OTHERS_MAY_WRITE:
        raise CannotOpen(
            f"everybody may write in the data directory {directory}: take that away (chmod o-w), or choose another."
        )
    for name in (LOCK_FILE, DATA_FILE, READERS_FILE, CRASH_FILE):
        path = directory / name
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise CannotOpen(
                f"{path} is not a file but a link or the like, which is not followed: move the directory as a whole."
            )


def check_file_system(directory: Path) -> None:
    """Refuses network file systems and warns of those that do not last. Raises CannotOpen."""
    kind = file_system(directory)
    if kind in REMOTE:
        raise CannotOpen(f"{directory} is on {kind}, where a store cannot be kept safely; use a local disk.")
    if kind in VOLATILE:
        log.warning("%s is on %s: what is stored there does not survive the machine or container.", directory, kind)


def file_system(directory: Path) -> str:
    """The type of the file system a directory is on, or "" where the system does not say."""
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return ""
    path = os.fsencode(directory.resolve()) + b"/"
    best, kind = b"", b""
    for line in lines:
        left, _, right = line.partition(b" - ")
        mount = ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), left.split()[4])
        if path.startswith(mount.rstrip(b"/") + b"/") and len(mount) >= len(best):
            best, kind = mount, right.split()[0]
    return kind.decode()


def check_file(path: Path, advice: str = "restore a backup") -> None:
    """Refuses a data file that LMDB would open and then die of; runs before it is opened. Raises CannotOpen."""
    if not path.exists():
        return
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(2 * PAGES_TRIED)
    needed = _needed_bytes(start)
    if needed is None:
        raise CannotOpen(f"{path} is not a store of this version, or its first pages are damaged; {advice}.")
    if size < needed:
        raise CannotOpen(f"{path} is cut short: {size} bytes where {needed} are in use; {advice}.")


def check_after_crash(directory: Path) -> None:
    """Looks at all pages if the last broker here was killed from below, so that none dies of them again and again.

    Raises CannotOpen when they are damaged, as long as nothing is done about it.
    """
    crash, file = directory / CRASH_FILE, directory / DATA_FILE
    if not crash.exists() or not crash.stat().st_size or not file.exists():
        return
    if file.stat().st_size > MOST_CHECKED:
        word = crash.read_text(errors="replace")[-MOST_REPEATED:]
        log.warning("the last broker here crashed; should it happen again, run tqbroker verify. It left word: %s", word)
        os.truncate(crash, 0)
        return
    log.warning("the last broker here crashed, see %s: looking at the pages of its store", crash)
    if faults := page_faults(file):
        raise CannotOpen(
            f"{file} is damaged: {faults[0]}. The last broker here crashed of it. Say what else is wrong with "
            f"tqbroker verify {directory}; go back to a backup, or save what can be read with tqbroker export."
        )
    os.truncate(crash, 0)


def _needed_bytes(start: bytes) -> int | None:
    """The size that the newer of the two meta pages speaks of, or None if there is none."""
    first = _meta(start, 0)
    if first is None:
        return None
    page, last, txn = first
    second = _meta(start, page)
    if second is not None and second[2] > txn:
        _, last, _ = second
    return (last + 1) * page


def _meta(start: bytes, at: int) -> tuple[int, int, int] | None:
    try:
        magic, _, _, _, main, _, last, txn = META.unpack_from(start, at + META_HEADER)
    except error:
        return None
    page = PAGE_SIZE.unpack_from(main)[0]
    if magic != META_MAGIC or not 512 <= page <= PAGES_TRIED:
        return None
    return page, last, txn


def _look_for_leftovers(directory: Path) -> None:
    """Refuses to begin an empty store where one was to be restored; removes a compacted copy that is not used."""
    if os.path.lexists(directory / RESTORING) and not (directory / DATA_FILE).exists():
        raise CannotOpen(
            f"a restore or import into {directory} did not end: run `tqbroker restore` again, or the import, or remove"
            f" {RESTORING} there to begin with an empty store."
        )
    (directory / COMPACTING).unlink(missing_ok=True)


def open_environment(directory: Path, config: StorageConfig) -> lmdb.Environment:
    """Opens or creates the environment with every commit flushed. Raises CannotOpen."""
    path = directory / DATA_FILE
    _look_for_leftovers(directory)
    size = map_size(config)
    check_file(path)
    try:
        if not path.exists():
            _create_file(directory, path, size)
        return _open(path, size)
    except (lmdb.Error, OSError) as problem:
        raise CannotOpen(cannot_write(path, problem)) from problem


def map_size(config: StorageConfig) -> int:
    """Bytes of a store that can be mapped: at most half of the address space that this process may have (ulimit -v)."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return config.map_size if limit == resource.RLIM_INFINITY else min(config.map_size, limit // 2 // MIB * MIB)


def cannot_write(path: Path, problem: Exception) -> str:
    """Why the store there cannot be opened, in words."""
    if Fullness(path.parent).is_full(problem):
        return f"there is no room for {path}: a start has to write a little; make some room on its disk."
    return f"cannot open {path}: {problem}; tqbroker verify says whether it is damaged."


def _create_file(directory: Path, path: Path, size: int) -> None:
    """Makes an empty data file, under another name until it is whole: a power cut leaves all of it or none.

    LMDB writes the first pages of a file long before it flushes them, and opens no file of which only some are there.
    """
    new = directory / NEW_FILE
    new.unlink(missing_ok=True)
    env = _open(new, size, lock=False)
    with env.begin(write=True) as txn:
        meta = env.open_db(b"meta", txn=txn)
        txn.put(b"format", U64.pack(FORMAT_VERSION), db=meta)
        txn.put(b"store", uuid.uuid4().bytes, db=meta)
    env.close()
    new.replace(path)
    flush_directory(directory)


def _open(path: Path, size: int, *, lock: bool = True) -> lmdb.Environment:
    old_mask = os.umask(0o077)
    try:
        return lmdb.open(
            os.fsencode(path), subdir=False, map_size=size, max_dbs=len(DATABASES) + 5, max_readers=64, mode=0o600,
            sync=True, metasync=True, writemap=False, lib_version=0, lock=lock,
        )  # fmt: skip
    finally:
        os.umask(old_mask)


def check_format(env: lmdb.Environment) -> None:
    """Refuses an environment that is not a store of this version, before anything is written. Raises CannotOpen."""
    with env.begin() as txn:
        names = {name for name, _ in txn.cursor()}
        version = txn.get(b"format", db=env.open_db(b"meta", txn=txn, create=False)) if b"meta" in names else None
    if version is None:
        raise CannotOpen("the data file is a database, but no store of tqbroker: use another data directory.")
    number = int.from_bytes(version, "big")
    if number != FORMAT_VERSION:
        raise CannotOpen(
            f"the store has format {number}; this version reads format {FORMAT_VERSION} only. "
            "Use the version that wrote it, or take its jobs along: tqbroker export there, tqbroker import here."
        )


def begin_epoch(env: lmdb.Environment, now: Time) -> tuple[bytes, int]:
    """Raises the epoch, durably. Returns the store's id and the epoch."""
    with env.begin(write=True) as txn:
        meta = env.open_db(b"meta", txn=txn)
        stored = txn.get(b"epoch", db=meta)
        epoch = next_epoch(U64.unpack(stored)[0] if stored else 0, now.wall_ms)
        txn.put(b"epoch", U64.pack(epoch), db=meta)
        store = txn.get(b"store", db=meta)
    assert store is not None
    hit("at_open")
    return store, epoch
