"""A load of everything that a job can be asked to do, each call with the end that it must come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple

from tests.acceptance.harness.history import End, Events, History
from tests.acceptance.harness.load import Callers

from tqbroker import App, chain, chord
from tqbroker.exceptions import NotUniqueError, OperationalError
from tqbroker.ids import key_of
from tqbroker.operations import Reschedule

QUEUES = ("default", "second", "third")
HOUR = 3600.0
IN_ORDER = 4
"""Jobs with one ordering key."""


INSIST = 10
"""How often an order is given again whose fate is not known."""


class Sending(NamedTuple):
    """Calls that are made together: `send` returns their ids, in the order of `ends`; "" for one that is refused."""

    ends: Mapping[int, End]
    send: Callable[[], Sequence[str]]


class Mixed(Callers):
    """Calls of every kind from several threads, until `stop`; workers must take all of QUEUES.

    `alone`: some fail when two of their kind run at once, as they may where leases are lost.
    """

    def __init__(self, app: App, history: History, random: Random, *, alone: bool = True) -> None:
        self._app = app
        self._random = random
        self.lines: list[list[int]] = []
        """Numbers that share an ordering key, in the order of their calls."""
        self._kinds: tuple[Callable[[int], Sending], ...] = (
            self._plain, self._plain, self._delayed, self._flaky, self._failing, self._cancelled, self._expiring,
            self._checkpoint, self._paced, self._unique, self._edited, self._ordered, self._chain,
            self._chord, self._broken_chord, *((self._alone,) if alone else ()),
        )  # fmt: skip
        super().__init__(history, jobs=10**9, threads=4)

    def make(self, number: int) -> int:
        sending = self._random.choice(self._kinds)(number)
        for each, end in sending.ends.items():
            self.history.write("invoke", each, *end)
        try:
            ids = sending.send()
        except OperationalError as error:
            for each in sending.ends:
                self.history.write("fail", each, error.outcome)
            return 0
        for each, job in zip(sending.ends, ids, strict=True):
            self.history.write(*(("ok", each, job) if job else ("fail", each, "rejected")))
        return sum(bool(job) for job in ids)

    def disorder(self, events: Events) -> list[str]:
        """Which jobs with an ordering key have started before one that was called earlier."""
        first = {number: place for place, number in enumerate(events.starts)}
        ran = [[number for number in line if number in first] for line in self.lines]
        return [f"P15: {line} ran in another order" for line in ran if line != sorted(line, key=first.__getitem__)]

    def _send(self, task: str, *args: Any, **options: Any) -> str:
        return self._app.send_task(f"tasks.{task}", args, **options).id

    def _one(self, number: int, task: str, *args: Any, end: End | None = None, **options: Any) -> Sending:
        return Sending({number: end or End("SUCCEEDED", number)}, lambda: [self._send(task, number, *args, **options)])

    # -- one call ------------------------------------------------------------------------------------------------------

    def _plain(self, number: int) -> Sending:
        queue, priority = self._random.choice(QUEUES), self._random.randrange(10)
        return self._one(number, "mark", queue=queue, priority=priority)

    def _delayed(self, number: int) -> Sending:
        return self._one(number, "mark", countdown=self._random.random())

    def _flaky(self, number: int) -> Sending:
        failures = self._random.randint(1, 2)
        return self._one(number, "flaky", failures, end=End("SUCCEEDED", number, 1 + failures))

    def _failing(self, number: int) -> Sending:
        return self._one(number, "fail", end=End("FAILED", 0))

    def _expiring(self, number: int) -> Sending:
        return self._one(number, "mark", end=End("EXPIRED", 0, 0), countdown=HOUR, expires=self._random.random())

    def _checkpoint(self, number: int) -> Sending:
        return self._one(number, "step", tenant=f"tenant-{number % 3}")

    def _paced(self, number: int) -> Sending:
        return self._one(number, "paced")

    def _alone(self, number: int) -> Sending:
        return self._one(number, "alone")

    # -- calls and orders -------------------------------------------------------------------------------------------

    def _cancelled(self, number: int) -> Sending:
        def send() -> list[str]:
            job = self._send("mark", number, countdown=HOUR)
            _insist(lambda: self._app.control.revoke(job))
            return [job]

        return Sending({number: End("CANCELLED", 0, 0)}, send)

    def _edited(self, number: int) -> Sending:
        """It would be late; an operator lets it run now."""

        def send() -> list[str]:
            job = self._send("mark", number, countdown=HOUR)
            _insist(lambda: list(self._app.operator.edit([key_of(job)], Reschedule())))
            return [job]

        return Sending({number: End("SUCCEEDED", number)}, send)

    def _unique(self, number: int) -> Sending:
        """The first waits and is cancelled, the second is refused meanwhile, the third may run then."""
        second, third = self.number(), self.number()

        def one(each: int, **options: Any) -> str:
            return self._send("mark", each, unique_until="finished", unique_key=f"key-{number}", **options)

        def send() -> list[str]:
            first = one(number, countdown=HOUR)
            try:
                refused = one(second)
            except NotUniqueError:
                refused = ""
            _insist(lambda: self._app.control.revoke(first))
            return [first, refused, one(third)]

        ends = {number: End("CANCELLED", 0, 0), second: End("REJECTED", 0, 0), third: End("SUCCEEDED", third)}
        return Sending(ends, send)

    def _ordered(self, number: int) -> Sending:
        line = [number, *(self.number() for _ in range(IN_ORDER - 1))]
        self.lines.append(line)

        def send() -> list[str]:
            return [self._send("mark", each, ordering_key=f"line-{number}") for each in line]

        return Sending({each: End("SUCCEEDED", each) for each in line}, send)

    # -- workflows ---------------------------------------------------------------------------------------------------

    def _part(self, task: str, number: int) -> Any:
        return self._app.signature(f"tasks.{task}", args=(number,), queue=self._random.choice(QUEUES))

    def _chain(self, number: int) -> Sending:
        second, third = self.number(), self.number()
        parts = [self._part("mark", number), self._part("add", second), self._part("add", third)]
        values = {number: number, second: number + second, third: number + second + third}
        return _workflow(chain(*parts), parts, {each: End("SUCCEEDED", value) for each, value in values.items()})

    def _chord(self, number: int) -> Sending:
        members = [number, self.number(), self.number()]
        body = self.number()
        parts = [self._part("mark", each) for each in members]
        last = self._part("total", body)
        ends = {each: End("SUCCEEDED", each) for each in members} | {body: End("SUCCEEDED", sum(members) + body)}
        return _workflow(chord(parts, last), [*parts, last], ends)

    def _broken_chord(self, number: int) -> Sending:
        failing, body = self.number(), self.number()
        parts = [self._part("mark", number), self._part("fail", failing)]
        last = self._part("total", body)
        ends = {number: End("SUCCEEDED", number), failing: End("FAILED", 0), body: End("FAILED", 0, 0)}
        return _workflow(chord(parts, last), [*parts, last], ends)


def _insist(order: Callable[[], object]) -> None:
    """An order that may be given twice, until it is confirmed."""
    for _ in range(INSIST):
        with suppress(OperationalError):
            order()
            return
    order()


def _workflow(canvas: Any, parts: Sequence[Any], ends: Mapping[int, End]) -> Sending:
    """The ids of the parts are chosen before the workflow is sent."""
    ids = [part.freeze().id for part in parts]

    def send() -> list[str]:
        canvas.apply_async()
        return ids

    return Sending(ends, send)
