"""What goes wrong with a command, and the checks of arguments that several commands share."""

from __future__ import annotations


class CommandError(Exception):
    """The command cannot be carried out; the message says why and what is allowed."""


def whole(name: str, value: object, least: int, most: int) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise CommandError(f"{name} must be a whole number from {least} to {most}, not {value!r:.200}")
    return value


def text(name: str, value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise CommandError(f"{name} must be a text, not {value!r:.200}")
    return value


def texts(name: str, value: object) -> list[str]:
    """Several texts, or none."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise CommandError(f"{name} must be a list of texts, not {value!r:.200}")
    return value
