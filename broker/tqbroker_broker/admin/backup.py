"""A backup, as a stream: signs of life while the copy is made, then its parts, then what it was."""

from __future__ import annotations

import asyncio
import os
import time

from tqbroker._daemon import get_logger
from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.admin.describe import write_counts
from tqbroker_broker.answers import Snapshot
from tqbroker_broker.calls import Context
from tqbroker_broker.core import Core
from tqbroker_broker.refusals import TooSlow

PART = 256 * 1024
"""Bytes of one part: several of them fit into the window of a connection."""

SIGN = 1.0
"""Seconds between two signs of life while the copy is made."""

PATIENCE = 30.0
"""Seconds that a caller may take for one part. Who is gone is noticed sooner, by gRPC's own pings."""

log = get_logger("tqbroker.broker")


class BackupCall:
    """One open stream. The copy is gone with it, however it ends."""

    def __init__(self, core: Core, context: Context) -> None:
        self._core = core
        self._context = context
        self._begun = time.monotonic()

    async def run(self) -> None:
        """Takes a copy and sends it. Raises Busy, Stopping, TooSlow, and what `snapshot` raises."""
        with self._core.backups.turn():
            try:
                await self._in_time()
            except BaseException as error:
                log.warning("backup broken off", error=str(error) or "its caller went away", seconds=self._seconds())
                raise

    async def _in_time(self) -> None:
        most = self._core.config.backup_timeout
        try:
            async with asyncio.timeout(most):
                await self._run()
        except TimeoutError as error:
            raise TooSlow(f"the backup was not read to its end within {most:g} s (backup_timeout)") from error

    async def _run(self) -> None:
        snapshot, copied = await self._copied(), self._seconds()
        try:
            await self._send(snapshot)
        finally:
            await _close(snapshot)
        await self._write(pb.BackupResponse(end=self._end(snapshot)))
        self._core.backups.read(snapshot)
        log.info("backup sent", bytes=snapshot.size, seconds=self._seconds(), copied_in=copied)

    def _seconds(self) -> float:
        return round(time.monotonic() - self._begun, 2)

    async def _copied(self) -> Snapshot:
        copying = asyncio.ensure_future(self._core.backups.copy())
        try:
            while True:
                await asyncio.wait({copying}, timeout=SIGN)
                if copying.done():
                    return copying.result()
                await self._write(pb.BackupResponse())
        except BaseException:
            copying.cancel()
            copying.add_done_callback(_discard)
            raise

    async def _send(self, snapshot: Snapshot) -> None:
        file, offset = snapshot.file.fileno(), 0
        while offset < snapshot.size:
            data = await asyncio.to_thread(os.pread, file, PART, offset)
            await self._write(pb.BackupResponse(offset=offset, data=data, size=snapshot.size))
            offset += len(data)

    def _end(self, snapshot: Snapshot) -> pb.BackupEnd:
        return pb.BackupEnd(
            size=snapshot.size,
            sha256=snapshot.digest,
            store=self._core.opened.store,
            epoch=self._core.opened.epoch,
            taken_unix_ms=snapshot.taken_ms,
            queues=[write_counts(name, counts) for name, counts in sorted(snapshot.queues.items())],
        )

    async def _write(self, response: pb.BackupResponse) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._context.write(response)
        except TimeoutError as error:
            raise TooSlow(f"a part of the backup was not read within {PATIENCE:g} s: begin again") from error


async def _close(snapshot: Snapshot) -> None:
    """In a thread: with the last descriptor the file goes, and that of a large one takes a while."""
    await asyncio.shield(asyncio.to_thread(snapshot.file.close))


def _discard(copying: asyncio.Future[Snapshot]) -> None:
    """The caller went away while the copy was made."""
    if not copying.cancelled() and copying.exception() is None:
        asyncio.get_running_loop().run_in_executor(None, copying.result().file.close)
