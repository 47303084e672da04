"""An exception with its traceback as text, as hooks and signals get it."""

from __future__ import annotations

import traceback
from functools import cached_property

from tqbroker.exceptions import RemoteTraceback


class ExceptionInfo:
    """`exception`, its `type`, and `traceback` as text, which is also what `str()` gives; made when first asked for."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception
        self.type = type(exception)

    @cached_property
    def traceback(self) -> str:
        """As Python prints it. Of an exception that came from another process: the one from there."""
        cause = self.exception.__cause__
        if isinstance(cause, RemoteTraceback):
            return cause.text
        try:
            return "".join(traceback.format_exception(self.exception))
        except Exception:  # its own __str__ may do anything
            return "".join(traceback.format_tb(self.exception.__traceback__))

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.type.__name__}>"
