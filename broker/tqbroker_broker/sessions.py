"""Connected workers: what each can take, what it holds, and what waits to be sent to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tqbroker_broker.answers import Mark
from tqbroker_broker.attempts import Extra, Held, Leased, Want
from tqbroker_broker.inflight import InFlight
from tqbroker_broker.records import Head
from tqbroker_broker.rules import LimitRule
from tqbroker_broker.schedules import Schedule

MAX_WINDOW = 10_000
"""Most leases one worker can have out, whatever credit it announces."""

MAX_UNSENT = 2 << 20
"""Bytes that wait to be sent to one worker, above which it is handed nothing: it does not read."""

MAX_BYTES = 1 << 20
"""Bytes of one hand-out, so that a message stays small."""

ENTRY = 64
"""Bytes that one value of a list of inputs counts beside its own: its format and the like."""

MAX_COMMANDS = 100
"""Commands that wait to be sent to one worker, above which it gets none: it does not read."""


class Hello(NamedTuple):
    """How a worker introduces itself. `store` is the one that `held` belongs to, empty at first contact.

    `limits` are the rules that its app declares, `declared` the name of the app with its schedules, if it says any.
    """

    name: str
    instance: bytes
    queues: tuple[str, ...]
    tasks: frozenset[str]
    slots: int = 1
    pool: str = ""
    host: str = ""
    pid: int = 0
    version: str = ""
    store: bytes = b""
    held: Sequence[Held] = ()
    labels: frozenset[str] = frozenset()
    limits: Sequence[LimitRule] = ()
    declared: tuple[str, Sequence[Schedule]] | None = None


class Able(NamedTuple):
    """What decides which jobs a worker can be given."""

    queues: tuple[str, ...]
    tasks: frozenset[str]
    labels: frozenset[str]


class Command(NamedTuple):
    """Something an operator asks of a worker. `arguments` are a JSON object."""

    number: int
    name: str
    arguments: bytes


class Kind:
    """Workers that can be given the same jobs: what one of them cannot get, none can."""

    __slots__ = ("able", "aside", "step", "version", "waiting")

    def __init__(self, able: Able) -> None:
        self.able = able
        self.waiting: dict[Session, None] = {}
        """Those with credit, the one longest unserved first."""
        self.aside: set[Session] = set()
        """Those of them that need not be asked again before something changes."""
        self.version = 0
        self.step = 1


class Session:
    """One worker on its open stream. `on_wake` is called when there is something to send, or the session was closed."""

    def __init__(self, hello: Hello, kind: Kind, on_wake: Callable[[], None], now_ms: int) -> None:
        self.hello = hello
        self.name = hello.name
        self.instance = hello.instance
        self.kind = kind
        self.on_wake = on_wake
        self.slots = 0
        self.window = 0
        self.fast: frozenset[str] = frozenset()
        self.leases: set[int] = set()
        """Tokens of the leases this worker has."""
        self.slow: set[int] = set()
        """Those of them whose tasks were not announced as fast: each may keep a slot busy for long."""
        self.outbox: deque[Leased] = deque()
        self.unsent = 0
        self.cancelled: list[int] = []
        self.terminate: list[tuple[int, str]] = []
        """Those of `cancelled` to be stopped by force, with the signal (empty: the worker's default)."""
        self.commands: list[Command] = []
        self.stopping = False
        self.closed = False
        self.connected_ms = now_ms
        self.heard_ms = now_ms
        self.outcomes = InFlight()

    def want(self, most: int) -> Want | None:
        """What to ask the engine for, at most so many jobs; None when this worker can take nothing."""
        slots = self.slots - len(self.slow)
        window = self.window - self.out
        if self.closed or window <= 0 or (slots <= 0 and not self.fast) or self.unsent >= MAX_UNSENT:
            return None
        able = self.kind.able
        slots, window = min(max(slots, 0), most), min(window, most)
        return Want(self.name, able.queues, able.tasks, slots, window, self.fast, MAX_BYTES, able.labels)

    @property
    def out(self) -> int:
        """How many leases this worker has."""
        return len(self.leases)

    def deliver(self, leased: Iterable[Leased]) -> None:
        """Jobs for this worker."""
        for batch in leased:
            size = size_of(batch)
            self.unsent += size
            self.outbox.extend(cut(batch) if size > MAX_BYTES and len(batch.ids) > 1 else (batch,))
            self.leases.update(batch.tokens)
            if batch.slow or batch.head.task not in self.fast:
                self.slow.update(batch.tokens)
        self.on_wake()

    def resume(self, tokens: Iterable[int]) -> None:
        """Leases this worker had before its stream opened."""
        self.leases.update(tokens)
        self.slow.update(tokens)

    def freed(self, tokens: Iterable[int]) -> None:
        """These leases ended."""
        ended = list(tokens)
        self.leases.difference_update(ended)
        self.slow.difference_update(ended)

    def cancel(self, tokens: Sequence[int], *, terminate: bool = False, signal: str = "") -> None:
        """Somebody cancelled these, and wants them stopped by force with this signal if `terminate`.

        Told once each, however often it is asked for before the worker reads.
        """
        self.cancelled.extend(set(tokens).difference(self.cancelled))
        if terminate:
            told = {token for token, _ in self.terminate}
            self.terminate.extend((token, signal) for token in tokens if token not in told)
        self.on_wake()

    def cancel_marked(self, marks: Mapping[int, Mark]) -> None:
        """Leases that the worker had before its stream opened, and that somebody has cancelled since."""
        self.cancel(list(marks))
        self.cancel([token for token, mark in marks.items() if mark is Mark.TERMINATE], terminate=True)

    def command(self, command: Command) -> bool:
        """Somebody asks something. False when this worker does not read what is sent to it."""
        if self.closed or len(self.commands) >= MAX_COMMANDS:
            return False
        self.commands.append(command)
        self.on_wake()
        return True

    def stop(self) -> None:
        """The broker is stopping: the worker should know."""
        self.stopping = True
        self.on_wake()

    def close(self) -> None:
        """The session is over; its stream ends."""
        self.closed = True
        self.on_wake()


class Sessions:
    """All connected workers, by name, and by what they can take."""

    def __init__(self) -> None:
        self.by_name: dict[str, Session] = {}
        self._kinds: dict[Able, tuple[Kind, set[Session]]] = {}
        self._by_queue: dict[str, dict[Kind, None]] = {}

    def kind(self, hello: Hello) -> Kind:
        """The kind this worker is of."""
        able = Able(hello.queues, hello.tasks, hello.labels)
        known = self._kinds.get(able)
        return known[0] if known else Kind(able)

    def add(self, session: Session) -> None:
        """From now on it is handed jobs."""
        self.by_name[session.name] = session
        self._enter(session)

    def remove(self, session: Session) -> bool:
        """Closes a session. False when it was not (or no longer) the one under its name."""
        session.close()
        if self.by_name.get(session.name) is not session:
            return False
        del self.by_name[session.name]
        self._exit(session)
        return True

    def move(self, session: Session, queues: tuple[str, ...]) -> None:
        """From now on it takes jobs from these queues."""
        session.hello = session.hello._replace(queues=queues)
        if self.by_name.get(session.name) is session:
            self._exit(session)
            session.kind = self.kind(session.hello)
            self._enter(session)

    def _enter(self, session: Session) -> None:
        kind = session.kind
        self._kinds.setdefault(kind.able, (kind, set()))[1].add(session)
        for queue in kind.able.queues:
            self._by_queue.setdefault(queue, {})[kind] = None

    def _exit(self, session: Session) -> None:
        kind, members = self._kinds[session.kind.able]
        members.discard(session)
        kind.waiting.pop(session, None)
        kind.aside.discard(session)
        if not members:
            self._drop(kind)

    def _drop(self, kind: Kind) -> None:
        del self._kinds[kind.able]
        for queue in kind.able.queues:
            kinds = self._by_queue[queue]
            kinds.pop(kind, None)
            if not kinds:
                del self._by_queue[queue]

    def kinds(self) -> Iterable[Kind]:
        """Every kind there is."""
        return [kind for kind, _ in self._kinds.values()]

    def takers(self, queue: str) -> Iterable[Kind]:
        """Kinds that take jobs from a queue."""
        return self._by_queue.get(queue, ())

    def lack(self, head: Head) -> str:
        """Why no connected worker can be given a job, in words; empty when one can."""
        task, queue, labels = head.task, head.queue, frozenset(head.traits.requires)
        takers = [kind.able for kind in self.takers(queue)]
        able = [each for each in takers if task in each.tasks]
        if any(labels <= each.labels for each in able):
            return ""
        if able:
            return f"no worker has the labels {', '.join(sorted(labels))}"
        if not any(task in each.tasks for each in self._kinds):
            return f"no worker knows {task}"
        return f"no worker of queue {queue} knows {task}" if takers else f"no worker takes queue {queue}"


def load_of(batch: Leased) -> int:
    """Bytes of a batch as a hand-out counts them: arguments, checkpoints, and what jobs of workflows are handed."""
    size = sum(map(len, batch.args))
    return size + sum(map(_load_of, batch.extras.values())) if batch.extras else size


def _load_of(extra: Extra) -> int:
    size = len(extra.checkpoint)
    if extra.place is None:
        return size
    inputs, cause = extra.place.inputs, extra.place.cause
    if inputs is not None:
        size += sum(map(len, inputs.values)) + ENTRY * len(inputs.values)
    return size + len(cause.args) if cause is not None else size


def size_of(batch: Leased) -> int:
    """Bytes of a batch on the wire, roughly."""
    return load_of(batch) + len(batch.head.headers) + 32 * len(batch.ids)


def cut(batch: Leased) -> Iterator[Leased]:
    """The jobs of a large batch in parts, so that no message is much larger than a hand-out may be."""
    start = size = 0
    for index in range(len(batch.ids)):
        each = load_of(batch.part(index, index + 1))
        if index > start and size + each > MAX_BYTES:
            yield batch.part(start, index)
            start, size = index, 0
        size += each
    yield batch.part(start, len(batch.ids))
