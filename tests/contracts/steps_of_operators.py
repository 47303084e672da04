"""Steps of a walk: callers and operators change what they submitted."""

from __future__ import annotations

from tests.contracts.course import Course, Step


class OperatorSteps:
    """What is ordered from outside."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._draw = course.draw
        self.steps: dict[Step, int] = {
            self._cancel: 4,
            self._forget: 2,
            self._edit: 6,
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
