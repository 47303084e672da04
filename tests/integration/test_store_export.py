"""`export` and `import`: all comes back; a line that is damaged or missing is said; half an import is no store."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import lmdb
import pytest
from click.testing import CliRunner, Result
from tests.contracts.harness import EngineUnderTest
from tests.proof.make_fixture import filled
from tests.proof.stores import faults_of

from tqbroker.cli import cli
from tqbroker_broker.records import State
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.exported import exported, imported
from tqbroker_broker.storage.lmdb import importing
from tqbroker_broker.storage.lmdb.exporting import export
from tqbroker_broker.storage.lmdb.verifying import verify
from tqbroker_broker.storage.report import Report

NOW_MS = 1_800_000_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with every kind of row."""
    return asyncio.run(filled(tmp_path_factory.mktemp("original")))


def lines_of(path: Path) -> list[bytes]:
    """The export of a store without damage."""
    out = io.BytesIO()
    assert export(path, out, pytest.fail).skipped == 0
    return out.getvalue().splitlines(keepends=True)


@pytest.fixture(scope="module")
def lines(store: Path) -> list[bytes]:
    return lines_of(store)


def put(directory: Path, lines: list[bytes]) -> Path:
    """A file of lines."""
    file = directory / "export.jsonl"
    file.write_bytes(b"".join(lines))
    return file


