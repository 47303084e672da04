"""The engine with its clock, and the one place that notices when storage has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from tqbroker_broker.clock import Clock
from tqbroker_broker.records import Time
from tqbroker_broker.storage import Ambiguous, Engine, Fenced

T = TypeVar("T")


def _ignore(*_: object) -> None:
    return


async def settled(change: Coroutine[Any, Any, T]) -> T:
    """Awaits a change that goes on when its caller goes away."""
    return await asyncio.shield(asyncio.ensure_future(change))


class Guard:
    """What every part of the core shares. `on_failure` is called once, when nothing may be answered OK any more."""

    def __init__(self, engine: Engine, clock: Clock, on_failure: Callable[[Fenced], None] = _ignore) -> None:
        self.engine = engine
        self.failed = False
        self.on_doubt: Callable[[], None] = _ignore
        """Called when a change is in doubt: the next look at storage tells whether it has failed."""
        self._clock = clock
        self._on_failure = on_failure

    def now(self) -> Time:
        """The time to pass to the engine."""
        return self._clock.now()

    async def do(self, verb: Awaitable[T]) -> T:
        """Awaits a verb of the engine, and reports a store that is lost."""
        try:
            return await verb
        except Ambiguous:
            self.on_doubt()
            raise
        except Fenced as error:
            self.fail(error)
            raise

    def beat(self, now: Time) -> None:
        """The engine's beat. It looks at whether storage has failed, so it is also what follows a doubt."""
        try:
            self.engine.beat(now)
        except Fenced as error:
            self.fail(error)
            raise

    def fail(self, error: Fenced) -> None:
        """Storage is lost: tells the owner, once."""
        if not self.failed:
            self.failed = True
            self._on_failure(error)
