"""The life of a worker's session: it comes, takes jobs, falls silent, leaves. What it brings: outcomes.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tqbroker_broker.agenda import Agenda
from tqbroker_broker.answers import Joined
from tqbroker_broker.attempts import Held
from tqbroker_broker.dispatch import Dispatcher
from tqbroker_broker.guard import Guard, settled
from tqbroker_broker.outcomes import Outcomes
from tqbroker_broker.refusals import Stopping, TooLarge
from tqbroker_broker.rules import LimitRule, LimitState
from tqbroker_broker.scheduler import Scheduler
from tqbroker_broker.sessions import MAX_UNSENT, MAX_WINDOW, Hello, Session, Sessions
from tqbroker_broker.storage import Ambiguous, Unavailable
from tqbroker_broker.waiters import Waiters

log = logging.getLogger("tqbroker.broker")

MAX_LIMITS = 20_000
"""Limits there can be before those that apps declare are left out: all are kept in memory."""


class Attached(NamedTuple):
    """A session has begun. `lost` are the held tokens that are not the worker's any more."""

    session: Session
    lost: list[int]
    other_store: bool


class Workers:
    """What workers do."""

    def __init__(
        self,
        guard: Guard,
        sessions: Sessions,
        dispatcher: Dispatcher,
        waiters: Waiters,
        agenda: Agenda,
        scheduler: Scheduler,
        outcomes: Outcomes,
    ) -> None:
        self._guard = guard
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._waiters = waiters
        self._agenda = agenda
        self._scheduler = scheduler
        self._outcomes = outcomes
        self._joining: dict[str, asyncio.Future[Joined]] = {}
        self.store = b""
        self.stopping = False

    # -- coming and going ------------------------------------------------------------------------------------------

    async def attach(self, hello: Hello, on_wake: Callable[[], None]) -> Attached:
        """A worker is here. Raises NameTaken when another live process uses its name, Stopping at the end."""
        if self.stopping:
            raise Stopping("the broker is stopping: connect again in a moment")
        self._guard.engine.spare(hello.name, hello.instance, self._guard.now())
        other_store = bool(hello.store) and hello.store != self.store
        held = [] if other_store else list(hello.held)
        try:
            await self._settle_previous(hello)
            await self._declare(hello)
            await self._declare_schedules(hello)
            joined = await self._join(hello, held)
        except BaseException:
            self._came_in_vain(hello)
            raise
        current = self._sessions.by_name.get(hello.name)
        if current is not None:
            self._sessions.remove(current)
        session = Session(hello, self._sessions.kind(hello), on_wake, self._guard.now().wall_ms)
        session.resume({each.token for each in held}.difference(joined.lost))
        self._sessions.add(session)
        session.cancel_marked(self._guard.engine.marks(hello.name))
        self._waiters.ended(joined.final)
        self._dispatcher.wake_queues(joined.woken)
        self._agenda.at_once(self._guard.now())
        return Attached(session, [each.token for each in hello.held] if other_store else joined.lost, other_store)

    async def _settle_previous(self, hello: Hello) -> None:
        """An older stream of the same process is dead; what it brought is stored before its leases are counted."""
        previous = self._sessions.by_name.get(hello.name)
        if previous is not None and previous.instance == hello.instance:
            self._sessions.remove(previous)
            try:
                await previous.outcomes.quiet()
            except asyncio.CancelledError:
                self._outcomes.settle(previous)
                raise
        await self._outcomes.settled(hello.name)

    async def _declare(self, hello: Hello) -> None:
        """Stores the rules of the worker's app before it is handed anything, when they are not the known ones.

        A task that the app names no rule for (any more) loses the one that an app had set.
        """
        engine = self._guard.engine
        known = {state.rule.name: state for state in engine.limits()}
        named = {rule.name: rule for rule in hello.limits}
        new = [rule for name, rule in named.items() if name not in known or _differs(known[name], rule)]
        dropped = {f"task:{task}" for task in hello.tasks}.difference(named).intersection(known)
        gone = [name for name in dropped if not known[name].operator]
        if len(known.keys() | named.keys()) > MAX_LIMITS:
            log.warning(
                "worker %s declares limits beyond the %s there can be: they do not hold", hello.name, MAX_LIMITS
            )
            new = [rule for rule in new if rule.name in known]
        if new or gone:
            try:
                await self._guard.do(engine.put_limits(new, gone, self._guard.now(), operator=False))
            except (Unavailable, Ambiguous) as error:
                log.warning("the limits that worker %s declares cannot be stored: %s", hello.name, error)

    async def _declare_schedules(self, hello: Hello) -> None:
        """Stores what the worker's app declares. A worker whose schedules cannot be stored now works nevertheless."""
        if hello.declared is None:
            return
        try:
            await self._scheduler.declare(*hello.declared)
        except (Unavailable, Ambiguous, TooLarge) as error:
            log.warning("the schedules that worker %s declares cannot be stored: %s", hello.name, error)

    async def _join(self, hello: Hello, held: list[Held]) -> Joined:
        """Joins, and parts again when the stream broke before the join was done. One at a time under a name.

        Another stream of the same process may have joined meanwhile: that one is over, so that its end parts nobody.
        """
        while (before := self._joining.get(hello.name)) is not None:
            await asyncio.wait([before])
            await asyncio.sleep(0)
            await self._settle_previous(hello)
        verb = self._guard.engine.join(hello.name, hello.instance, held, self._guard.now())
        joining = asyncio.ensure_future(self._guard.do(verb))
        self._joining[hello.name] = joining
        joining.add_done_callback(lambda _: self._joining.pop(hello.name, None))
        try:
            return await asyncio.shield(joining)
        except asyncio.CancelledError:
            joining.add_done_callback(lambda done: self._joined_in_vain(hello, done))
            raise

    def _joined_in_vain(self, hello: Hello, joining: asyncio.Future[Joined]) -> None:
        if not joining.cancelled() and joining.exception() is None:
            self._waiters.ended(joining.result().final)
        self._came_in_vain(hello)

    def _came_in_vain(self, hello: Hello) -> None:
        """A stream broke, or was refused, before it had a session, and may have ended an older one of its process."""
        if hello.name not in self._joining and hello.name not in self._sessions.by_name:
            self._engine_part(hello)

    def _engine_part(self, hello: Hello) -> None:
        self._guard.engine.part(hello.name, hello.instance, self._guard.now())

    def part(self, session: Session) -> None:
        """The stream broke. The worker has its grace to come back."""
        if self._sessions.remove(session):
            self._engine_part(session.hello)
            self._outcomes.settle(session)

    async def leave(self, session: Session) -> None:
        """The worker goes for good. Its outcomes have all been brought. Its stream ends when that is on the disk."""
        if self._sessions.by_name.get(session.name) is not session:
            return
        session.slots = session.window = 0
        engine, now = self._guard.engine, self._guard.now()
        woken = await self._guard.do(engine.leave(session.name, session.instance, now))
        self._sessions.remove(session)
        self._dispatcher.wake_queues(woken)
        self._agenda.at_once(now)

    def lost(self, names: Iterable[str]) -> None:
        """The engine has given these up. One that is still connected has been silent for too long, and starts anew."""
        for name in names:
            session = self._sessions.by_name.get(name)
            log.warning("worker %s was away or silent for too long: its jobs go to others", name)
            if session is not None:
                self._sessions.remove(session)

    # -- on the stream ---------------------------------------------------------------------------------------------

    def heard(self, session: Session) -> None:
        """Any message is a sign of life."""
        now = self._guard.now()
        session.heard_ms = now.wall_ms
        self._guard.engine.extend(session.name, session.instance, now)

    def credit(self, session: Session, slots: int, window: int, fast: frozenset[str]) -> None:
        """Replaces the worker's credit. Followed by `dispatch`."""
        session.slots = min(slots, MAX_WINDOW)
        session.window = min(max(window, slots), MAX_WINDOW)
        session.fast = fast & session.hello.tasks
        self._dispatcher.wake(session)

    async def sent(self, session: Session, size: int) -> None:
        """So many bytes of deliveries were taken by the stream: one that was too slow may be handed jobs again."""
        was_full = session.unsent >= MAX_UNSENT
        session.unsent -= size
        if was_full:
            self._dispatcher.wake(session)
            await settled(self._dispatcher.run())  # others get jobs too, and this one may go away meanwhile

    async def dispatch(self) -> None:
        """Hands out what has become possible."""
        await self._dispatcher.run()

    def consume(self, session: Session, queues: tuple[str, ...]) -> None:
        """The worker takes jobs from these queues from now on. Followed by `dispatch`."""
        self._sessions.move(session, queues)
        self._dispatcher.wake(session)


def _differs(known: LimitState, rule: LimitRule) -> bool:
    """Whether an app's rule is news; what an operator has set is not an app's to change."""
    return not known.operator and known.rule != rule