def run(*arguments: str | Path) -> Result:
    """A command of the shell."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_what_was_exported_comes_back_byte_for_byte_in_a_sound_store(tmp_path: Path, lines: list[bytes]) -> None:
    done = imported(put(tmp_path, lines), tmp_path / "data", NOW_MS)

    assert (done.rows, done.skipped, done.faults) == (len(lines) - 2, 0, [])
    assert faults_of(tmp_path / "data") == []
    again = lines_of(tmp_path / "data")
    assert [line for line in lines[1:-1] if b'"table":"workers"' not in line] == again[1:-1]


def test_an_imported_store_has_a_new_id_and_tokens_that_were_never_given(tmp_path: Path, lines: list[bytes]) -> None:
    done = imported(put(tmp_path, lines), tmp_path / "data", NOW_MS)
    before, after = json.loads(lines[0]), json.loads(lines_of(tmp_path / "data")[0])
    assert done.former == before["store"] != done.store == after["store"]
    assert after["epoch"] > before["epoch"]
    assert {**before, **after} == {
        **before,
        "store": after["store"],
        "epoch": after["epoch"],
        "tables": after["tables"],
    }


async def test_what_a_clock_that_was_put_forward_holds_back_comes_along(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.put("a", expires_ms=engine.later(1))
    engine.advance(1)
    for _ in range(2):
        engine.advance(2, wall=90_000)
        await engine.expire_all(10)
    await engine.verbs.close()
    header = json.loads(lines_of(tmp_path / "data")[0])
    imported(put(tmp_path, lines_of(tmp_path / "data")), tmp_path / "copy", NOW_MS)
    assert header["aging"][::2] == [89_998_000] * 2
    assert json.loads(lines_of(tmp_path / "copy")[0])["aging"] == header["aging"]


async def test_an_imported_store_serves(tmp_path: Path, lines: list[bytes]) -> None:
    imported(put(tmp_path, lines), tmp_path / "data", NOW_MS)
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.join()
    tokens = await engine.take()
    await engine.succeed("w", tokens.values())
    assert (await engine.job("queued")).state is State.SUCCEEDED
    assert (await engine.job("job3")).result.startswith(b"job3.")
    await engine.verbs.close()


def test_an_imported_store_is_looked_through_before_anybody_can_serve_it(
    tmp_path: Path, lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bool] = []

    def watched(path: Path) -> Report:
        looked.append((tmp_path / "data" / "data.mdb").exists())
        return verify(path)

    monkeypatch.setattr(importing, "verify", watched)
    imported(put(tmp_path, lines), tmp_path / "data", NOW_MS)
    assert looked == [False]


def test_an_import_goes_through_with_little_address_space(tmp_path: Path, lines: list[bytes]) -> None:
    file = put(tmp_path, lines)
    command = f"ulimit -v 4000000; {sys.executable} -m tqbroker import {file} --data-dir new"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_import_that_has_no_memory_is_refused_in_words(
    tmp_path: Path, lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise lmdb.MemoryError("mmap: Cannot allocate memory")

    monkeypatch.setattr(lmdb, "open", refuse)
    with pytest.raises(CannotOpen, match="Cannot allocate memory"):
        imported(put(tmp_path, lines), tmp_path / "data", NOW_MS)


Spoil = Callable[[list[bytes]], list[bytes]]


def with_epoch(lines: list[bytes], epoch: int) -> list[bytes]:
    return [json.dumps({**json.loads(lines[0]), "epoch": epoch}).encode() + b"\n", *lines[1:]]


SPOILED: dict[str, tuple[Spoil, str]] = {
    "cut in the middle": (lambda lines: lines[:100], "cut short: its last line is missing, after 98 rows"),
    "cut in a line": (lambda lines: [*lines[:-1], lines[-1][:20]], "cut short"),
    "a line is missing": (lambda lines: lines[:50] + lines[51:], "rows do not match its last line"),
    "a line was changed": (
        lambda lines: [line.replace(b'"tjob3"', b'"tjobs"') for line in lines], "rows do not match its last line"
    ),
    "a line is no JSON": (lambda lines: [*lines[:9], b"{nonsense\n", *lines[10:]], "line 10 is damaged: JSON"),
    "a line of another table": (
        lambda lines: [*lines[:9], b'{"table":"mine","key":1}\n', *lines[10:]], "line 10 is damaged: there is no table"
    ),
    "a field nobody knows": (
        lambda lines: [*lines[:9], lines[9].replace(b'"row":{', b'"row":{"x":1,'), *lines[10:]], "no field 'x'"
    ),
    "another form": (
        lambda lines: [lines[0].replace(b'"tqbroker_export":1', b'"tqbroker_export":9'), *lines[1:]], "in form 9"
    ),
    "a later format": (lambda lines: [lines[0].replace(b'"format":1', b'"format":8'), *lines[1:]], "of format 8"),
    "an epoch below all": (lambda lines: with_epoch(lines, -1), "line 1: the epoch is -1, which no store has"),
    "an epoch without room for tokens": (lambda lines: with_epoch(lines, 7767 << 20), "which no store has"),
    "something else": (lambda lines: [b"hello\n"], "line 1: this is not an export of tqbroker"),
    "nothing": (lambda lines: [], "line 1: this is not an export of tqbroker"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_an_export_that_is_not_as_it_was_written_is_refused_and_leaves_no_store(
    tmp_path: Path, lines: list[bytes], name: str
) -> None:
    spoil, words = SPOILED[name]
    done = run("import", put(tmp_path, spoil(lines)), "--data-dir", tmp_path / "data")
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert not (tmp_path / "data" / "data.mdb").exists()
    again = run("import", put(tmp_path, lines), "--data-dir", tmp_path / "data")
    assert again.exit_code == 0, again.output


def test_an_import_takes_no_more_memory_for_large_rows_than_for_some_of_them(
    tmp_path: Path, lines: list[bytes]
) -> None:
    size, rows = 1 << 20, 128
    line = b'{"table":"workers","key":"w%05d","row":"' + b"x" * size + b'"}\n'
    all_lines = [line % number for number in range(rows)]
    digest = hashlib.sha256(b"".join(all_lines)).hexdigest()
    trailer = json.dumps({"rows": rows, "skipped": 0, "sha256": digest}).encode()
    file = put(tmp_path, [lines[0], *all_lines, trailer])
    all_lines.clear()
    tracemalloc.start()
    try:
        assert imported(file, tmp_path / "data", NOW_MS).rows == rows
        assert tracemalloc.get_traced_memory()[1] < rows * size / 3
    finally:
        tracemalloc.stop()


def damaged_meta(store: Path, target: Path, name: bytes, row: bytes) -> Path:
    """A copy of a store whose own row of this name is another."""
    shutil.copyfile(store, target)
    env = lmdb.open(str(target), subdir=False, max_dbs=64, lock=False, map_size=1 << 28)
    with env, env.begin(write=True) as txn:
        txn.put(name, row, db=env.open_db(b"meta", txn=txn))
    return target


@pytest.mark.parametrize(("name", "row"), [(b"epoch", b"\xff" * 8), (b"epoch", b"\x01" * 20), (b"aging", b"1")])
def test_a_store_whose_own_numbers_are_damaged_is_exported_without_them(
    tmp_path: Path, store: Path, name: bytes, row: bytes
) -> None:
    damaged = damaged_meta(store, tmp_path / "damaged.mdb", name, row)
    assert len(faults_of(damaged)) == 1
    done = run("export", damaged, "-o", tmp_path / "export.jsonl")
    assert done.exit_code == 1, done.output
    back = run("import", tmp_path / "export.jsonl", "--data-dir", tmp_path / "data")
    assert back.exit_code == 1, back.output
    assert faults_of(tmp_path / "data") == []


def test_nothing_is_imported_over_a_store(tmp_path: Path, lines: list[bytes]) -> None:
    file = put(tmp_path, lines)
    imported(file, tmp_path / "data", NOW_MS)
    before = (tmp_path / "data" / "data.mdb").read_bytes()
    with pytest.raises(CannotOpen, match="there is a store in"):
        imported(file, tmp_path / "data", NOW_MS)
    assert (tmp_path / "data" / "data.mdb").read_bytes() == before


async def test_of_a_running_broker_a_backup_is_exported(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    done = run("export", tmp_path / "data", "-o", tmp_path / "export.jsonl")
    assert done.exit_code == 2
    assert "take a backup of it (tqbroker backup)" in done.output
    await engine.verbs.close()


def flipped(store: Path, target: Path, *parts: bytes) -> Path:
    """A copy of a store with a bit of each of these texts flipped."""
    content = store.read_bytes()
    for part in parts:
        assert content.count(part) == 1
        content = content.replace(part, bytes([part[0] ^ 1]) + part[1:])
    target.write_bytes(content)
    return target


def test_what_cannot_be_read_is_left_out_and_named_and_all_else_is_saved(tmp_path: Path, store: Path) -> None:
    damaged = flipped(store, tmp_path / "damaged.mdb", b"job3......", b"turgent" + b"urgent")
    done = run("export", damaged, "-o", tmp_path / "export.jsonl")
    assert done.exit_code == 1
    assert "jobs: the row" in done.output
    assert "final: the row" in done.output

    back = run("import", tmp_path / "export.jsonl", "--data-dir", tmp_path / "data")

    assert back.exit_code == 1
    assert "rows that could not be read when it was exported" in back.output
    saved = asyncio.run(_saved(tmp_path))
    assert saved["urgent"] is State.UNKNOWN
    assert saved["queued"] is State.QUEUED
    assert saved["job4"] is State.SUCCEEDED


async def _saved(directory: Path) -> dict[str, State]:
    engine = EngineUnderTest("lmdb", directory)
    await engine.open()
    found = {name: (await engine.job(name)).state for name in ("urgent", "queued", "job4")}
    await engine.verbs.close()
    return found


def test_a_file_that_kills_its_reader_is_said_and_no_export_has_its_name(tmp_path: Path, store: Path) -> None:
    cut = tmp_path / "cut.mdb"
    shutil.copyfile(store, cut)
    os.truncate(cut, cut.stat().st_size // 2)
    done = run("export", cut, "-o", tmp_path / "export.jsonl")
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert "pages: " in done.output
    assert "what could be read is in" in done.output
    assert not (tmp_path / "export.jsonl").exists()


def test_what_could_be_read_of_a_store_is_on_the_disk_and_stays_when_the_command_is_given_again(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "export.jsonl.partial"
    flushed: list[int] = []
    fsync = os.fsync

    def noted(file: int) -> None:
        flushed.append(os.fstat(file).st_ino)
        fsync(file)

    def ended(_: Path, out: BinaryIO, __: object) -> None:
        out.write(b"all that there is")

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr("tqbroker_broker.cli_export.exported", ended)
    assert run("export", store, "-o", tmp_path / "export.jsonl").exit_code == 2
    assert saved.stat().st_ino in flushed

    again = run("export", store, "-o", tmp_path / "export.jsonl")

    assert again.exit_code == 2
    assert f"{saved} is there, of an export that did not come to its end: move it away" in again.output
    assert saved.read_bytes() == b"all that there is"


def test_a_file_of_somebody_else_is_no_export_and_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "poem").write_text("no store")
    done = run("export", tmp_path / "poem", "-o", tmp_path / "export.jsonl")
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert "Give a data directory, or a backup file" in done.output
    assert not list(tmp_path.glob("export*"))


def test_an_export_goes_through_a_pipe_into_an_import(tmp_path: Path, store: Path, lines: list[bytes]) -> None:
    command = f"{sys.executable} -m tqbroker export {store} -o - | {sys.executable} -m tqbroker import - --data-dir new"
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, cwd=tmp_path, timeout=60)
    again = lines_of(tmp_path / "new")
    assert [line for line in lines[1:-1] if b'"table":"workers"' not in line] == again[1:-1]


def test_an_export_that_is_interrupted_leaves_nothing_and_has_no_verdict(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tqbroker_broker.cli_export.exported", interrupted)
    done = run("export", store, "-o", tmp_path / "export.jsonl")
    assert done.exit_code == 130
    assert "tqbroker export: interrupted before its end" in done.output
    assert not list(tmp_path.iterdir())


def test_names_that_the_system_refuses_are_said_in_words(tmp_path: Path, store: Path, lines: list[bytes]) -> None:
    refused = tmp_path / ("n" * 300)
    for done in (
        run("export", store, "-o", refused),
        run("import", put(tmp_path, lines), "--data-dir", refused),
        run("restore", store, "--data-dir", refused),
    ):
        assert isinstance(done.exception, SystemExit)
        assert "File name too long" in done.output


def test_the_words_of_verify(tmp_path: Path, store: Path) -> None:
    sound = run("verify", store)
    assert sound.exit_code == 0
    assert "sound. Format 1, store " in sound.output
    assert json.loads(run("verify", store, "--json").output)["tables"]["jobs"] == 90

    damaged = flipped(store, tmp_path / "damaged.mdb", b"job3......")
    found = run("verify", damaged)
    assert found.exit_code == 1
    assert "1 fault:" in found.output
    assert "does not match its checksum" in found.output
    assert "tqbroker restore" in found.output
    assert run("verify", tmp_path / "nothing").exit_code == 2

    (tmp_path / "poem").write_text("no store")
    other = run("verify", tmp_path / "poem")
    assert other.exit_code == 1
    assert "give a data directory or a backup file" in other.output
    assert "tqbroker export" not in other.output, "nothing can be saved of it"


def test_an_export_to_a_name_that_is_taken_is_refused(tmp_path: Path, store: Path) -> None:
    (tmp_path / "export.jsonl").write_text("mine")
    done = run("export", store, "-o", tmp_path / "export.jsonl")
    assert done.exit_code == 2
    assert (tmp_path / "export.jsonl").read_text() == "mine"


def test_an_export_by_another_process_is_the_same(tmp_path: Path, store: Path, lines: list[bytes]) -> None:
    with (tmp_path / "export.jsonl").open("wb") as out:
        assert exported(store, out, pytest.fail) is not None
    assert (tmp_path / "export.jsonl").read_bytes() == b"".join(lines)


def test_a_store_is_named_by_an_argument_or_by_the_option_of_serve_but_not_by_both(tmp_path: Path, store: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copyfile(store, data / "data.mdb")
    to_file: list[str | Path] = ["-o", tmp_path / "export.jsonl"]
    for command, more in (("verify", []), ("compact", []), ("export", to_file)):
        assert run(command, data, *more).exit_code == 0
        (tmp_path / "export.jsonl").unlink(missing_ok=True)
        assert run(command, "--data-dir", data, *more).exit_code == 0
        both = run(command, data, "--data-dir", data)
        assert both.exit_code == 2
        assert "give one of them" in both.output


def test_an_import_is_told_to_programs_too(tmp_path: Path, lines: list[bytes]) -> None:
    done = run("import", put(tmp_path, lines), "--data-dir", tmp_path / "data", "--json")
    assert done.exit_code == 0
    told = json.loads(done.output)
    assert (told["rows"], told["skipped"], told["data_dir"]) == (len(lines) - 2, 0, str(tmp_path / "data"))


def test_a_data_directory_that_is_a_file_is_refused_by_that_name(tmp_path: Path, lines: list[bytes]) -> None:
    (tmp_path / "file").touch()
    done = run("import", put(tmp_path, lines), "--data-dir", tmp_path / "file")
    assert done.exit_code == 2
    assert f"{tmp_path / 'file'}: it is a file; give a directory" in done.output
