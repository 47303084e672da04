"""Workflows as a random walk sends them: small ones of any shape, whole or in parts, some of them wrong."""

from __future__ import annotations

from hashlib import blake2b

from msgspec.structs import replace
from tests.contracts.draws import KEYS, Draws

from tqbroker_broker.attempts import Held
from tqbroker_broker.records import JobId, NewJobs, Time
from tqbroker_broker.rules import UniqueConflict
from tqbroker_broker.workflow_decisions import takes_one
from tqbroker_broker.workflows import NewJoin, NewNodes, On, Part, Shape

REJECT = UniqueConflict.REJECT
MOST_BATCHES = 5
"""Batches of nodes in one workflow."""


class Workflows:
    """Draws workflows, and remembers what was sent. `coming` are parts of uploads that are still to be sent."""

    def __init__(self, draw: Draws) -> None:
        self._draw = draw
        self.ids: list[bytes] = []
        self.groups: list[bytes] = []
        self.coming: list[list[Part]] = []
        self.sent: list[Part] = []

    def whole(self, now: Time) -> Part:
        """A workflow in one part."""
        return self._parts(_Graph(self._draw, self.groups, now), 1)[0]

    def upload(self, now: Time) -> Part:
        """The first part of a workflow of several; the others are to come."""
        parts = self._parts(_Graph(self._draw, self.groups, now), self._draw.rng.randint(2, 3))
        self.coming.append(parts[1:])
        return parts[0]

    def next_part(self) -> Part | None:
        """Mostly the part that is the turn of some upload, sometimes one that is too early."""
        self.coming = [parts for parts in self.coming if parts]
        if not self.coming:
            return None
        parts = self._draw.rng.choice(self.coming)
        return parts[-1] if self._draw.chance(0.1) else parts.pop(0)

    def held(self, now: Time) -> Part:
        """A workflow that is to take the place of a job."""
        part = self._parts(_Graph(self._draw, self.groups, now, takes_over=True), 1)[0]
        self._draw.replacements.append(part.workflow)
        return part._replace(held=True)

    def beside(self, now: Time, job: Held) -> Part:
        """A workflow that is to be added to a running job."""
        return self._parts(_Graph(self._draw, self.groups, now, beside=True), 1)[0]._replace(beside=job)

    def again(self) -> Part | None:
        """A part that was sent, sometimes with something else in it."""
        if not self.sent:
            return None
        part = self._draw.rng.choice(self.sent)
        return part._replace(digest=bytes(16)) if self._draw.chance(0.2) else part

    def some_id(self) -> bytes:
        return self._draw.mostly(self.ids, [b"no such workflow"])

    def some_group(self) -> bytes:
        return self._draw.mostly(self.groups, [b"no such group..."])

    def _parts(self, graph: _Graph, count: int) -> list[Part]:
        """The graph in so many parts; all joins come with the first."""
        workflow = b"workflow %011d" % len(self.ids)
        self.ids.append(workflow)
        cuts = sorted(self._draw.rng.randint(0, len(graph.nodes)) for _ in range(count - 1))
        parts: list[Part] = []
        for number, (first, end) in enumerate(zip([0, *cuts], [*cuts, len(graph.nodes)], strict=True)):
            nodes, joins = graph.nodes[first:end], [] if number else graph.joins
            digest = blake2b(b"%b %d" % (workflow, number), digest_size=16).digest()
            parts.append(Part(workflow, number, number == count - 1, digest, "a workflow", joins, nodes))
        return parts


