"""What any name, number and time must be. Each refusal says what was wrong and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from signal import Signals

from tqbroker_broker.messages.ids import MAX_KEY_BYTES, is_name
from tqbroker_broker.refusals import Invalid

LATEST_MS = 253_402_300_799_999
"""The end of the year 9999: no time or duration is larger."""


def check_name(what: str, name: str, limit: int) -> None:
    """Raises Invalid when a name is empty, too long, or not printable."""
    if not is_name(name, limit):
        text = f"it must have 1 to {limit} printable characters, {MAX_KEY_BYTES} bytes at most"
        raise Invalid(f"{what} is {name[:300]!r}: {text}")


def check_names(what: str, names: Sequence[str], most: int, limit: int) -> None:
    """The same for each of several, at most so many."""
    check_most(what, len(names), most)
    for name in names:
        check_name(f"one of the {what}", name, limit)


def check_most(what: str, count: int, most: int) -> None:
    """Raises Invalid when there are more of something than allowed."""
    if count > most:
        raise Invalid(f"there are {count} {what}: {most} at most are allowed")


def check_range(what: str, value: int, lowest: int, highest: int) -> None:
    """Raises Invalid when a number is out of its bounds."""
    if not lowest <= value <= highest:
        raise Invalid(f"{what} is {value}: it must be {lowest} to {highest}")


def check_signal(terminate: bool, signal: str) -> None:
    """Raises Invalid for a signal that nobody could send, or that nobody is to send."""
    if signal and not terminate:
        raise Invalid(f"signal is {signal[:100]!r} without terminate: only what is stopped by force gets a signal")
    if signal and signal not in Signals.__members__:
        raise Invalid(f"signal is {signal[:100]!r}: use the name of a signal, for example SIGTERM or SIGKILL, or none")
