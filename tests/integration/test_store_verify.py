"""`verify`: sound stores are sound, and each thing that can be wrong is said in words."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from tests.contracts.harness import CONFIG, EngineUnderTest
from tests.contracts.workflows import Workflow, submit, take_tokens
from tests.mutants.catching import catches
from tests.mutants.registry import planted
from tests.proof.everything import fill
from tests.proof.stores import faults_of

from tqbroker_broker.attempts import Verdict
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.lmdb.keys import DATABASES, NEXT_EVENT, NEXT_SEQ, REMEMBERED, U64
from tqbroker_broker.storage.lmdb.verifying import snapshot, verify
from tqbroker_broker.storage.verified import verified

Change = Callable[["Rows"], object]


class Rows:
    """The rows of a store, to be changed behind its back."""

    def __init__(self, file: Path) -> None:
        self._env = lmdb.open(str(file), subdir=False, max_dbs=64, map_size=CONFIG.map_size, sync=False)

    def change(self, change: Change) -> None:
        """Does one thing."""
        change(self)
        self._env.close()

    def drop(self, database: str, number: int = 0) -> None:
        """Removes a row: the first one, the one with this index, or with -1 the last one."""
        with self._env.begin(write=True) as txn:
            cursor = txn.cursor(self._env.open_db(database.encode(), txn=txn))
            assert cursor.last() if number < 0 else cursor.first()
            for _ in range(number):
                assert cursor.next()
            cursor.delete()

    def put(self, database: str, key: bytes, row: bytes) -> None:
        """Adds or changes a row."""
        with self._env.begin(write=True) as txn:
            txn.put(key, row, db=self._env.open_db(database.encode(), txn=txn))

    def flip(self, database: str) -> None:
        """Flips a bit at the end of the first row."""
        with self._env.begin(write=True) as txn:
            cursor = txn.cursor(self._env.open_db(database.encode(), txn=txn))
            cursor.first()
            key, row = cursor.item()
            txn.put(key, row[:-1] + bytes([row[-1] ^ 1]), db=self._env.open_db(database.encode(), txn=txn))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a store with a little of much."""
    return asyncio.run(filled(tmp_path_factory.mktemp("original")))


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(original, tmp_path / "data")


async def filled(directory: Path) -> Path:
    """Fills a store. Returns its data directory."""
    engine = EngineUnderTest("lmdb", directory)
    await engine.open()
    await engine.put("late", due_ms=engine.later(60), expires_ms=engine.later(600))
    await engine.put("done", "failed", "waits")
    tokens = await take_tokens(engine)
    await engine.annotate("w", tokens["done"], checkpoint=b"12")
    await engine.succeed("w", [tokens["done"]])
    await engine.end("w", tokens["failed"], Verdict.FAILED)
    await submit(engine, Workflow().chord("a", "b", body="body"))
    await engine.succeed("w", [(await take_tokens(engine))["a"]])
    await engine.verbs.close()
    return directory / "data"


def test_a_store_with_a_little_of_much_is_sound(store: Path) -> None:
    report = verified(store)

    assert report.faults == []
    assert report.sound
    assert report.format == 1
    assert len(report.store) == 32
    assert set(report.tables) == set(DATABASES)
    assert report.tables["jobs"] == 7


def counter(key: bytes, number: int) -> Change:
    return lambda rows: rows.put("counts", key, U64.pack(number))


def both(one: Change, other: Change) -> Change:
    def change(rows: Rows) -> None:
        one(rows)
        other(rows)

    return change


