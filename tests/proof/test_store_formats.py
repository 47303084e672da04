"""Stores of every format that was ever released are opened, or refused in words, and never changed by a refusal."""

from __future__ import annotations

import io
import json
import lzma
import re
from collections import Counter
from pathlib import Path

import lmdb
import pytest
from tests.contracts.harness import EngineUnderTest
from tests.contracts.workflows import take_tokens
from tests.mutants.catching import catches
from tests.mutants.registry import planted
from tests.proof.make_fixture import FIXTURES

from tqbroker_broker.records import State
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.lmdb.exporting import export
from tqbroker_broker.storage.lmdb.keys import FORMAT_VERSION, U64
from tqbroker_broker.storage.verified import verified

FORMATS = sorted(int(re.sub(r"\D", "", path.name)) for path in FIXTURES.glob("*.store.xz"))

pytestmark = pytest.mark.proof("T28")


def unpacked(number: int, directory: Path) -> Path:
    """The store of a format as a data directory."""
    data = directory / "data"
    data.mkdir()
    (data / "data.mdb").write_bytes(lzma.decompress((FIXTURES / f"format{number}.store.xz").read_bytes()))
    return data


def lines_of(number: int) -> list[bytes]:
    """The lines of its export."""
    return lzma.decompress((FIXTURES / f"format{number}.export.xz").read_bytes()).splitlines()


def test_the_format_of_this_version_has_its_fixture() -> None:
    assert FORMAT_VERSION in FORMATS


@pytest.mark.parametrize("number", FORMATS)
def test_a_store_of_a_release_is_sound_and_exports_as_it_did(tmp_path: Path, number: int, counts: Counter[str]) -> None:
    data = unpacked(number, tmp_path)

    assert verified(data).faults == []
    out = io.BytesIO()
    done = export(data, out, pytest.fail)

    counts["rows"] += done.rows
    assert out.getvalue().splitlines()[1:] == lines_of(number)[1:]


@pytest.mark.parametrize("number", FORMATS)
async def test_a_store_of_a_release_serves_its_jobs(tmp_path: Path, number: int, counts: Counter[str]) -> None:
    unpacked(number, tmp_path)
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    rows = [json.loads(line) for line in lines_of(number)[1:-1]]
    names = {row["key"]: row["row"]["id"][1:] for row in rows if row["table"] == "jobs"}
    for row in (row for row in rows if row["table"] == "final"):
        job = await engine.job(names[row["key"]])
        assert job.state.name == row["row"]["final"]["state"]
        assert job.result.decode() == row["row"]["final"].get("value", "")
        counts["jobs"] += 1

    engine.advance(60)
    await engine.expire_all(100)
    tokens = await take_tokens(engine)
    assert {"queued", "urgent", "checked"} <= set(tokens)
    await engine.succeed("w", tokens.values())
    assert (await engine.job("queued")).state is State.SUCCEEDED
    assert [each.schedule.name for each in engine.verbs.schedules()] == ["night", "tick"]
    assert (await engine.verbs.events(0, 10)).events
    await engine.verbs.close()


@pytest.mark.parametrize("number", [0, FORMAT_VERSION + 1, 1 << 40])
async def test_a_store_of_another_format_is_refused_in_words_and_left_as_it_is(tmp_path: Path, number: int) -> None:
    await refused(tmp_path, number)


@catches("format_not_checked")
async def test_a_store_of_another_format_shows_that_nobody_looks_at_it(tmp_path: Path, mutant: str) -> None:
    with planted(mutant), pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await refused(tmp_path, FORMAT_VERSION + 1)


async def refused(tmp_path: Path, number: int) -> None:
    """A store whose format has this number is refused by everybody, and nothing in it changes."""
    data = unpacked(FORMAT_VERSION, tmp_path)
    file = data / "data.mdb"
    env = lmdb.open(str(file), subdir=False, max_dbs=64, lock=False, map_size=1 << 28)
    with env.begin(write=True) as txn:
        txn.put(b"format", U64.pack(number), db=env.open_db(b"meta", txn=txn))
    env.close()
    before = file.read_bytes()
    words = f"the store has format {number}; this version reads format {FORMAT_VERSION} only"

    with pytest.raises(CannotOpen, match=words):
        await EngineUnderTest("lmdb", tmp_path).open()
    with pytest.raises(CannotOpen, match=words):
        export(data, io.BytesIO(), pytest.fail)
    assert any(words in fault for fault in verified(data).faults)
    assert file.read_bytes() == before
