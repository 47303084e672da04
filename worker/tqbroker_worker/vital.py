"""What a child cannot live without: the process ends with it, so that the parent starts another."""

from __future__ import annotations

import logging
import os
from types import TracebackType

_log = logging.getLogger("tqbroker.worker")


class Vital:
    """A block that must not raise: its jobs would wait for ever. `what` it is, for the log."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            _log.critical("%s has failed: the process ends, and is replaced", self._what, exc_info=error)
            os._exit(1)
