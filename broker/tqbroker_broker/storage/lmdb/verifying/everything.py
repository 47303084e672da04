"""What is looked at of a store, in which order."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from tqbroker_broker.lifecycle import is_epoch
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.lmdb.keys import DATABASES, FORMAT_VERSION, HELD_BACK, PAIR, U64
from tqbroker_broker.storage.lmdb.opening import DATA_FILE, LOCK_FILE
from tqbroker_broker.storage.lmdb.pages import page_faults
from tqbroker_broker.storage.lmdb.verifying.jobs import Jobs
from tqbroker_broker.storage.lmdb.verifying.joins import check_joins
from tqbroker_broker.storage.lmdb.verifying.look import Look
from tqbroker_broker.storage.lmdb.verifying.names import (
    check_counts,
    check_events,
    check_ids,
    check_others,
    check_uniques,
)
from tqbroker_broker.storage.lmdb.verifying.nodes import check_nodes
from tqbroker_broker.storage.lmdb.verifying.places import check_places, lanes
from tqbroker_broker.storage.lmdb.verifying.plans import Plans
from tqbroker_broker.storage.lmdb.verifying.snapshot import Snapshot
from tqbroker_broker.storage.lmdb.verifying.workflows import check_workflows
from tqbroker_broker.storage.report import Report, path_text


def silent(at: str) -> None:
    """Tells nobody how far it is."""


def verify(path: Path, tell: Callable[[str], None] = silent) -> Report:
    """Reads everything of a store that no broker has open: a data directory, or a file like a backup.

    Nothing is changed. `tell` hears what is being read. Of a damaged file this process may die: whoever does not know
    the file calls `verified`, which has another process read it. Raises CannotOpen when there is nothing to read, or a
    broker has it.
    """
    file = data_file(path)
    report = Report(path_text(path))
    with unused(file):
        tell("the pages")
        for fault in page_faults(file):
            report.add(fault)
        if report.sound:
            _check_rows(file, report, tell)
    return report


def data_file(path: Path) -> Path:
    """The file of a store. Raises CannotOpen when there is none."""
    file = path / DATA_FILE if path.is_dir() else path
    if not file.is_file():
        raise CannotOpen(f"there is no store at {path}: give a data directory with a {DATA_FILE}, or a backup file")
    if not os.access(file, os.R_OK):
        raise CannotOpen(f"{file} may not be read by this user")
    return file


@contextmanager
def unused(file: Path) -> Iterator[None]:
    """Keeps brokers away from the data directory that a file is in. Raises CannotOpen when one has it."""
    lock = file.parent / LOCK_FILE
    if file.name != DATA_FILE or not lock.exists():  # a file somewhere else: nobody serves from there
        yield
        return
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as problem:
        raise CannotOpen(f"{lock} cannot be opened: {problem.strerror}") from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CannotOpen(
            f"a broker is using {file.parent}: stop it first, or take a backup of it (tqbroker backup) and give that"
        ) from None
    finally:
        os.close(descriptor)


def _check_rows(file: Path, report: Report, tell: Callable[[str], None]) -> None:
    """The rows of a file with sound pages."""
    try:
        snapshot = Snapshot(file, tell)
    except lmdb.MemoryError as problem:
        raise CannotOpen(f"{file} could not be looked through: there is no memory for it ({problem})") from problem
    except lmdb.Error as problem:
        report.add(f"LMDB cannot open the file: {problem}")
        return
    try:
        if _is_ours(snapshot, report):
            report.tables = {name: snapshot.size(name) for name in DATABASES}
            _check_tables(Look(snapshot, report))
    except lmdb.Error as problem:
        report.add(f"LMDB cannot read the file any further: {problem}")
    finally:
        snapshot.close()


def _is_ours(snapshot: Snapshot, report: Report) -> bool:
    """Whether this is a store of a format that is known here."""
    row = snapshot.get("meta", b"format")
    if row is None:
        report.add("this is not a store of tqbroker: it does not say which format it has")
        return False
    report.format = int.from_bytes(row, "big")
    if report.format != FORMAT_VERSION:
        report.add(f"the store has format {report.format}; this version reads format {FORMAT_VERSION} only")
        return False
    store, epoch = snapshot.get("meta", b"store"), snapshot.get("meta", b"epoch")
    report.store = (store or b"").hex()
    if store is None or len(store) != 16:
        report.add("the store has no id")
    if epoch is not None and len(epoch) != U64.size:
        report.add("the epoch of the store cannot be read")
    elif epoch is not None and not is_epoch(U64.unpack(epoch)[0]):
        report.add(f"the epoch of the store is {U64.unpack(epoch)[0]}, which leaves no room for tokens")
    held = snapshot.get("meta", HELD_BACK)
    if held is not None and len(held) % PAIR.size:
        report.add("what results and ids are held back by cannot be read")
    for name in snapshot.names():
        if name.decode(errors="replace") not in DATABASES:
            report.add(f"there is a table {name!r} that no store has")
    return True


def _check_tables(look: Look) -> None:
    plans = Plans(look)
    plans.read()
    numbers = lanes(look)
    jobs = Jobs(look, plans, numbers)
    jobs.walk()
    check_places(look, numbers, jobs)
    check_ids(look)
    check_uniques(look, plans)
    check_counts(look, jobs)
    check_events(look)
    check_others(look, plans)
    check_workflows(look, plans)
    check_nodes(look)
    check_joins(look, plans)