WRONG: dict[str, tuple[Change, str]] = {
    "a job that does not match its checksum": (lambda rows: rows.flip("jobs"), "does not match its checksum"),
    "a result that does not": (lambda rows: rows.flip("final"), "does not match its checksum"),
    "an id without its job": (lambda rows: rows.drop("jobs"), "leads to job number"),
    "a job without its id": (lambda rows: rows.drop("ids"), "cannot be found under its id"),
    "a job that stands nowhere": (lambda rows: rows.drop("lanes"), "stands nowhere"),
    "a scheduled job that is not due": (lambda rows: rows.drop("delayed"), "stands nowhere"),
    "a dead letter that is not listed": (lambda rows: rows.drop("dead"), "the list of dead letters says otherwise"),
    "a place of a job that has ended": (
        lambda rows: rows.put("lanes", U64.pack(2) + U64.pack(4), U64.pack(4) + b"\x00"), "which has ended"
    ),
    "a place of no job": (lambda rows: rows.put("delayed", U64.pack(9) + U64.pack(99), b""), "which is not there"),
    "a job that came into its lane and is scheduled still": (
        both(
            lambda rows: rows.put("lanes", U64.pack(2) + U64.pack(1), U64.pack(1) + b"\x00"),
            lambda rows: rows.put("counts", b"default", b"\x97\x03\x00\x02\x01\x00\x00\x01"),
        ),
        "seq 1 is of a job that stands in its lane already",
    ),
    "a place of a job that waits for others": (
        lambda rows: rows.put("lanes", U64.pack(2) + U64.pack(12), U64.pack(12) + b"\x00"), "which waits for others"
    ),
    "a note that is missing": (lambda rows: rows.drop("notes"), "its note"),
    "an attempt that is missing": (lambda rows: rows.drop("attempts"), "earlier attempts"),
    "progress that is missing": (lambda rows: rows.drop("progress"), "its note and the table of progress"),
    "counts that drift": (
        lambda rows: rows.put("counts", b"default", b"\x97\x01\x01\x01\x01\x00\x00\x02"), "counts of queue default"
    ),
    "numbers that come twice": (counter(NEXT_SEQ, 3), "was not given out yet"),
    "events that are missing": (lambda rows: rows.drop("events", 1), "are missing"),
    "an event that comes twice": (counter(NEXT_EVENT, 2), "the next event would be number 2"),
    "remembered ids that are not": (counter(REMEMBERED, 5), "are counted"),
    "a finished job that would stay": (lambda rows: rows.drop("agenda", 0), "it is not on the agenda"),
    "a job that would not expire": (lambda rows: rows.drop("agenda", -1), "would never expire"),
    "a workflow that cannot be found": (lambda rows: rows.drop("workflow_ids"), "cannot be found under its id"),
    "a workflow that is missing": (lambda rows: rows.drop("workflows"), "which is not there"),
    "a part that is missing": (lambda rows: rows.drop("parts"), "has 0 parts"),
    "a place that is missing": (lambda rows: rows.drop("nodes"), "on whether it is in a workflow"),
    "a join that is missing": (lambda rows: rows.drop("joins"), "which is not there"),
    "members that are missing": (lambda rows: rows.drop("members"), "does not have job number"),
    "an end that has not counted": (lambda rows: rows.drop("counted"), "has not counted"),
    "a follower nobody calls": (lambda rows: rows.drop("followers"), "it would never go on"),
    "a lane that is missing": (lambda rows: rows.drop("names"), "stands nowhere"),
    "a table of somebody else": (lambda rows: rows.put("theirs", b"a", b"b"), "that no store has"),
    "another format": (lambda rows: rows.put("meta", b"format", U64.pack(99)), "the store has format 99"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(store: Path, name: str) -> None:
    change, words = WRONG[name]
    Rows(store / "data.mdb").change(change)

    faults = faults_of(store)

    assert any(words in fault for fault in faults), faults


async def test_a_store_that_a_broker_has_open_is_refused_and_its_copy_is_not(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.put("a")
    for path in (tmp_path / "data", tmp_path / "data" / "data.mdb"):
        with pytest.raises(CannotOpen, match="a broker is using"):
            verified(path)
    copy = tmp_path / "copy.mdb"
    copy.write_bytes((tmp_path / "data" / "data.mdb").read_bytes())
    assert verified(copy).sound
    await engine.verbs.close()


def test_nothing_is_changed_by_a_look(store: Path) -> None:
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    verified(store)
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before


def test_where_there_is_no_store_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="there is no store at"):
        verified(tmp_path)


@pytest.mark.parametrize("left", [0.9, 0.5, 0.1])
def test_a_file_cut_short_is_said(store: Path, left: float) -> None:
    file = store / "data.mdb"
    with file.open("r+b") as data:
        data.truncate(int(file.stat().st_size * left))
    assert any("page" in fault for fault in verified(store).faults)


def test_a_file_of_somebody_else_is_said(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"something else entirely" * 1000)
    assert verified(tmp_path).faults == [
        "the file is not a store: it does not begin as one, or its first page is damaged"
    ]
    other = lmdb.open(str(tmp_path / "other.mdb"), subdir=False)
    other.close()
    assert verified(tmp_path / "other.mdb").faults == [
        "this is not a store of tqbroker: it does not say which format it has"
    ]


def read_by(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads does this instead."""
    program = folder / "reader"
    program.write_text(f"#!/bin/sh\nulimit -c 0\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize("name", ["SEGV", "BUS", "ABRT"])
def test_what_ends_its_reader_by_what_is_in_it_is_a_fault(
    store: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_by(f"kill -{name} $$", tmp_path, monkeypatch)
    assert verified(store).faults == [
        f"the process that reads it was ended by SIG{name} when it had come to its first pages: "
        "the file cannot be read any further"
    ]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -KILL $$", "ended by SIGKILL"),
        ("kill -TERM $$", "ended by SIGTERM"),
        ("exit 3", "ended by exit code 3"),
        ("exec sleep 60", "said nothing for 0 seconds"),
    ],
)
def test_what_happens_to_the_reader_is_no_fault_of_the_store(
    store: Path, tmp_path: Path, script: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_by(script, tmp_path, monkeypatch)
    monkeypatch.setattr("tqbroker_broker.storage.verified.SILENCE", 0.2 if "sleep" in script else 60.0)
    with pytest.raises(CannotOpen, match=f"could not be looked through: the process that reads it .*{words}"):
        verified(store)


def test_no_memory_to_read_a_store_is_no_fault_of_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise lmdb.MemoryError("mmap: Cannot allocate memory")

    monkeypatch.setattr(lmdb, "open", refuse)
    with pytest.raises(CannotOpen, match="there is no memory for it"):
        verify(store)


def test_a_store_under_a_name_that_is_not_text_is_read_too(store: Path, tmp_path: Path) -> None:
    strange = shutil.copytree(store, tmp_path / os.fsdecode(b"d\xff"))
    report = verified(strange)
    assert report.faults == []
    assert report.path == str(tmp_path / "d?")
    with pytest.raises(CannotOpen, match="there is no store at"):
        verified(tmp_path / os.fsdecode(b"e\xff"))


def test_a_sign_of_life_comes_by_the_clock_and_not_by_the_row(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    begun = time.monotonic()
    verify(store, told.append)
    assert len(told) <= 2 + time.monotonic() - begun, told
    monkeypatch.setattr(snapshot, "WORD_EVERY", 0.0)
    monkeypatch.setattr(snapshot, "ROWS_A_LOOK", 1)
    told.clear()
    verify(store, told.append)
    assert "table jobs at row 6" in told


@catches("count_drifts", "index_left_behind")
async def test_bugs_of_the_engine_are_seen_in_its_store(tmp_path: Path, mutant: str) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    with planted(mutant):
        await fill(engine)
        await engine.verbs.close()
    words = {"count_drifts": "the counts of queue default are", "index_left_behind": "which has ended"}
    assert any(words[mutant] in fault for fault in faults_of(tmp_path / "data"))


async def test_a_store_with_every_kind_of_row_is_sound(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await fill(engine)
    await engine.verbs.close()
    report = verified(tmp_path / "data")
    assert report.faults == []
    assert [name for name, rows in report.tables.items() if not rows] == []
