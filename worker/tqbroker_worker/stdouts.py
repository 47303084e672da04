"""What tasks print, as lines of the log: nothing that a task says is lost among the children's output."""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import BinaryIO, TextIO

MAX_LINE = 64 * 1024
"""Characters kept of a line that does not end; then it is logged as it is."""
_LOGGER = "tqbroker.redirected"


class _Unfinished(threading.local):
    """The line that a thread has begun."""

    text = ""
    logging = False


class Redirected(io.TextIOBase):
    """A stream whose lines are logged. What handlers print while they log a line goes to the stream of before."""

    def __init__(self, stream: TextIO, level: int) -> None:
        self._stream = stream
        self._level = level
        self._logger = logging.getLogger(_LOGGER)
        self._mine = _Unfinished()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream of before."""
        return self._stream.encoding

    @property
    def buffer(self) -> BinaryIO:
        """The stream of before for bytes, which are no lines of a log."""
        return self._stream.buffer

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The stream of before, for programs that a task starts."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Celery's answer: a log is no terminal."""
        return False

    def write(self, text: str) -> int:
        """Logs every line that ends in `text`."""
        mine = self._mine
        if mine.logging:
            return self._stream.write(text)
        *lines, mine.text = (mine.text + text).split("\n")
        if len(mine.text) > MAX_LINE:
            lines.append(mine.text)
            mine.text = ""
        for line in lines:
            self._log(line.rstrip())
        return len(text)

    def flush(self) -> None:
        """Flushes the stream of before; a line that has not ended stays: more of it may come."""
        self._stream.flush()

    def _log(self, line: str) -> None:
        if line:
            self._mine.logging = True
            try:
                self._logger.log(self._level, "%s", line)
            finally:
                self._mine.logging = False


def redirect(level: int) -> None:
    """From now on what is printed is logged on this level."""
    sys.stdout = Redirected(sys.stdout, level)
    sys.stderr = Redirected(sys.stderr, level)
