"""A backup over the wire: whole or not at all, one at a time, beside the traffic, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import io
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from grpc.aio import AioRpcError
from tests.integration.broker_harness import EOF, SECONDS, Site, error_of, running

from tqbroker.v1 import admin_pb2, errors_pb2
from tqbroker_broker.admin import backup
from tqbroker_broker.storage.lmdb import copying

MIB = 1 << 20


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path, "") as site:
        yield site


def data_of(tmp_path: Path) -> Path:
    """The directory of the store."""
    return next(tmp_path.glob("**/data.mdb")).parent


async def whole(call: Any, file: Path) -> admin_pb2.BackupEnd:
    """Reads a backup to its end, as docs/protocol.md says, and checks it."""
    digest, written = hashlib.sha256(), 0
    with file.open("wb") as out:
        while (part := await call.read()) is not EOF:
            if part.HasField("end"):
                assert (part.end.size, part.end.sha256) == (written, digest.digest())
                end: admin_pb2.BackupEnd = part.end
                return end
            assert len(part.data) <= 256 * 1024
            if part.data:
                assert part.offset == written
                out.write(part.data)
                digest.update(part.data)
                written += len(part.data)
    raise AssertionError("the stream ended without an end")


async def fill(site: Site) -> None:
    """More than a connection holds that nobody reads from."""
    for _ in range(5):
        await site.enqueue(900, args=b'["' + b"x" * 4000 + b'"]')


async def to_the_end(call: Any) -> None:
    """Reads what is left."""
    while await call.read() is not EOF:
        pass


def jobs_in(file: Path) -> int:
    """How many jobs a copy holds."""
    with lmdb.open(str(file), subdir=False, max_dbs=64, readonly=True, lock=False) as env, env.begin() as txn:
        return int(txn.stat(env.open_db(b"jobs", txn=txn, create=False))["entries"])


def is_free(site: Site) -> bool:
    with contextlib.suppress(Exception), site.server.core.backups.turn():
        return True
    return False


async def freed(site: Site) -> None:
    """Returns when nobody's backup is under way any more."""
    for _ in range(int(SECONDS * 100)):
        if is_free(site):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"the backup did not end within {SECONDS:g} s")


async def test_a_backup_is_the_store_as_it_was_when_it_was_asked_for(site: Site, tmp_path: Path) -> None:
    await site.enqueue(500)
    end = await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")
    await site.enqueue(1)

    broker = await site.admin.GetBroker(admin_pb2.GetBrokerRequest())
    assert jobs_in(tmp_path / "copy") == 500
    assert [(queue.name, queue.queued) for queue in end.queues] == [("default", 500)]
    assert (end.store, end.epoch) == (broker.store, broker.epoch)
    assert (broker.backup_unix_ms, broker.backup_bytes) == (end.taken_unix_ms, end.size)
    assert sorted(path.name for path in data_of(tmp_path).iterdir()) == ["CRASH", "LOCK", "data.mdb", "data.mdb-lock"]


async def test_a_store_in_memory_says_that_it_cannot_be_backed_up(tmp_path: Path) -> None:
    async with running(tmp_path, "memory:") as site:
        with pytest.raises(AioRpcError) as failure:
            await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")
    assert "in memory only" in error_of(failure.value).message


async def test_there_is_one_at_a_time(site: Site, tmp_path: Path) -> None:
    await fill(site)
    first = site.admin.Backup(admin_pb2.BackupRequest(), timeout=60)
    await first.read()
    with pytest.raises(AioRpcError) as failure:
        await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")
    assert error_of(failure.value).reason == errors_pb2.REASON_BUSY

    first.cancel()
    await freed(site)
    await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")


