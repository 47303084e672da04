"""Bugs in the log of events."""

from __future__ import annotations

from tests.mutants.registry import Plant, mutant

from tqbroker_broker.records import Time
from tqbroker_broker.storage.lmdb.events import Column
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.store import Store


@mutant("what happened is written down one commit later than it happened", breaks="I1")
def events_behind(plant: Plant) -> None:
    write = Group._write_events
    behind: list[Column] = []

    def late(self: Group) -> None:
        columns = self._events.columns
        behind[:], columns[:] = columns[:], behind[:]
        write(self)

    plant(Group, "_write_events", late)


@mutant("a start leaves out numbers of events, so as not to give any twice", breaks="I1")
def event_numbers_left_out(plant: Plant) -> None:
    load = Store.load

    def skip(self: Store, now: Time) -> None:
        load(self, now)
        self.log.next += 100

    plant(Store, "load", skip)
