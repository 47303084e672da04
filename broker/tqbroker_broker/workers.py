"""The life of a worker's session: it comes, takes jobs, brings outcomes, falls silent, leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from tqbroker._failpoint import hit
from tqbroker_broker.agenda import Agenda
from tqbroker_broker.answers import Joined
from tqbroker_broker.attempts import Annotation, Ending, Held, Refusal, Successes
from tqbroker_broker.dispatch import Dispatcher
from tqbroker_broker.guard import Guard
from tqbroker_broker.refusals import Stopping, TooLarge
from tqbroker_broker.rules import LimitRule, LimitState
from tqbroker_broker.scheduler import Scheduler
from tqbroker_broker.sessions import MAX_UNSENT, MAX_WINDOW, Hello, Session, Sessions
from tqbroker_broker.storage import Ambiguous, Unavailable
from tqbroker_broker.waiters import Waiters

log = logging.getLogger("tqbroker.broker")

T = TypeVar("T")


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
    ) -> None:
        self._guard = guard
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._waiters = waiters
        self._agenda = agenda
        self._scheduler = scheduler
        self._bringing: set[Session] = set()
        self._settling: dict[str, Session] = {}
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
                self._remember_settling(previous)
                raise
        settling = self._settling.get(hello.name)
        if settling is not None:
            await settling.outcomes.quiet()

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
            self._remember_settling(session)

    def _remember_settling(self, session: Session) -> None:
        if session.outcomes.count:
            self._settling[session.name] = session

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
            await self._dispatcher.run()

    async def dispatch(self) -> None:
        """Hands out what has become possible."""
        await self._dispatcher.run()

    def consume(self, session: Session, queues: tuple[str, ...]) -> None:
        """The worker takes jobs from these queues from now on. Followed by `dispatch`."""
        self._sessions.move(session, queues)
        self._dispatcher.wake(session)

    async def annotate(self, session: Session, annotations: Sequence[Annotation]) -> list[int]:
        """Stores progress and checkpoints. Returns tokens whose lease was lost: without effect.

        Raises Unavailable or Ambiguous when it cannot now: the worker has to keep them, since outcomes wait behind.
        """
        engine, name = self._guard.engine, session.name
        with self._brings(session):
            refused = await self._guard.do(engine.annotate(name, annotations, self._guard.now()))
        hit("after_annotate_commit")
        return list(refused)

    async def finish(self, session: Session, successes: Sequence[Successes], endings: Sequence[Ending]) -> list[int]:
        """Stores outcomes, tells who waits, hands out again. Returns tokens whose lease was lost: without effect."""
        engine, name = self._guard.engine, session.name
        with self._brings(session):
            finished = await self._store(name, lambda: engine.finish(name, successes, endings, self._guard.now()))
        hit("after_finish_commit")
        stale = [token for token, why in finished.refused.items() if why is Refusal.STALE]
        for columns in successes:
            session.freed(columns.tokens)
        session.freed(ending.token for ending in endings)
        self._waiters.ended(finished.final)
        self._dispatcher.wake(session)
        self._dispatcher.wake_queues(finished.woken)
        self._agenda.due_at(finished.next_due_ms, self._guard.now())
        await self._dispatcher.run()
        return stale

    @contextmanager
    def _brings(self, session: Session) -> Iterator[None]:
        """Until something that this worker has brought is on the disk, or was refused."""
        session.outcomes.enter(0)
        self._bringing.add(session)
        try:
            yield
        finally:
            session.outcomes.leave(0)
            if not session.outcomes.count:
                self._bringing.discard(session)
                if self._settling.get(session.name) is session:
                    del self._settling[session.name]

    def spare(self) -> None:
        """Silent workers are about to be judged: not those whose outcomes wait here, who may not be heard meanwhile."""
        now = self._guard.now()
        for session in self._bringing:
            self._guard.engine.spare(session.name, session.instance, now)

    async def _store(self, worker: str, verb: Callable[[], Awaitable[T]]) -> T:
        """What workers bring is never dropped: while the store has no room, it is tried again after each tick."""
        told = False
        while True:
            try:
                return await self._guard.do(verb())
            except (Unavailable, Ambiguous) as error:
                if not told:  # a full disk is not helped by a log that grows twice a second
                    log.warning("what worker %s has brought cannot be stored yet: %s", worker, error)
                told = True
                await self._agenda.tick()

    async def release(self, session: Session, tokens: Sequence[int]) -> None:
        """Unstarted jobs go back to their place."""
        with self._brings(session):
            verb = self._guard.engine.release(session.name, tokens, self._guard.now())
            woken = await self._guard.do(verb)
        session.freed(tokens)
        self._dispatcher.wake(session)
        self._dispatcher.wake_queues(woken)
        await self._dispatcher.run()


def _differs(known: LimitState, rule: LimitRule) -> bool:
    """Whether an app's rule is news; what an operator has set is not an app's to change."""
    return not known.operator and known.rule != rule
