"""Whether a store holds what clients were told, and nothing that nobody asked for."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from tests.crash.powercut.claims import (
    Asked,
    Claim,
    Ended,
    Gone,
    Keyed,
    Leaving,
    Marked,
    Moved,
    Planned,
    Removed,
    Removing,
    Retried,
    Said,
    Stored,
    args_of,
    decode,
    result_of,
)
from tests.crash.powercut.contents import Contents, Job

from tqbroker_broker.records import State

TICK = "tasks.tick"
"""What schedules submit: the broker makes the ids of these jobs."""


class Judge:
    """Hears the marks of a recording in their order; at any moment it can look at what the disk would have."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        """What was acknowledged so far."""
        self._asked: set[bytes] = set()
        self._together: list[list[bytes]] = []
        self._leaving: set[bytes] = set()
        self._removing: set[str] = set()

    def hear(self, mark: bytes) -> None:
        """One mark."""
        for claim in decode(mark):
            if isinstance(claim, Asked):
                self._asked.update(claim.ids)
                self._together.append(claim.ids)
            elif isinstance(claim, Leaving):
                self._leaving.add(claim.id)
            elif isinstance(claim, Removing):
                self._removing.add(claim.name)
            else:
                self.claims.append(claim)

    def broken(self, contents: Contents, since: int = 0) -> Iterator[str]:
        """Claims from number `since` on that do not hold, in words."""
        for claim in self.claims[since:]:
            if not self._holds(claim, contents):
                yield f"acknowledged, and not so: {in_words(claim)}"

    def strange(self, contents: Contents) -> Iterator[str]:
        """What must not be in a store whatever was acknowledged."""
        for name, job in contents.jobs.items():
            if job.task == TICK:
                continue
            if name not in self._asked:
                yield f"job {name.hex()} is there and was never submitted"
            if job.args != args_of(name):
                yield f"job {name.hex()} has other arguments than it was submitted with"
            if job.state == State.SUCCEEDED and job.value != result_of(name):
                yield f"job {name.hex()} has a result that no worker has sent"
        for ids in self._together:
            there = sum(name in contents.jobs or name in self._leaving for name in ids)
            if there not in (0, len(ids)):
                yield f"{there} of {len(ids)} jobs of one submit are there, of which {ids[0].hex()} is the first"

    def _holds(self, claim: Claim, contents: Contents) -> bool:
        if isinstance(claim, Stored):
            return all(name in contents.jobs or name in self._leaving for name in claim.ids)
        if isinstance(claim, Gone):
            return claim.id not in contents.jobs
        if isinstance(claim, Planned):
            return claim.name in self._removing or contents.schedules.get(claim.name, 0) >= claim.every_ms
        if isinstance(claim, Removed):
            return claim.name not in contents.schedules
        if isinstance(claim, (Ended, Retried, Said, Marked, Moved, Keyed)):
            job = contents.jobs.get(claim.id)
            return claim.id in self._leaving if job is None else _is_so(claim, job, contents)
        raise TypeError(f"nobody is told {claim}")


def in_words(claim: Claim) -> str:
    """A claim, with ids as people write them."""
    shown = {name: _hex(value) for name, value in msgspec.structs.asdict(claim).items()}
    return f"{type(claim).__name__} {shown}"


def _hex(value: object) -> object:
    if isinstance(value, list):
        return [_hex(each) for each in value]
    return value.hex() if isinstance(value, bytes) else value


def _is_so(claim: Ended | Retried | Said | Marked | Moved | Keyed, job: Job, contents: Contents) -> bool:
    if isinstance(claim, Ended):
        return job.state == claim.state
    if isinstance(claim, Retried):
        return job.retries >= claim.times
    if isinstance(claim, Said):
        return int(job.checkpoint or b"0") >= claim.number or bool(job.state)
    if isinstance(claim, Marked):
        return job.cancel or bool(job.state)
    if isinstance(claim, Moved):
        return job.queue == claim.queue
    return contents.keys.get(claim.key) == claim.id or bool(job.state)
