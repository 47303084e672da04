"""Steps of a walk: jobs come, are handed out, and end."""

from __future__ import annotations

from tests.contracts.course import Course, Step
from tests.contracts.draws import Client

from tqbroker_broker.attempts import Leased, Want


class JobSteps:
    """What clients and workers do with jobs."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._draw = course.draw
        self._sent: list[int] = []
        self.steps: dict[Step, int] = {
            self.enqueue: 10,
            self._lease: 18,
            self._finish: 14,
            self._work: 12,
            self._resend: 3,
            self._release: 2,
            self._annotate: 3,
        }

    async def enqueue(self) -> None:
        course = self._course
        batches = [self._draw.batch(course.now) for _ in range(course.rng.randint(1, 2))]
        await course.same(f"enqueue {batches}", lambda engine: engine.verbs.enqueue(batches, engine.now))

    async def _lease(self) -> None:
        course = self._course
        if len(self._draw.tenants) > 1:
            # Whether a job that is to be ended still counts when tenants take turns is left to the engine.
            await course.expire(1000)
            await course.look(closely=False)
        present = [client for client in course.clients if client.connected]
        clients = [self._draw.mostly(present, course.clients) for _ in range(course.rng.randint(1, 2))]
        await self._hand_out(clients, [self._draw.want(client) for client in clients])

    async def _hand_out(self, clients: list[Client], wants: list[Want]) -> None:
        course = self._course
        answers = await course.same(f"lease {wants}", lambda engine: engine.hand_out(wants))
        for client, batches in zip(clients, answers.batches, strict=True):
            course.witness.leased(batches)
            self._deliver(client, batches)

    def _deliver(self, client: Client, batches: list[Leased]) -> None:
        """The worker has the jobs, unless the message got lost."""
        taken = {token: job for batch in batches for token, job in zip(batch.tokens, batch.ids, strict=True)}
        self._draw.granted.update(taken)
        if self._draw.chance(0.9):
            client.held.update(taken)

    async def _work(self) -> None:
        """A worker takes what there is, and mostly does it well."""
        client = self._course.holder()
        if not client.connected:
            return
        await self.take_all(client)
        await self._course.look(closely=False)
        tokens = list(client.held)
        await self._outcomes(client, tokens, self._course.rng.randint(len(tokens) // 2, len(tokens)), with_ids=False)

    async def take_all(self, client: Client) -> None:
        """A worker takes what there is."""
        await self._course.expire(1000)
        await self._course.look(closely=False)
        await self._hand_out([client], [self._draw.any_work(client)])

    async def _finish(self) -> None:
        client = self._course.holder()
        tokens = self._draw.some_of(client.held) + self._draw.stray_tokens(self._course.clients)
        await self._outcomes(client, tokens, self._course.rng.randint(0, len(tokens)), with_ids=False)

    async def _resend(self) -> None:
        client = self._course.holder()
        tokens = self._draw.some_of(dict.fromkeys([*client.held, *self._sent]))
        await self._outcomes(client, tokens, self._course.rng.randint(0, len(tokens)), with_ids=True)

    async def _outcomes(self, client: Client, tokens: list[int], cut: int, *, with_ids: bool) -> None:
        """Sends so many outcomes as successes, the others as endings."""
        course = self._course
        successes = [self._draw.successes(tokens[:cut], course.now, with_ids=with_ids)] if cut else []
        endings = [self._draw.ending(token, course.now, with_ids=with_ids) for token in tokens[cut:]]
        answer = await course.same(
            f"finish {client.name} {successes} {endings}",
            lambda engine: engine.verbs.finish(client.name, successes, endings, engine.now),
        )
        for token in tokens:
            client.held.pop(token, None)
            if token not in answer.refused:
                self._sent.append(token)
                course.witness.accepted(client.name, self._draw.granted[token], token)

    async def _release(self) -> None:
        client = self._course.holder()
        tokens = self._draw.some_of(client.held) + self._draw.stray_tokens(self._course.clients)
        await self._course.same(
            f"release {client.name} {tokens}", lambda engine: engine.verbs.release(client.name, tokens, engine.now)
        )
        for token in tokens:
            client.held.pop(token, None)

    async def _annotate(self) -> None:
        client = self._course.holder()
        tokens = self._draw.some_of(client.held) + self._draw.stray_tokens(self._course.clients)
        annotations = [self._draw.annotation(token, self._course.now) for token in tokens]
        await self._course.same(
            f"annotate {client.name} {annotations}",
            lambda engine: engine.verbs.annotate(client.name, annotations, engine.now),
        )
