"""A program with an open channel forks: children and parent go on, each for itself, whichever way children end."""

from __future__ import annotations

import os
import sys

from tests.acceptance.hosts.calls import ask, forked, reaped


def child(first: int) -> None:
    ask(*range(first, first + 5))
    reaped([forked(lambda: ask(first + 10))])  # and forks itself
    ask(first + 11)


def main() -> None:
    ask(0)
    children = [forked(lambda first=first: child(first)) for first in (100, 200)]  # type: ignore[misc]
    children.append(forked(lambda: child(300), sys.exit))
    idle = [forked(lambda: None, end) for end in (os._exit, sys.exit)]
    ask(*range(1, 10))
    reaped([*children, *idle])
    ask(11)


if __name__ == "__main__":
    main()
