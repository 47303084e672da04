"""A store is made as small as what is in it: the same store, whole, whatever happens meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.contracts.harness import EngineUnderTest

from tqbroker_broker.records import State
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.lmdb import replacing
from tqbroker_broker.storage.lmdb.opening import COMPACTING

MIB = 1 << 20


def silent(_: str) -> None:
    """Tells nobody."""


async def emptied(folder: Path) -> bytes:
    """A store from which nearly everything was dropped. Returns its id."""
    engine = EngineUnderTest("lmdb", folder)
    opened = await engine.open()
    names = [f"job{number}" for number in range(2000)]
    await engine.put(*names)
    await engine.join()
    for _ in range(20):
        tokens = await engine.take(slots=100)
        await engine.succeed("w", tokens.values(), result=b"x" * 4000)
    await engine.leave()
    await engine.forget(*names[1:])
    await engine.verbs.close()
    return opened.store


def refusal(directory: Path) -> str:
    """Why it is not compacted."""
    with pytest.raises(CannotOpen) as caught:
        replacing.compact(directory, silent)
    return str(caught.value)


async def test_a_store_becomes_small_and_stays_the_same(tmp_path: Path) -> None:
    store = await emptied(tmp_path)

    done = replacing.compact(tmp_path / "data", silent)

    file = tmp_path / "data" / "data.mdb"
    assert done.before > 8 * MIB > MIB > done.after == file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    engine = EngineUnderTest("lmdb", tmp_path)
    assert (await engine.open()).store == store
    assert (await engine.job("job0")).state is State.SUCCEEDED
    assert (await engine.job("job0")).result == b"x" * 4000
    await engine.verbs.close()
    assert sorted(os.listdir(tmp_path / "data")) == ["LOCK", "data.mdb", "data.mdb-lock"]


async def test_a_store_in_use_is_left_alone(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    assert "another broker is using" in refusal(tmp_path / "data")
    await engine.verbs.close()


async def test_a_directory_without_a_store_is_left_alone(tmp_path: Path) -> None:
    assert "there is no store" in refusal(tmp_path)
    assert os.listdir(tmp_path) == []


async def test_a_damaged_store_is_left_as_it_is(tmp_path: Path) -> None:
    await emptied(tmp_path)
    file = tmp_path / "data" / "data.mdb"
    content = file.read_bytes().replace(b"job0", b"jOb0")  # wherever it stands, in pages that are free too
    file.write_bytes(content)

    assert "has faults" in refusal(tmp_path / "data")
    assert file.read_bytes() == content


async def test_what_a_killed_run_has_left_goes_at_the_next_start(tmp_path: Path) -> None:
    await emptied(tmp_path)
    (tmp_path / "data" / COMPACTING).write_bytes(b"half")
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    assert (await engine.job("job0")).state is State.SUCCEEDED
    await engine.verbs.close()
    assert not (tmp_path / "data" / COMPACTING).exists()


async def test_without_room_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await emptied(tmp_path)
    monkeypatch.setattr(replacing, "SPARE", 1 << 60)
    assert "bytes free" in refusal(tmp_path / "data")
    assert not (tmp_path / "data" / COMPACTING).exists()
