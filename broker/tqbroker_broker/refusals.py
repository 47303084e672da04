"""What the broker itself refuses, as exceptions. errors.py alone knows what each becomes on the wire."""

from __future__ import annotations


class RefusalError(Exception):
    """Not done. The message says what was wrong, what is allowed, and what to do."""

    def __init__(self, message: str, **facts: str) -> None:
        super().__init__(message)
        self.facts = facts


class Invalid(RefusalError):
    """Breaks a rule of the protocol; sending it again unchanged fails again."""


class UnknownZone(Invalid):
    """A time zone that this machine does not know; another one may."""


class TooLarge(RefusalError):
    """Larger than a configured limit."""


class Busy(RefusalError):
    """More is in flight than the broker admits; try again soon."""


class Stopping(RefusalError):
    """The broker is on its way down; try again when it is back."""


class IdConflict(RefusalError):
    """The id belongs to a different job already."""


class NotUnique(RefusalError):
    """Another job holds the unique key; the fact `holder` is its id."""


class QueueFull(RefusalError):
    """The queue has reached its max_length; try again when some of its jobs were started."""


class NotFound(RefusalError):
    """There is no such queue, limit, worker or workflow."""


class LeaseLost(RefusalError):
    """The token does not hold the lease any more."""


class TooSlow(RefusalError):
    """The caller read more slowly than the broker waits; what it has is not whole."""


class OtherStore(RefusalError):
    """The lease belongs to another store."""