@pytest.mark.proof("T27")
async def test_who_does_not_read_is_left_alone_and_its_copy_is_gone(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PATIENCE", 0.5)
    await fill(site)
    before = open_files()
    silent = site.admin.Backup(admin_pb2.BackupRequest(), timeout=60)
    first = await silent.read()
    assert first.size > 16 * MIB
    assert open_files() > before

    await freed(site)

    assert open_files() == before
    await site.enqueue(1)
    with pytest.raises(AioRpcError) as failure:
        await to_the_end(silent)
    assert error_of(failure.value).reason == errors_pb2.REASON_TOO_SLOW


def open_files() -> int:
    """Copies of stores that this process has open."""
    names = (os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd") if _there(each))
    return sum(copying.COPY_FILE in name for name in names)


def _there(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


async def test_a_backup_as_a_whole_has_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, "", backup_timeout=1.0) as site:
        await fill(site)
        call = site.admin.Backup(admin_pb2.BackupRequest(), timeout=60)
        await call.read()
        await freed(site)
        with pytest.raises(AioRpcError) as failure:
            await to_the_end(call)
        assert "backup_timeout" in error_of(failure.value).message
    lines = capsys.readouterr().out.splitlines() + caplog.messages  # as the process has its logging set up
    (told,) = (line for line in lines if "backup broken off" in line)
    assert "backup_timeout" in told


async def test_without_room_for_it_none_is_begun(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    await site.enqueue(1000)
    monkeypatch.setattr(copying, "ROOM", 1 << 40)
    with pytest.raises(AioRpcError) as failure:
        await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")
    error = error_of(failure.value)
    assert error.reason == errors_pb2.REASON_NO_ROOM
    assert "bytes free" in error.message
    assert "backup broken off" in capsys.readouterr().out + caplog.text
    await site.enqueue(1)


@pytest.mark.proof("T27")
async def test_a_disk_that_fills_up_meanwhile_ends_the_backup_and_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await site.enqueue(1000)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(AioRpcError) as failure:
            await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")
    assert error_of(failure.value).reason == errors_pb2.REASON_NO_ROOM
    assert "No space left" in error_of(failure.value).message

    await site.enqueue(1)
    await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")
    assert jobs_in(tmp_path / "copy") == 1001


async def why_not(site: Site, tmp_path: Path) -> errors_pb2.Error:
    """What is said of a backup that is refused."""
    with pytest.raises(AioRpcError) as failure:
        await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")
    return error_of(failure.value)


async def test_a_directory_in_the_place_of_the_copy_is_told(site: Site, tmp_path: Path) -> None:
    (data_of(tmp_path) / copying.COPY_FILE).mkdir()
    error = await why_not(site, tmp_path)
    assert error.reason != errors_pb2.REASON_NO_ROOM
    assert copying.COPY_FILE in error.message


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
async def test_a_copy_that_fails_for_another_reason_is_not_told_as_want_of_room(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(copying, "nameless", fails)
    error = await why_not(site, tmp_path)
    assert error.reason != errors_pb2.REASON_NO_ROOM
    assert os.strerror(number) in error.message


@pytest.mark.proof("S12")
def test_the_broker_is_told_no_path() -> None:
    """What is not said over the wire cannot lead out of a directory."""
    assert list(admin_pb2.BackupRequest.DESCRIPTOR.fields) == []


async def test_the_loop_does_not_wait_until_the_copy_is_gone(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A large file goes slowly, with its last descriptor: callers waited for half a second at the end of a backup."""
    closed: list[threading.Thread] = []

    class Copy(io.FileIO):
        def close(self) -> None:
            if not self.closed:
                closed.append(threading.current_thread())
            super().close()

    nameless = copying.nameless

    def watched(directory: Path) -> io.FileIO:
        with nameless(directory) as file:
            return Copy(os.dup(file.fileno()), "w+b")

    monkeypatch.setattr(copying, "nameless", watched)
    await fill(site)
    await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")
    broken_off = site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS)
    await broken_off.read()
    broken_off.cancel()
    await freed(site)

    assert len(closed) == 2
    assert threading.main_thread() not in closed


@pytest.mark.proof("S12")
async def test_what_stands_in_the_place_of_the_copy_is_not_followed(site: Site, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    (data_of(tmp_path) / copying.COPY_FILE).symlink_to(treasure)
    await whole(site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), tmp_path / "copy")
    assert treasure.read_text() == "gold"


async def test_a_stop_does_not_wait_for_a_backup(tmp_path: Path) -> None:
    async with running(tmp_path, "") as site:
        await fill(site)
        call = site.admin.Backup(admin_pb2.BackupRequest(), timeout=60)
        await call.read()
        begun = time.monotonic()
    assert time.monotonic() - begun < SECONDS / 2
    assert open_files() == 0
