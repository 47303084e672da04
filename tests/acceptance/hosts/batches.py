"""A program forks inside `app.batch()`: the child is outside of it, and what both send is stored once."""

from __future__ import annotations

import os

from tests.acceptance.hosts.calls import answered, ask, call, forked, reaped, tasks


def in_a_batch(first: int) -> None:
    """A child that is forked in the block has one of its own."""
    with tasks.app.batch():
        job = call(first)
    answered(job, first)


def main() -> None:
    ask(0)
    with tasks.app.batch():
        jobs = [call(number) for number in (1, 2, 3)]
        children = [forked(lambda: ask(100, 101)), forked(lambda: in_a_batch(200))]
        jobs.append(call(4))
    reaped(children)
    for number, job in enumerate(jobs, 1):
        answered(job, number)
    both_leave()
    ask(7)


def both_leave() -> None:
    """Parent and child go through the end of the block."""
    with tasks.app.batch():
        job = call(5)
        pid = os.fork()
    answered(job, 5)
    if not pid:
        os._exit(0)
    reaped([pid])


if __name__ == "__main__":
    main()
