"""What goes wrong with a command, and the checks of arguments that several commands share."""

from __future__ import annotations


class CommandError(Exception):
    """The command cannot be carried out; the message says why and what is allowed."""


def whole(name: str, value: object, least: int) -> int:
    """A whole number of at least so many."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise CommandError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def text(name: str, value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise CommandError(f"{name} must be a text, not {value!r}")
    return value
