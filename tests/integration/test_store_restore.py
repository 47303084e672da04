"""A backup becomes a store of its own: all of it, under a new id, or nothing is there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from tests.contracts.harness import EngineUnderTest
from tests.mutants.catching import catches
from tests.mutants.registry import planted

from tqbroker import _whole_file
from tqbroker_broker.records import State
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.lmdb import replacing
from tqbroker_broker.storage.lmdb.opening import RESTORING
from tqbroker_broker.storage.replaced import Restored

NOW_MS = 1_800_000_000_000


def silent(_: str) -> None:
    """Tells nobody."""


def restored(file: Path, directory: Path, now_ms: int = NOW_MS) -> Restored:
    return replacing.restore(file, directory, now_ms, silent)


async def backup_of(engine: EngineUnderTest, file: Path) -> Path:
    """What `tqbroker backup` would write."""
    with (await engine.verbs.snapshot(engine.now)).file as copy, open(file, "wb") as out:  # noqa: ASYNC230
        out.write(copy.read())
    return file


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    """A backup of a store with three jobs, of which a worker has one and has ended one."""
    engine = EngineUnderTest("lmdb", tmp_path / "former")
    await engine.open()
    await engine.join()
    await engine.put("ended", "running", "queued")
    tokens = await engine.take(slots=2)
    await engine.succeed("w", [tokens["ended"]])
    file = await backup_of(engine, tmp_path / "backup")
    await engine.verbs.close()
    return file


def refusal(file: Path, directory: Path) -> str:
    """Why it is not restored."""
    with pytest.raises(CannotOpen) as caught:
        restored(file, directory)
    return str(caught.value)


async def test_a_restored_store_has_every_job_and_waits_for_nobody(backup: Path, tmp_path: Path) -> None:
    done = restored(backup, tmp_path / "new" / "data")
    engine = EngineUnderTest("lmdb", tmp_path / "new")
    opened = await engine.open()

    assert opened.awaited == []
    assert opened.store.hex() == done.store
    assert done.tables["jobs"] == 3
    assert (await engine.job("ended")).state is State.SUCCEEDED
    await engine.join(process=2)
    assert list(await engine.take()) == ["running", "queued"]
    await engine.verbs.close()


def test_only_its_owner_may_read_it_and_nothing_else_stays(backup: Path, tmp_path: Path) -> None:
    restored(backup, tmp_path / "new")

    assert stat.S_IMODE((tmp_path / "new" / "data.mdb").stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path / "new")) == ["LOCK", "data.mdb"]


def test_the_backup_is_left_as_it_is(backup: Path, tmp_path: Path) -> None:
    before = backup.read_bytes()
    restored(backup, tmp_path / "one")
    restored(backup, tmp_path / "two")
    assert backup.read_bytes() == before


def different_stores(backup: Path, tmp_path: Path) -> list[str]:
    """What is wrong with the ids of two stores that were made of one backup."""
    one, two = (restored(backup, tmp_path / name) for name in ("one", "two"))
    return [] if len({one.store, two.store, one.former}) == 3 else ["two stores have one id"]


def test_each_restored_store_is_another_one(backup: Path, tmp_path: Path) -> None:
    assert different_stores(backup, tmp_path) == []


@catches("restore_keeps_the_id")
def test_a_restore_that_keeps_the_id_is_noticed(backup: Path, tmp_path: Path, mutant: str) -> None:
    with planted(mutant):
        assert different_stores(backup, tmp_path) == ["two stores have one id"]


async def test_no_token_of_the_former_store_comes_again(backup: Path, tmp_path: Path) -> None:
    """Also when the former one was started a few times in one second since its backup, and the clock was set back."""
    former = EngineUnderTest("lmdb", tmp_path / "former")
    for _ in range(5):
        await former.open()
        await former.join()
        await former.verbs.close()
        former = EngineUnderTest("lmdb", tmp_path / "former")
    await former.open()
    await former.join()
    newest = max((await former.take()).values())
    await former.verbs.close()

    restored(backup, tmp_path / "new" / "data", now_ms=former.now.wall_ms - 60_000)
    engine = EngineUnderTest("lmdb", tmp_path / "new")
    await engine.open()
    await engine.join(process=2)

    assert min((await engine.take()).values()) > newest
    await engine.verbs.close()


async def test_a_clock_that_is_centuries_ahead_leaves_room_for_tokens(backup: Path, tmp_path: Path) -> None:
    restored(backup, tmp_path / "new" / "data", now_ms=NOW_MS * 5)
    engine = EngineUnderTest("lmdb", tmp_path / "new")

    assert (await engine.open()).epoch < 2**32
    await engine.verbs.close()


# -- refused ---------------------------------------------------------------------------------------------------------


def test_a_directory_with_a_store_is_refused_with_what_to_do(backup: Path, tmp_path: Path) -> None:
    assert f"mv {tmp_path / 'former' / 'data'} " in refusal(backup, tmp_path / "former" / "data")


def test_a_directory_with_something_else_is_refused(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "letters").touch()
    assert "not empty (letters)" in refusal(backup, tmp_path / "new")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"a poem" * 4000, "not a store"), (None, "there is no backup")],
    ids=["empty", "poem", "absent"],
)
def test_what_is_no_backup_is_refused_and_nothing_is_made(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    assert words in refusal(file, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_that_is_cut_short_is_refused(backup: Path, tmp_path: Path) -> None:
    backup.write_bytes(backup.read_bytes()[:-4096])
    assert "take another backup" in refusal(backup, tmp_path / "new")


def test_a_damaged_backup_is_refused_and_the_directory_stays_empty(backup: Path, tmp_path: Path) -> None:
    content = bytearray(backup.read_bytes())
    at = content.index(b"queued")
    content[at] ^= 1
    backup.write_bytes(content)

    assert "has faults" in refusal(backup, tmp_path / "new")
    assert os.listdir(tmp_path / "new") == ["LOCK"]


async def test_the_file_of_a_running_store_is_refused(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    assert "is using" in refusal(tmp_path / "data" / "data.mdb", tmp_path / "new")
    await engine.verbs.close()


async def test_where_a_restore_did_not_end_no_empty_store_begins(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / RESTORING).write_bytes(b"half")
    engine = EngineUnderTest("lmdb", tmp_path)
    with pytest.raises(CannotOpen, match="run `tqbroker restore` again"):
        await engine.open()

    restored(backup, tmp_path / "data")
    assert sorted(os.listdir(tmp_path / "data")) == ["LOCK", "data.mdb"]


def test_a_restore_does_not_remove_what_it_is_made_of(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir(mode=0o700)
    left = backup.rename(tmp_path / "new" / RESTORING)
    assert "where a restore writes to, which would remove it" in refusal(left, tmp_path / "new")
    assert left.stat().st_size


def test_a_store_whose_name_could_not_be_flushed_is_not_told_as_one_that_is_not_there(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(_whole_file, "flush_directory", broken)
    told = refusal(backup, tmp_path / "new")
    assert told.endswith("data.mdb is there, but its name may not outlive a power cut: Input/output error")
    assert (tmp_path / "new" / "data.mdb").exists()


@pytest.mark.proof("S12")
def test_a_link_in_the_place_of_the_new_file_is_not_followed(backup: Path, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    (tmp_path / "new").mkdir(mode=0o700)
    (tmp_path / "new" / RESTORING).symlink_to(treasure)

    restored(backup, tmp_path / "new")

    assert treasure.read_text() == "gold"
    assert not (tmp_path / "new" / "data.mdb").is_symlink()
