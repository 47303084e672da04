"""Bugs in what is said again after a break: by workers of their jobs, by clients of their calls."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tests.mutants.registry import Plant, mutant

from tqbroker._grpc_submit import Submitter, _Flight
from tqbroker.failures import FailureData
from tqbroker.ids import new_keys
from tqbroker.shipping import Shipment
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_broker.attempts import Held
from tqbroker_broker.lifecycle import Attempt, Next, after_attempt
from tqbroker_broker.records import Time
from tqbroker_broker.storage.lmdb import endings, membership
from tqbroker_broker.storage.lmdb.book import Holder, Lease
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_worker import children
from tqbroker_worker.deaths import Death
from tqbroker_worker.ledger import Ledger
from tqbroker_worker.progress import create_page
from tqbroker_worker.session import Session


@mutant("jobs from before a start are handed out at once, also those that a worker still runs", breaks="P5")
def no_recovery_wait(plant: Plant) -> None:
    load = Store.load

    def hasty(self: Store, now: Time) -> None:
        load(self, now)
        self.recovery_end = None
        for holder in self.book.holders.values():
            holder.awaited = False
        self.look_again()

    plant(Store, "load", hasty)


@mutant("a worker that comes back does not say which jobs it runs", breaks="P5")
def held_not_named(plant: Plant) -> None:
    hello = Session.hello

    def forgetful(self: Session) -> pb.WorkRequest:
        message = hello(self)
        message.hello.ClearField("held")
        return message

    plant(Session, "hello", forgetful)


@mutant("a worker forgets the outcomes that it had sent when the connection broke", breaks="P3")
def resend_dropped(plant: Plant) -> None:
    rewind = Ledger.rewind

    def forgetful(self: Ledger) -> None:
        self._sent.clear()
        rewind(self)

    plant(Ledger, "rewind", forgetful)


@mutant("what a lost lease costs is not counted: what kills its worker is tried for ever", breaks="P10")
def lost_jobs_uncounted(plant: Plant) -> None:
    def lenient(attempt: Attempt, max_lost_leases: int) -> Next:
        return after_attempt(attempt, 1 << 30)._replace(lost=attempt.lost)

    plant(endings, "after_attempt", lenient)


@mutant("a job whose process has died is told of without a cause", breaks="P10")
def cause_of_death_untold(plant: Plant) -> None:
    def terse(self: Death) -> FailureData:
        return FailureData("WorkerLostError", "tqbroker.exceptions", f"child process {self.pid} ended")

    plant(Death, "failure", terse)


@mutant("a worker keeps the page that it shared with a child open when that is dead", breaks="I10")
def pages_of_the_dead_kept(plant: Plant) -> None:
    def forgetful() -> int:
        return os.dup(create_page())

    plant(children, "create_page", forgetful)


@mutant("a client that got no answer sends its call again as another one", breaks="P2")
def resent_under_new_ids(plant: Plant) -> None:
    send = Submitter._send

    def careless(self: Submitter, flight: _Flight, deadline: float) -> None:
        if flight.number:
            again = [batch._replace(keys=[*new_keys(len(batch.keys))]) for batch in flight.shipment.batches]
            flight.shipment = Shipment(again)
        send(self, flight, deadline)

    plant(Submitter, "_send", careless)


@mutant("a worker that was given up gets its jobs back when it returns, although others run them", breaks="P6")
def taken_back(plant: Plant) -> None:
    settle = membership._settle

    def credulous(
        group: Group, holder: Holder, old: Holder | None, held: Sequence[Held]
    ) -> tuple[dict[int, Lease], list[int]]:
        kept, lost = settle(group, holder, old, held)
        book = group.store.book
        for each in held:
            now = next((lease for lease in book.by_seq.values() if lease.id == each.id), None)
            if each.token in lost and now is not None:
                lost.remove(each.token)
                kept[each.token] = replace(now, token=each.token, holder=holder)
                group.effects.append(partial(book.drop, now))
        return kept, lost

    plant(membership, "_settle", credulous)
