"""Handing out: who is asked next, and how much each is given.

Everything that may have made a hand-out possible (a commit, freed credit, a new worker) wakes the kinds of workers
concerned; `run` then asks the engine until nothing more can be given. Many wakes make one run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from tqbroker._failpoint import hit
from tqbroker_broker.agenda import Agenda
from tqbroker_broker.attempts import Leased, Want
from tqbroker_broker.guard import Guard
from tqbroker_broker.sessions import Kind, Session, Sessions, load_of
from tqbroker_broker.storage import StorageError

log = logging.getLogger("tqbroker.broker")

SHARE = 64
"""Jobs a worker is given at a time while others could take some too."""

MOST_ASKED = 16
"""Workers asked for in one call of the engine."""

ROUNDS = 4
"""Calls of the engine before a run lets its caller go and continues by itself."""


class Dispatcher:
    """Brings ready jobs and free credit together."""

    def __init__(self, guard: Guard, sessions: Sessions, agenda: Agenda) -> None:
        self._guard = guard
        self._sessions = sessions
        self._agenda = agenda
        self._hungry: dict[Kind, None] = {}
        self._running = False
        self._later: asyncio.Task[None] | None = None
        self.stopped = False

    def wake_queues(self, queues: Iterable[str]) -> None:
        """Something in these queues became ready. Sorted: a set of names has another order in each process."""
        for queue in sorted(queues):
            for kind in self._sessions.takers(queue):
                self._wake(kind)

    def wake_all(self) -> None:
        """Anything may have become possible."""
        for kind in self._sessions.kinds():
            self._wake(kind)

    def wake(self, session: Session) -> None:
        """A worker has (perhaps) credit again."""
        if not session.closed:
            session.kind.waiting[session] = None
            self._wake(session.kind)

    def _wake(self, kind: Kind) -> None:
        if kind.waiting:
            kind.version += 1
            kind.step = 1
            kind.aside.clear()
            self._hungry[kind] = None

    async def run(self) -> None:
        """Hands out what can be handed out; at once, unless a run is under way, which then does this too.

        Never fails: what its caller has stored is stored. After an error the next tick wakes everybody again.
        """
        if self._running or self.stopped:
            return
        self._running = True
        try:
            for _ in range(ROUNDS):
                kind = self._next()
                if kind is None:
                    return
                await self._round(kind)
        except StorageError as error:
            self._hungry.clear()
            log.warning("nothing can be handed out at the moment: %s", error)
        except Exception:
            self._hungry.clear()
            log.exception("handing out failed")
        finally:
            self._running = False
        if self._hungry:
            self._later = asyncio.get_running_loop().create_task(self.run())

    def _next(self) -> Kind | None:
        """A hungry kind for which there may be something. The others are woken by what becomes ready for them."""
        now = self._guard.now()
        while self._hungry:
            kind = next(iter(self._hungry))
            if self._guard.engine.has_ready(kind.able.queues, now):
                return kind
            del self._hungry[kind]
        return None

    async def _round(self, kind: Kind) -> None:
        version = kind.version
        asked = self._choose(kind)
        if not asked:
            self._hungry.pop(kind, None)
            return
        try:
            answers = await self._guard.do(self._guard.engine.lease([want for _, want in asked], self._guard.now()))
            hit("after_grant")
            answered = list(zip(asked, answers.batches, strict=True))
            exhausted = [self._settle(kind, *ask, leased) for ask, leased in answered]
        except StorageError:  # by the engine: nothing was granted
            raise
        except BaseException:
            self._doubt(session for session, _ in asked)
            raise
        if answers.again_in:
            self._agenda.again_in(answers.again_in, self._guard.now())
        present = (
            spent for (session, _), spent in zip(asked, exhausted, strict=True) if session.name not in answers.away
        )
        if any(present) and kind.version == version:
            self._hungry.pop(kind, None)
        kind.step = min(kind.step * 2, MOST_ASKED)
        await self._give_back([(session, leased) for (session, _), leased in answered if session.closed and leased])

    def _doubt(self, sessions: Iterable[Session]) -> None:
        """Leases may have been granted that their workers never hear of: coming back settles who holds what.

        They are the worker's also when it has come back already, on a stream of which the hand-out did not know.
        """
        for session in sessions:
            session.close()
            current = self._sessions.by_name.get(session.name)
            if current is not None:
                current.close()

    def _choose(self, kind: Kind) -> list[tuple[Session, Want]]:
        """The workers whose turn it is, with what each could take. Forgets those without credit."""
        most = SHARE if len(kind.waiting) > 1 else 1 << 30
        asked: list[tuple[Session, Want]] = []
        without: list[Session] = []
        for session in kind.waiting:
            if session in kind.aside:
                continue
            want = session.want(most)
            if want is None:
                without.append(session)
                continue
            asked.append((session, want))
            if len(asked) == kind.step:
                break
        for session in without:
            del kind.waiting[session]
        return asked

    @staticmethod
    def _settle(kind: Kind, session: Session, want: Want, leased: list[Leased]) -> bool:
        """Gives a worker its jobs. True when this shows that nothing more is ready for its kind."""
        count = sum(len(batch.ids) for batch in leased)
        if session.closed:
            return False
        if leased:
            session.deliver(leased)
        if session.kind is not kind:  # it takes other queues meanwhile, and is asked for those
            return False
        kind.waiting.pop(session, None)
        kind.waiting[session] = None
        if count >= want.window or sum(map(load_of, leased)) >= want.max_bytes:
            return False
        kind.aside.add(session)
        return count < want.slots

    async def _give_back(self, vain: list[tuple[Session, list[Leased]]]) -> None:
        """These workers went away meanwhile."""
        engine = self._guard.engine
        try:
            for session, leased in vain:
                tokens = [token for batch in leased for token in batch.tokens]
                self.wake_queues(await self._guard.do(engine.release(session.name, tokens, self._guard.now())))
        except BaseException:
            self._doubt(session for session, _ in vain)
            raise
