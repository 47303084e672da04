"""Schedules: what they submit, and the row of each that says up to when it has."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from tqbroker_broker.answers import Enqueued
from tqbroker_broker.firings import settle
from tqbroker_broker.records import JobId, NewJobs, State, Time
from tqbroker_broker.schedules import Fire, FireAnswer, ScheduleState
from tqbroker_broker.storage.lmdb import intake, uniques
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.rows import JOB_AT, DamagedRecordError, check, seal
from tqbroker_broker.storage.lmdb.store import Store

log = logging.getLogger("tqbroker.storage")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ScheduleState).decode


def load(store: Store) -> None:
    """Reads all schedules. One that cannot be read is as if it were not there."""
    txn = store.read()
    for name, row in txn.cursor(store.db["schedules"]):
        state = _unpack(name.decode(), row)
        if state is not None:
            store.schedules[state.schedule.name] = state


def _unpack(name: str, row: bytes | None) -> ScheduleState | None:
    try:
        return _decode(check(row)[JOB_AT:]) if row is not None else None
    except DamagedRecordError:
        log.error("schedule %s does not match its checksum: put it again, it does not fire", name)
        return None


def put(group: Group, put: Sequence[ScheduleState], remove: Sequence[str]) -> None:
    """Removes, then stores."""
    for name in remove:
        _remove(group, name)
    for state in put:
        _store(group, state)


def _remove(group: Group, name: str) -> None:
    group.txn.delete(name.encode(), db=group.store.db["schedules"])
    group.effects.append(lambda: _forget(group.store, name))


def _forget(store: Store, name: str) -> None:
    store.schedules.pop(name, None)


def _store(group: Group, state: ScheduleState) -> None:
    name = state.schedule.name
    group.txn.put(name.encode(), seal(_encode(state)), db=group.store.db["schedules"])
    group.effects.append(lambda: group.store.schedules.update({name: state}))


def fire(group: Group, fires: Sequence[Fire], now: Time) -> list[FireAnswer]:
    """One schedule after the other: its jobs and its row."""
    return [_fire(group, fire, now) for fire in fires]


def _fire(group: Group, fire: Fire, now: Time) -> FireAnswer:
    def submit(jobs: NewJobs) -> Enqueued:
        return intake.enqueue(group, [jobs], now)[0]

    def state_of(job: JobId) -> State:
        seq = group.store.seq_of(group.txn, job)
        return State.UNKNOWN if seq is None else uniques.state_of(group, seq)

    row = group.txn.get(fire.name.encode(), db=group.store.db["schedules"])
    state, answer = settle(_unpack(fire.name, row), fire, state_of, submit)
    if state is not None:
        _store(group, state)
    return answer
