"""Steps of a walk: workflows come, whole or in parts, take the place of jobs or come beside them, and are dropped."""

from __future__ import annotations

from tests.contracts.course import Course, Step

from tqbroker_broker.attempts import Held
from tqbroker_broker.questions import Drop, Filter, Redrive
from tqbroker_broker.records import State
from tqbroker_broker.workflows import Part, WorkflowState

PAGE = 3
FAILED = Filter(states=frozenset({State.FAILED}))
ENDED = frozenset({WorkflowState.SUCCEEDED, WorkflowState.FAILED, WorkflowState.CANCELLED})


class WorkflowSteps:
    """What is done with workflows and groups."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._draw = course.draw
        self._workflows = course.workflows
        self.steps: dict[Step, int] = {
            self._whole: 6,
            self._upload: 3,
            self._next_part: 6,
            self._held: 3,
            self._beside: 3,
            self._again: 2,
            self._inputs: 2,
            self._mend: 5,
            self._drop: 1,
            self._drop_ended: 2,
            self._groups: 2,
        }

    async def _submit(self, part: Part | None) -> None:
        if part is None:
            return
        await self._course.same(f"submit {part}", lambda engine: engine.verbs.submit(part, engine.now))
        self._workflows.sent.append(part)

    async def _whole(self) -> None:
        await self._submit(self._workflows.whole(self._course.now))

    async def _upload(self) -> None:
        await self._submit(self._workflows.upload(self._course.now))

    async def _next_part(self) -> None:
        await self._submit(self._workflows.next_part())

    async def _held(self) -> None:
        await self._submit(self._workflows.held(self._course.now))

    async def _again(self) -> None:
        await self._submit(self._workflows.again())

    async def _beside(self) -> None:
        """Mostly a worker adds to a job that it runs."""
        client = self._course.holder()
        if not client.held:
            return
        token = self._course.rng.choice(list(client.held))
        job = client.held[token] if self._draw.chance(0.9) else self._draw.some_id()
        await self._submit(self._workflows.beside(self._course.now, Held(job, token)))

    async def _inputs(self) -> None:
        running = [job for client in self._course.clients for job in client.held.values()]
        for job in [*running, *self._draw.some_ids()]:
            first = self._course.rng.randint(0, 2)
            await self._course.same(
                f"inputs {job!r} {first}",
                lambda engine, job=job, first=first: engine.verbs.inputs(job, first),  # type: ignore[misc]
            )

    async def _mend(self) -> None:
        """Redrives what has failed, or forgets it."""
        page = await self._course.engines[0].verbs.scan(FAILED, b"", 1000)
        ids = [job.id for job in page.jobs if job.workflow]
        ids = self._course.rng.sample(ids, min(len(ids), 3))
        change = Redrive() if self._draw.chance(0.8) else Drop()
        await self._course.same(f"edit {ids} {change}", lambda engine: engine.verbs.edit(ids, change, engine.now))

    async def _drop_ended(self) -> None:
        page = await self._course.engines[0].verbs.workflows(ENDED, b"", 1000)
        if page.workflows:
            await self._drop_one(self._course.rng.choice(page.workflows).id)

    async def _drop(self) -> None:
        await self._drop_one(self._workflows.some_id())

    async def _drop_one(self, workflow: bytes) -> None:
        await self._course.same(f"drop {workflow!r}", lambda engine: engine.verbs.drop_workflow(workflow, engine.now))

    async def _groups(self) -> None:
        """Saves, deletes and asks for groups."""
        group, ids = self._workflows.some_group(), self._draw.some_ids()
        if self._draw.chance(0.3):
            await self._course.same(
                f"save {group!r} {ids}", lambda engine: engine.verbs.save_group(group, ids, engine.now)
            )
        elif self._draw.chance(0.3):
            await self._course.same(f"delete {group!r}", lambda engine: engine.verbs.delete_group(group))
        await self._course.same(f"group {group!r}", lambda engine: engine.verbs.group(group, 1, PAGE))
