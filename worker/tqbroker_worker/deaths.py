"""How a child process ended, in words: whoever reads of a lost job must not have to guess what killed it."""

from __future__ import annotations

import os
import signal
import sys
from typing import NamedTuple

from tqbroker.failures import FailureData

_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of `ru_maxrss`."""


class Death(NamedTuple):
    """The end of one process. `code` is negative for a signal, `killed`: we sent SIGKILL ourselves.

    `peak_bytes` is the most memory that it, or a program it had started, ever had; the system counts in what its parent
    had when it was started.
    """

    pid: int
    code: int
    peak_bytes: int
    killed: bool = False

    def words(self) -> str:
        """A sentence without its full stop."""
        if self.code >= 0:
            how = f"ended with exit code {self.code}"
        else:
            how = f"was killed by signal {-self.code} ({_name(-self.code)})"
            if self.code == -signal.SIGKILL and not self.killed:
                how += ", probably by the kernel's out-of-memory killer"
        return f"child process {self.pid} {how}; its peak memory was {_readable(self.peak_bytes)}"

    def failure(self) -> FailureData:
        """Why a job that was running then has no outcome."""
        return FailureData("WorkerLostError", "tqbroker.exceptions", f"{self.words()}, while it had this job")


def look(pid: int, killed: bool) -> Death | None:
    """The end of a child of ours if it has ended; it can be asked once."""
    found, status, usage = os.wait4(pid, os.WNOHANG)
    if not found:
        return None
    return Death(pid, os.waitstatus_to_exitcode(status), usage.ru_maxrss * _PEAK_UNIT, killed)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have none
        return "without a name"


def _readable(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB" if size < 1 << 30 else f"{size / (1 << 30):.1f} GiB"
