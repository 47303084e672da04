"""Exit codes of the command line."""

from __future__ import annotations

FAILED = 1
"""The job failed, has not ended, or was refused."""
USAGE = 2
NOT_FOUND = 3
"""The broker knows no such job, or keeps its result no longer."""
UNREACHABLE = 4
"""No broker answered."""
INTERRUPTED = 130
"""Ended by Ctrl-C, as a shell says it: 128 and the number of the signal. No verdict of a command has this code."""