class _Graph:
    """Nodes and joins: each batch of nodes may wait for a join that has members, and be members of some that have no
    followers. `counts` are those, by number."""

    def __init__(
        self, draw: Draws, groups: list[bytes], now: Time, *, takes_over: bool = False, beside: bool = False
    ) -> None:
        self._draw = draw
        self._groups = groups
        self._now = now
        self._counts: dict[int, tuple[int, int]] = {}
        self.nodes: list[NewNodes] = []
        self.joins: list[NewJoin] = []
        batches = draw.rng.randint(0 if draw.chance(0.1) else 1, MOST_BATCHES)
        taker = draw.rng.randrange(batches) if batches and takes_over and draw.chance(0.9) else -1
        for number in range(batches):
            self._add(takes_over=number == taker, beside=beside and draw.chance(0.6))

    def _add(self, *, takes_over: bool, beside: bool) -> None:
        draw = self._draw
        after = self._after()
        member_of = self._member_of(after)
        silent, countdown_ms = draw.chance(0.15), draw.rng.choice((0, 0, 0, 2000)) if after else 0
        jobs = self._jobs(1 if takes_over else draw.rng.choice((1, 1, 2, 3)), waits=after > 0, takes_over=takes_over)
        expires_in_ms = (
            draw.rng.choice((0, 0, 0, draw.rng.randint(15_000, 20_000))) if after and not jobs.expires_ms else 0
        )
        for number in member_of:
            members, followers = self._counts.get(number, (0, 0))
            self._counts[number] = members + len(jobs.ids), followers
            self._suit(number, members + len(jobs.ids))
        self.nodes.append(
            NewNodes(jobs, after, silent, member_of, countdown_ms, expires_in_ms, takes_over=takes_over, beside=beside)
        )

    def _suit(self, number: int, members: int) -> None:
        """What several jobs return is mostly handed on as a list: a join of one value would be refused."""
        join = self.joins[number - 1] if number <= len(self.joins) else None
        if join and members > 1 and takes_one(join.on, join.shape) and not self._draw.chance(0.02):
            self.joins[number - 1] = join._replace(shape=Shape.LIST)

    def _after(self) -> int:
        """Mostly a join that has members."""
        draw = self._draw
        ready = [number for number, (members, _) in self._counts.items() if members]
        if draw.chance(0.02):
            return 77
        if not ready or draw.chance(0.3):
            return 0
        after = draw.rng.choice(ready)
        members, followers = self._counts[after]
        self._counts[after] = members, followers + 1
        return after

    def _member_of(self, after: int) -> tuple[int, ...]:
        draw = self._draw
        usable = [number for number, (_, followers) in self._counts.items() if not followers and number != after]
        chosen = [number for number in usable if draw.chance(0.6)]
        chosen += [self._join() for _ in range(draw.rng.choice((0, 1, 1, 2)))]
        return (*chosen, 78) if draw.chance(0.01) else tuple(chosen)

    def _join(self) -> int:
        draw = self._draw
        number = len(self.joins) + 1
        on = On.FAILURE if draw.chance(0.3) else On.SUCCESS
        shape = draw.rng.choice(list(Shape)) if on is On.SUCCESS else Shape.VALUE
        group = b""
        if shape is Shape.LIST and draw.chance(0.6):
            group = b"group %010d" % len(self._groups)
            self._groups.append(group)
        self.joins.append(NewJoin(number, on, shape, group))
        return number

    def _jobs(self, count: int, *, waits: bool, takes_over: bool) -> NewJobs:
        draw, rng, now_ms = self._draw, self._draw.rng, self._now.wall_ms
        head = draw.head()
        unique = head.traits.unique if draw.chance(0.2) and not takes_over else None
        unique = replace(unique, conflict=REJECT) if unique else None
        head = replace(head, traits=replace(head.traits, unique=unique))
        ids: list[JobId] = [bytes(16)] if takes_over else [self._id() for _ in range(count)]
        due_ms = 0 if waits else rng.choice((0, 0, 0, now_ms - 1000, now_ms + 3000))
        expires_ms = draw.expires_ms(self._now)
        keys = [rng.choice(KEYS) for _ in ids] if unique else ()
        digests = [draw.digests.get(job, bytes(16)) for job in ids]
        return NewJobs(head, ids, [job[-3:] for job in ids], digests, due_ms, expires_ms, keys)

    def _id(self) -> JobId:
        return self._draw.some_id() if self._draw.chance(0.01) else self._draw.new_id()
