"""A backup as it comes over the wire, into a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc

from tqbroker._grpc_connection import Connection, Stubs
from tqbroker._grpc_errors import operational
from tqbroker.exceptions import OperationalError
from tqbroker.operations import Backup
from tqbroker.saving import BackupTarget, NotWholeError
from tqbroker.v1 import admin_pb2 as pb

STATES = ("queued", "scheduled", "waiting", "succeeded", "failed", "cancelled", "expired")


def backup(connection: Connection, target: BackupTarget, timeout: float, contact_timeout: float) -> Backup:
    """Writes a backup of the broker's store to `target`, within `timeout` seconds.

    Raises OperationalError when the broker cannot be reached within `contact_timeout` seconds, refuses, or goes away
    before the end; CannotSaveError when the file cannot be written.
    """
    connection.reach(contact_timeout)
    try:
        return _receive(connection.watch(_backup, pb.BackupRequest(), timeout), target)
    except grpc.RpcError as error:
        raise operational(error, connection.address, timeout) from None
    except NotWholeError as error:
        raise OperationalError(str(error), reason="FAILED") from None


def _receive(answers: Iterator[pb.BackupResponse], target: BackupTarget) -> Backup:
    for answer in answers:
        if answer.HasField("end"):
            target.finish(answer.end.size, answer.end.sha256)
            return _read_end(answer.end)
        if answer.data:
            target.write(answer.offset, answer.data, answer.size)
    raise NotWholeError("the broker ended the backup before it was whole: nothing was saved, begin again")


def _read_end(end: pb.BackupEnd) -> Backup:
    jobs: Counter[str] = Counter()
    for queue in end.queues:
        jobs.update({state: getattr(queue, state) for state in STATES})
    counts = {state: jobs[state] for state in STATES if jobs[state]}
    return Backup(end.size, end.sha256.hex(), end.store.hex(), end.epoch, end.taken_unix_ms, counts)


def _backup(stubs: Stubs) -> Any:
    return stubs.admin.Backup
