"""Bugs in leases: who holds a job, for how long, and whose outcome counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.answers import Cancelled
from tqbroker_broker.attempts import Ending, Successes
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage.lmdb import cancelling, opening, outcomes
from tqbroker_broker.storage.lmdb import engine as lmdb_engine
from tqbroker_broker.storage.lmdb.book import Book, Holder, Lease
from tqbroker_broker.storage.lmdb.engine import LmdbEngine
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.rows import Note
from tqbroker_broker.storage.memory import engine as memory_engine
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.book import Lease as MemoryLease
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.engine import MemoryEngine
from tqbroker_broker.storage.memory.orders import Orders
from tqbroker_worker.session import Session


@mutant("the deadlines of leases live on the wall clock", breaks="P5")
def deadlines_on_wall_clock(plant: Plant) -> None:
    for engine in (LmdbEngine, MemoryEngine):
        for verb in ("join", "part", "extend", "expire"):
            plant(engine, verb, _by_the_wall(vars(engine)[verb]))


def _by_the_wall(verb: Callable[..., object]) -> Callable[..., object]:
    def told(self: object, *arguments: object) -> object:
        clocks = (Time(each.wall_ms, each.wall_ms / 1000) if isinstance(each, Time) else each for each in arguments)
        return verb(self, *clocks)

    return told


@mutant("leases are judged after the broker stood still as if it had not", breaks="P5")
def stall_not_forgiven(plant: Plant) -> None:
    for module in (lmdb_engine, memory_engine):
        plant(module, "stall", lambda elapsed: 0.0)


@mutant("an outcome is taken for a job that runs, whatever the token; workers tell of what they lost, too", breaks="P6")
def no_fencing(plant: Plant) -> None:
    succeed, add = outcomes._succeed, Book.add
    jobs: dict[int, JobId] = {}

    def noting(self: Book, lease: Lease) -> None:
        jobs[lease.token] = lease.id
        add(self, lease)

    def credulous(group: Group, holder: Holder | None, columns: Successes, now: Time, answer: outcomes.Answer) -> None:
        for index, token in enumerate(columns.tokens):
            one = columns._replace(
                tokens=[token],
                results=[columns.results[index]],
                started_ms=[columns.started_ms[index]],
                runtime_us=[columns.runtime_us[index]],
                ids=None,
                children={},
            )
            current = _lease_of(group.store.book, jobs.get(token))
            if current is None or current.token in group.ended or (holder is not None and token in holder.leases):
                succeed(group, holder, one, now, answer)
                continue
            name = holder.name if holder is not None else current.holder.name
            succeed(group, Holder(name, b"", 0.0, leases={token: replace(current, token=token)}), one, now, answer)
            del group.ended[token]
            group.ended[current.token] = current

    plant(Book, "add", noting)
    plant(outcomes, "_succeed", credulous)
    plant(Session, "_drop", lambda self, lost: None)


def _lease_of(book: Book, job: JobId | None) -> Lease | None:
    """The lease of a job, whoever has it."""
    leases = (lease for holder in book.holders.values() for lease in holder.leases.values())
    return next((lease for lease in leases if lease.id == job), None)


@mutant("a start goes on with the epoch of the one before, so that tokens come again", breaks="P4")
def epoch_not_raised(plant: Plant) -> None:
    for module in (opening, memory_engine):
        plant(module, "next_epoch", lambda stored, wall_ms: stored or wall_ms // 1000)


@mutant("that a lease was lost is not kept over a start: its worker gets it back", breaks="P6")
def floor_not_kept(plant: Plant) -> None:
    put_note, end = Group.put_note, Attempts.end

    def without_floor(self: Group, seq: int, note: Note) -> None:
        note.floor = 0
        put_note(self, seq, note)

    def forgetful(self: Attempts, lease: MemoryLease, ending: Ending, now: Time, effects: Effects) -> None:
        end(self, lease, ending, now, effects)
        self._store.jobs[lease.id].floor = 0

    plant(Group, "put_note", without_floor)
    plant(Attempts, "end", forgetful)


@mutant("a cancel of a job that runs is not kept: a retry runs as if nobody had cancelled it", breaks="P7")
def cancel_mark_forgotten(plant: Plant) -> None:
    cancel = Orders._cancel

    def forgetful(self: Orders, job: JobId, *rest: Any) -> Cancelled:
        answer = cancel(self, job, *rest)
        if answer in (Cancelled.RUNNING, Cancelled.PENDING):
            self._store.jobs[job].marked = 0
        return answer

    plant(Orders, "_cancel", forgetful)
    plant(cancelling, "_mark", lambda *_: None)
