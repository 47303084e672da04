"""The wall clock of one daemon, put forward and back while it runs. See preload/clockshift.c."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from struct import Struct

from tests.proof.preload import built

SHIFT = Struct("=q")
FIRST_MS = 60_000
"""The earliest moment, a minute into 1970: what a machine says whose clock has no battery."""


class WallClock:
    """A clock that follows the machine's at a distance. `path` is a file of its own, made here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shift_ms = 0
        """By how much the clock is ahead of the machine's, in milliseconds."""
        self._move(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """With these variables a process, and all that it starts, lives by this clock."""
        return {"LD_PRELOAD": str(built("clockshift")), "CLOCKSHIFT": str(self._path)}

    def now_ms(self) -> int:
        """What the clock says, in milliseconds since 1970."""
        return time.time_ns() // 1_000_000 + self.shift_ms

    def jump(self, by: timedelta) -> None:
        """Puts it forward, or back."""
        self._move(self.shift_ms + round(by.total_seconds() * 1000))

    def set(self, moment: datetime) -> None:
        """Sets it to a moment, which must have a zone."""
        self._move(round((moment.timestamp() - time.time()) * 1000))

    def right(self) -> None:
        """Sets it to the machine's time."""
        self._move(0)

    def _move(self, shift_ms: int) -> None:
        """No clock goes back behind 1970: the system does not take that."""
        self.shift_ms = shift_ms = max(shift_ms, FIRST_MS - time.time_ns() // 1_000_000)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(file, SHIFT.pack(shift_ms), 0)  # eight bytes at once: who has it mapped sees old or new
        finally:
            os.close(file)
