"""The side of the operators: looking at jobs, changing them, and the rules of queues and limits.

A change goes on when its caller goes away during the commit, so that everybody concerned hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tqbroker._failpoint import hit
from tqbroker_broker.agenda import Agenda
from tqbroker_broker.dispatch import Dispatcher
from tqbroker_broker.guard import Guard, settled
from tqbroker_broker.inflight import InFlight
from tqbroker_broker.questions import Change, EditAnswer, EventPage, Filter, Page
from tqbroker_broker.records import JobId
from tqbroker_broker.refusals import Invalid, NotFound, TooLarge
from tqbroker_broker.rules import LimitRule, LimitState, QueueRule

T = TypeVar("T")

MAX_RULES = 10_000
"""Queues that can have a rule of their own, and limits: all are kept in memory."""


class Orders:
    """What operators do."""

    def __init__(self, guard: Guard, dispatcher: Dispatcher, agenda: Agenda, inflight: InFlight) -> None:
        self._guard = guard
        self._dispatcher = dispatcher
        self._agenda = agenda
        self._inflight = inflight
        self._one_by_one = asyncio.Lock()

    async def _write(self, verb: Awaitable[T]) -> T:
        """A change, for which a stop waits."""
        self._inflight.enter(0)
        try:
            return await self._guard.do(verb)
        finally:
            self._inflight.leave(0)

    # -- looking ---------------------------------------------------------------------------------------------------

    async def scan(self, wanted: Filter, cursor: bytes, limit: int, *, with_args: bool = False) -> Page:
        """Some jobs that match, in the order of `Page`. Raises Invalid for a cursor that is none."""
        try:
            return await self._guard.do(self._guard.engine.scan(wanted, cursor, limit, with_args=with_args))
        except ValueError as error:
            raise Invalid(f"the cursor is not one of this broker's ({error}): begin without one") from error

    async def events(self, after: int, limit: int) -> EventPage:
        """Some events with numbers above `after`."""
        return await self._guard.do(self._guard.engine.events(after, limit))

    def queue_rules(self) -> dict[str, QueueRule]:
        """The rules that are not the default."""
        return self._guard.engine.queue_rules()

    def limits(self) -> list[LimitState]:
        """Every limit, by name."""
        return self._guard.engine.limits()

    # -- jobs --------------------------------------------------------------------------------------------------------

    async def edit(self, ids: Sequence[JobId], change: Change) -> EditAnswer:
        """Changes jobs, each if its state allows it; hands out what became ready."""
        return await settled(self._edit(ids, change))

    async def _edit(self, ids: Sequence[JobId], change: Change) -> EditAnswer:
        now = self._guard.now()
        answer = await self._write(self._guard.engine.edit(ids, change, now))
        hit("after_order_commit")
        self._agenda.due_at(answer.next_due_ms, now)
        self._dispatcher.wake_queues(answer.woken)
        await self._dispatcher.run()
        return answer

    # -- rules -------------------------------------------------------------------------------------------------------

    async def change_queue(self, queue: str, change: Callable[[QueueRule], QueueRule]) -> QueueRule:
        """Changes a queue's rule, one caller after the other. Returns it as it is now."""
        return await settled(self._change_queue(queue, change))

    async def _change_queue(self, queue: str, change: Callable[[QueueRule], QueueRule]) -> QueueRule:
        async with self._one_by_one:
            rules = self.queue_rules()
            rule = change(rules.get(queue, QueueRule()))
            if queue not in rules and len(rules) >= MAX_RULES:
                raise TooLarge(f"{MAX_RULES} queues have rules of their own already: delete some queues")
            await self._put_queue(queue, rule)
        self._dispatcher.wake_queues([queue])
        await self._dispatcher.run()
        return rule

    async def _put_queue(self, queue: str, rule: QueueRule | None) -> None:
        await self._write(self._guard.engine.put_queue(queue, rule, self._guard.now()))

    async def delete_queue(self, queue: str) -> None:
        """Removes a queue with its rules. Raises NotFound, QueueInUse."""
        await settled(self._delete_queue(queue))

    async def _delete_queue(self, queue: str) -> None:
        async with self._one_by_one:
            stats = await self._guard.do(self._guard.engine.stats())
            if queue not in stats.queues and queue not in self.queue_rules():
                raise NotFound(f"there is no queue {queue!r}: `tqbroker queues` lists those there are", queue=queue)
            await self._put_queue(queue, None)

    async def put_limits(self, rules: Sequence[LimitRule], remove: Sequence[str]) -> None:
        """Sets and removes limits. Raises NotFound for one to remove that is not there."""
        await settled(self._put_limits(rules, remove))

    async def _put_limits(self, rules: Sequence[LimitRule], remove: Sequence[str]) -> None:
        async with self._one_by_one:
            known = {state.rule.name for state in self.limits()}
            missing = [name for name in remove if name not in known]
            if missing:
                text = f"there is no limit {missing[0]!r}, so nothing was changed: `tqbroker limits list` shows all"
                raise NotFound(text, limit=missing[0])
            if len(known.union(rule.name for rule in rules)) > MAX_RULES:
                raise TooLarge(f"there can be {MAX_RULES} limits: remove some, or use one name with a trailing '*'")
            await self._write(self._guard.engine.put_limits(rules, remove, self._guard.now()))
        self._dispatcher.wake_all()
        await self._dispatcher.run()
