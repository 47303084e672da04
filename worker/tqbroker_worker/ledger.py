"""Outcomes on their way to the broker: kept until it says that they are on the disk.

An outcome is pending until it is put into a message, then sent under the message's number until that is acknowledged.
When the stream breaks, everything sent becomes pending again, and goes out with its ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tqbroker_worker.jobs import Jobs
from tqbroker_worker.protocol import Done, Ended

MESSAGE_OUTCOMES = 2000
MESSAGE_BYTES = 1 << 20


@dataclass(slots=True)
class Successes:
    """Jobs that succeeded, with where they came from. `again`: sent before, so the ids go along."""

    done: Done
    sources: list[Jobs]
    again: bool = False

    def tokens(self) -> list[int]:
        """The leases that this outcome ends."""
        return self.done.tokens

    def leases(self) -> Iterator[tuple[int, Jobs]]:
        """Each token with the jobs it came with."""
        return zip(self.done.tokens, self.sources, strict=True)

    def size(self) -> int:
        """Bytes, roughly."""
        trails = self.done.trails
        return sum(map(len, self.done.results)) + (sum(trail.size() for trail in trails.values()) if trails else 0)

    def only(self, wanted: Callable[[int], bool]) -> Successes | None:
        """The part whose tokens are wanted."""
        done = self.done
        at = [i for i, token in enumerate(done.tokens) if wanted(token)]
        if not at:
            return None
        columns = Done(
            done.format,
            [done.tokens[i] for i in at],
            [done.results[i] for i in at],
            [done.started_ms[i] for i in at],
            [done.runtime_us[i] for i in at],
            [],
            {new: done.trails[old] for new, old in enumerate(at) if old in done.trails} if done.trails else {},
        )
        return Successes(columns, [self.sources[i] for i in at], self.again)


@dataclass(slots=True)
class Ending:
    """One job that ended otherwise, with where it came from."""

    ended: Ended
    source: Jobs
    again: bool = False

    def tokens(self) -> list[int]:
        """The lease that this outcome ends."""
        return [self.ended.token]

    def leases(self) -> Iterator[tuple[int, Jobs]]:
        """The token with the jobs it came with."""
        yield self.ended.token, self.source

    def size(self) -> int:
        """Bytes, roughly."""
        failure, trail = self.ended.failure, self.ended.trail
        size = len(self.ended.args) + (trail.size() if trail is not None else 0)
        return size + len(failure.traceback) + len(failure.message) + len(failure.args) if failure else size

    def only(self, wanted: Callable[[int], bool]) -> Ending | None:
        """Itself if its token is wanted."""
        return self if wanted(self.ended.token) else None


Outcome = Successes | Ending


@dataclass(slots=True)
class _Sent:
    number: int
    outcomes: list[Outcome] = field(default_factory=list)


class Ledger:
    """Every outcome that is not yet known to be durable."""

    def __init__(self) -> None:
        self._pending: deque[Outcome] = deque()
        self._sent: deque[_Sent] = deque()
        self._later: list[Outcome] = []
        self._returned: list[int] = []
        self.waiting = 0
        """Jobs whose outcome is pending, or that are to be returned."""

    def __len__(self) -> int:
        """Jobs whose outcome is not acknowledged."""
        return self.waiting + _jobs_in(self._later) + sum(_jobs_in(sent.outcomes) for sent in self._sent)

    @property
    def messages_out(self) -> int:
        """Messages with outcomes that are not acknowledged."""
        return len(self._sent)

    def add(self, outcome: Outcome) -> None:
        """A job ended."""
        self._pending.append(outcome)
        self.waiting += len(outcome.tokens())

    def give_back(self, tokens: list[int]) -> None:
        """Jobs that were not started go back to the broker."""
        self._returned += tokens
        self.waiting += len(tokens)

    def take_returned(self) -> list[int]:
        """Tokens to return in the next message. Should it be lost, the next Hello does not name them: the same."""
        tokens, self._returned = self._returned, []
        self.waiting -= len(tokens)
        return tokens

    def take(self, number: int, may_go: Callable[[list[int]], bool] | None = None) -> list[Outcome]:
        """Outcomes for the message with this number, as many as it should carry, up to one that may not go yet."""
        taken: list[Outcome] = []
        count = size = 0
        while self._pending and count < MESSAGE_OUTCOMES and size < MESSAGE_BYTES:
            if may_go is not None and not may_go(self._pending[0].tokens()):
                break
            outcome = self._pending.popleft()
            taken.append(outcome)
            count += len(outcome.tokens())
            size += outcome.size()
        self.waiting -= count
        if taken:
            self._sent.append(_Sent(number, taken))
        return taken

    def acked(self, number: int) -> None:
        """Everything up to this message is on the disk, or was refused."""
        while self._sent and self._sent[0].number <= number:
            self._sent.popleft()

    def keep(self, tokens: set[int]) -> None:
        """The broker could not store these outcomes of sent messages: they wait until `retry`."""
        for sent in self._sent:
            for outcome in sent.outcomes:
                if (part := outcome.only(tokens.__contains__)) is not None:
                    part.again = True
                    self._later.append(part)
            sent.outcomes = _without(sent.outcomes, tokens)

    def retry(self) -> None:
        """What waited because the broker could not store it is pending again."""
        again, self._later = self._later, []
        for outcome in again:
            self.add(outcome)

    def rewind(self) -> None:
        """The stream broke: everything that was sent on it is pending again, in its old order."""
        again = [*self._later, *(outcome for sent in self._sent for outcome in sent.outcomes)]
        for outcome in again:
            outcome.again = True
        self._later.clear()
        self._sent.clear()
        self.take_returned()
        self._pending.extendleft(reversed(again))
        self.waiting += _jobs_in(again)

    def drop(self, tokens: set[int]) -> None:
        """Forgets pending outcomes of leases that are not ours any more."""
        self.waiting -= _jobs_in(self._pending)
        self._pending = deque(_without(self._pending, tokens))
        self.waiting += _jobs_in(self._pending)

    def sent(self) -> Iterator[tuple[int, Jobs]]:
        """Every lease with an outcome that was sent and is not acknowledged, and the jobs it came with."""
        for sent in self._sent:
            for outcome in sent.outcomes:
                yield from outcome.leases()

    def leases(self) -> Iterator[tuple[int, Jobs]]:
        """Every lease with an outcome that is not acknowledged, and the jobs it came with."""
        yield from self.sent()
        for outcome in (*self._later, *self._pending):
            yield from outcome.leases()


def _jobs_in(outcomes: Iterable[Outcome]) -> int:
    return sum(len(outcome.tokens()) for outcome in outcomes)


def _without(outcomes: deque[Outcome] | list[Outcome], tokens: set[int]) -> list[Outcome]:
    left = (outcome.only(lambda token: token not in tokens) for outcome in outcomes)
    return [outcome for outcome in left if outcome is not None]
