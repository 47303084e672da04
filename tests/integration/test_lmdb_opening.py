"""What the LMDB engine checks before it serves: the directory, the file, the format, the epoch."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import lmdb
import pytest
from tests.contracts.harness import CONFIG, EngineUnderTest

from tqbroker_broker.config import StorageConfig
from tqbroker_broker.records import Time
from tqbroker_broker.storage import CannotOpen, create_engine
from tqbroker_broker.storage.lmdb import opening
from tqbroker_broker.storage.lmdb.keys import U64

NOW = Time(1_800_000_000_000, 1000.0)


async def filled(directory: Path, jobs: int = 2000) -> Path:
    """A store with some jobs in it, closed. Returns its data file."""
    engine = EngineUnderTest("lmdb", directory)
    await engine.open()
    await engine.put(*(f"job{i}" for i in range(jobs)))
    await engine.verbs.close()
    return directory / "data" / "data.mdb"


async def refusal(directory: Path, config: StorageConfig = CONFIG) -> str:
    """Why the store in this directory is not opened."""
    with pytest.raises(CannotOpen) as caught:
        await create_engine(f"lmdb:{directory}", config).open(NOW)
    return str(caught.value)


async def test_a_new_store_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = await filled(tmp_path / "deep" / "er")
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_directory_in_use_is_refused_with_one_sentence(tmp_path: Path) -> None:
    first = EngineUnderTest("lmdb", tmp_path)
    await first.open()
    assert "another broker is using the data directory" in await refusal(tmp_path / "data")
    await first.verbs.close()


async def test_a_directory_is_free_again_after_a_refused_open(tmp_path: Path) -> None:
    file = await filled(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(b"\x00" * 8192)
    assert "not a store" in await refusal(file.parent)
    file.write_bytes(whole)
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    assert (await engine.job("job7")).args
    await engine.verbs.close()


@pytest.mark.parametrize("left", [0.9, 0.5, 0.1])
async def test_a_file_cut_short_is_refused_instead_of_killing_the_broker(tmp_path: Path, left: float) -> None:
    file = await filled(tmp_path)
    with file.open("r+b") as data:
        data.truncate(int(file.stat().st_size * left))
    assert "is cut short" in await refusal(file.parent)


async def test_an_emptied_file_is_refused_instead_of_taken_for_a_new_store(tmp_path: Path) -> None:
    file = await filled(tmp_path)
    file.write_bytes(b"")
    assert "not a store" in await refusal(file.parent)


async def test_what_a_power_cut_has_left_of_a_new_store_is_made_anew(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "data.new").write_bytes(b"\x00" * 5000)
    await filled(tmp_path, jobs=1)
    assert not (directory / "data.new").exists()


async def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "data.mdb").write_bytes(b"something else entirely" * 1000)
    assert "is not a store of this version" in await refusal(directory)


async def test_a_store_of_another_format_is_refused_and_named(tmp_path: Path) -> None:
    file = await filled(tmp_path)
    env = lmdb.open(str(file), subdir=False, max_dbs=16)
    with env.begin(write=True) as txn:
        txn.put(b"format", U64.pack(99), db=env.open_db(b"meta", txn=txn))
    env.close()
    assert "the store has format 99" in await refusal(file.parent)


async def test_a_refused_store_is_left_as_it_is(tmp_path: Path) -> None:
    """Whether it is of a version to come, or not of tqbroker at all."""
    (tmp_path / "data").mkdir()
    env = lmdb.open(str(tmp_path / "data" / "data.mdb"), subdir=False, max_dbs=4)
    with env.begin(write=True) as txn:
        txn.put(b"some", b"thing", db=env.open_db(b"theirs", txn=txn))
    env.close()
    other = (tmp_path / "data" / "data.mdb").read_bytes()
    assert "no store of tqbroker" in await refusal(tmp_path / "data")
    assert (tmp_path / "data" / "data.mdb").read_bytes() == other

    file = await filled(tmp_path / "later")
    env = lmdb.open(str(file), subdir=False, max_dbs=64)
    with env.begin(write=True) as txn:
        txn.put(b"format", U64.pack(2), db=env.open_db(b"meta", txn=txn))
        txn.drop(env.open_db(b"trails", txn=txn))
    env.close()
    later = file.read_bytes()
    for _ in range(2):
        assert "the store has format 2" in await refusal(file.parent)
    assert file.read_bytes() == later


async def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    assert "cannot use the data directory" in await refusal(tmp_path / "data")


async def test_a_path_that_the_system_refuses_is_refused_with_one_sentence(tmp_path: Path) -> None:
    assert "cannot use the data directory" in await refusal(tmp_path / ("n" * 300))


def test_a_disk_is_known_whatever_other_mount_points_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts, disk = tmp_path / "mounts", tmp_path / "größe 1"
    place = os.fsencode(disk).replace(b" ", rb"\040")
    mounts.write_bytes(
        b"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 8:2 / /mnt/\xff rw - xfs /dev/sdb rw\n"
        b"3 1 0:9 / " + place + b" rw - nfs4 there:/ rw\n"
    )
    monkeypatch.setattr(opening, "MOUNTS", mounts)
    assert opening.file_system(disk / "data") == "nfs4"
    assert opening.file_system(tmp_path) == "ext4"


async def test_the_epoch_rises_even_when_the_clock_went_back(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    first = await engine.open()
    engine.advance(1.0, wall=-400 * 86_400)
    second = await engine.restart()
    assert second.epoch == first.epoch + 1
    assert second.store == first.store
    await engine.verbs.close()


@pytest.mark.parametrize("database", ["queues", "limits", "starts", "names", "counts"])
async def test_a_record_that_a_start_needs_and_cannot_read_is_refused_with_one_sentence(
    tmp_path: Path, database: str
) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.verbs.close()
    env = lmdb.open(str(tmp_path / "data" / "data.mdb"), subdir=False, max_dbs=64, map_size=CONFIG.map_size)
    with env.begin(write=True) as txn:
        txn.put(b"name", b"\xc1\xc1", db=env.open_db(database.encode(), txn=txn))
    env.close()
    for _ in range(2):
        with pytest.raises(CannotOpen, match="restore a backup"):
            await EngineUnderTest("lmdb", tmp_path).open()


@pytest.mark.proof("S12")
@pytest.mark.parametrize("name", ["LOCK", "data.mdb", "data.mdb-lock", "CRASH"])
async def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path, name: str) -> None:
    treasure = tmp_path / "treasure"
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / name).symlink_to(treasure)
    assert "not followed" in await refusal(tmp_path / "data")
    assert not treasure.exists()


@pytest.mark.proof("S12")
async def test_a_directory_in_which_everybody_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    assert "chmod o-w" in await refusal(tmp_path / "data")


async def test_the_data_directory_itself_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    await filled(tmp_path, jobs=1)
    assert (tmp_path / "disk" / "data.mdb").exists()
