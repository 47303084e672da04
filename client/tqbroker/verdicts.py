"""What becomes of a name that people know from Celery: the form of the tables, and how each verdict speaks up.

works      same name, same meaning
adapted    same name; the sentence in docs/migrating.md says what is stronger or different
accepted   not needed here: one line in the log, once for each name and process
refused    raises, with what to write instead
later      raises: this version does not have it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

Kind = Literal["works", "adapted", "accepted", "refused", "later"]


class Known(NamedTuple):
    """One name: its verdict, and the sentence to log or to raise (empty when it is neither)."""

    kind: Kind
    sentence: str = ""


def names(kind: Kind, text: str, sentence: str = "") -> dict[str, Known]:
    """The same verdict for several names, separated by spaces."""
    return dict.fromkeys(text.split(), Known(kind, sentence))


_logged: set[tuple[str, str]] = set()


def speak_up(what: str, given: Iterable[str], table: Mapping[str, Known]) -> str | None:
    """Logs each given name that is accepted without need; returns the sentence of the first that is refused."""
    for name in given:
        known = table.get(name)
        if known is None or not known.sentence:
            continue
        if known.kind != "accepted":
            return f"{what} {name}: {known.sentence}"
        say_once(what, name, f"has no effect: {known.sentence}")
    return None


def say_once(what: str, name: str, sentence: str) -> None:
    """One line in the log for a name, the first time in this process."""
    if (what, name) in _logged:
        return
    _logged.add((what, name))
    import logging

    logging.getLogger("tqbroker").warning("%s %s %s", what, name, sentence)
