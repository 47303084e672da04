"""Steps of a walk: callers and operators change what they submitted."""

from __future__ import annotations

from tests.contracts.course import Course, Step
from tests.contracts.harness import EngineUnderTest

from tqbroker_broker.rules import QueueRule
from tqbroker_broker.storage import QueueInUse


class OperatorSteps:
    """What is ordered from outside."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._draw = course.draw
        self.steps: dict[Step, int] = {
            self._cancel: 4,
            self._forget: 2,
            self._edit: 6,
            self._put_queue: 3,
            self._put_limits: 2,
        }

    async def _cancel(self) -> None:
        ids, terminate = self._draw.some_ids(), self._draw.chance(0.3)
        await self._course.same(
            f"cancel {ids} {terminate}", lambda engine: engine.verbs.cancel(ids, engine.now, terminate=terminate)
        )

    async def _forget(self) -> None:
        ids = self._draw.some_ids()
        await self._course.same(f"forget {ids}", lambda engine: engine.verbs.forget(ids, engine.now))

    async def _edit(self) -> None:
        ids, change = self._draw.some_ids(), self._draw.change(self._course.now)
        await self._course.same(f"edit {ids} {change}", lambda engine: engine.verbs.edit(ids, change, engine.now))

    async def _put_queue(self) -> None:
        queue, rule = self._draw.queue(), self._draw.queue_rule()
        await self._course.same(f"rule of {queue} {rule}", lambda engine: _put_queue(engine, queue, rule))

    async def _put_limits(self) -> None:
        rules, remove, operator = self._draw.limit_rules(), self._draw.limit_names(), self._draw.chance(0.7)
        await self._course.same(
            f"limits {rules} without {remove} {operator}",
            lambda engine: engine.verbs.put_limits(rules, remove, engine.now, operator=operator),
        )


async def _put_queue(engine: EngineUnderTest, queue: str, rule: QueueRule | None) -> bool:
    """Whether the rule could be set."""
    try:
        await engine.verbs.put_queue(queue, rule, engine.now)
    except QueueInUse:
        return False
    return True
