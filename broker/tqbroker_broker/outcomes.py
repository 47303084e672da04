"""What workers bring: outcomes, progress, and jobs they give back. None of it is dropped for want of room."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tqbroker._failpoint import hit
from tqbroker_broker.agenda import Agenda
from tqbroker_broker.attempts import Annotation, Ending, Refusal, Successes
from tqbroker_broker.dispatch import Dispatcher
from tqbroker_broker.guard import Guard
from tqbroker_broker.sessions import Session
from tqbroker_broker.storage import Ambiguous, Unavailable
from tqbroker_broker.waiters import Waiters

log = logging.getLogger("tqbroker.broker")

T = TypeVar("T")


class Outcomes:
    """Takes what sessions bring, and knows whose is on its way to the disk."""

    def __init__(self, guard: Guard, dispatcher: Dispatcher, waiters: Waiters, agenda: Agenda) -> None:
        self._guard = guard
        self._dispatcher = dispatcher
        self._waiters = waiters
        self._agenda = agenda
        self._bringing: set[Session] = set()
        self._settling: dict[str, Session] = {}

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

    async def release(self, session: Session, tokens: Sequence[int]) -> None:
        """Unstarted jobs go back to their place."""
        with self._brings(session):
            verb = self._guard.engine.release(session.name, tokens, self._guard.now())
            woken = await self._guard.do(verb)
        session.freed(tokens)
        self._dispatcher.wake(session)
        self._dispatcher.wake_queues(woken)
        await self._dispatcher.run()

    def spare(self) -> None:
        """Silent workers are about to be judged: not those whose outcomes wait here, who may not be heard meanwhile."""
        now = self._guard.now()
        for session in self._bringing:
            self._guard.engine.spare(session.name, session.instance, now)

    def settle(self, session: Session) -> None:
        """A stream is over. What it has brought and is not stored yet is remembered under the worker's name."""
        if session.outcomes.count:
            self._settling[session.name] = session

    async def settled(self, name: str) -> None:
        """Returns when what an older stream of this worker had brought is stored or refused."""
        session = self._settling.get(name)
        if session is not None:
            await session.outcomes.quiet()

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
