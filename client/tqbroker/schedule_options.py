"""What an entry says beside its task and its times: names, allowed values, and their form for the broker."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from tqbroker import option_rules as rules
from tqbroker.amounts import Moment, Span, moment_ms, span_ms
from tqbroker.option_rules import Rule

if TYPE_CHECKING:
    from tqbroker.config import Settings

MAX_NAME = 200
"""Characters of the name of a schedule: it stands in a stamp of each of its jobs."""

MAX_JITTER = 31 * 86_400
"""Seconds."""

MAX_MISFIRES = 10_000
"""Firings that are made up for at most, the broker's bound."""


class ScheduleOptions(TypedDict, total=False):
    """Options of a schedule. None means "not given".

    `zone` ["UTC", or the app's timezone]: name of the time zone of a crontab, and of naive `start` and `end`: it fires
    neither before the one nor at or after the other. `jitter` [0 s]: each job starts up to so much later. `overlap`
    ["allow"]: "skip" lets a firing go while a job of an earlier one has not ended, "queue_one" keeps one waiting.
    `misfire` ["latest"]: which of the firings that were missed are made up for: "latest", "skip" (none), or "all", of
    which the newest `misfire_max` [100, at most 10,000]. `deadline` [none; seconds]: how late one may be. `enabled`
    [True]: False keeps it paused. `relative` [False]: a period at whole multiples since 1970.
    """

    zone: str | None
    jitter: Span | None
    start: Moment | None
    end: Moment | None
    overlap: Literal["allow", "skip", "queue_one"] | None
    misfire: Literal["latest", "all", "skip"] | None
    misfire_max: int | None
    deadline: Span | None
    enabled: bool | None
    relative: bool | None


NAMES = frozenset(ScheduleOptions.__annotations__)

_ANY = Rule("", lambda value: True)
RULES: dict[str, Rule] = {
    "zone": rules.text(255),
    "jitter": Rule(
        f"give 0 to {MAX_JITTER} seconds, as a number or a timedelta",
        lambda value: rules.SPAN.test(value) and span_ms("jitter", value) <= MAX_JITTER * 1000,
    ),
    "start": _ANY,
    "end": _ANY,
    "overlap": rules.one_of("allow", "skip", "queue_one"),
    "misfire": rules.one_of("latest", "all", "skip"),
    "misfire_max": rules.whole(1, MAX_MISFIRES),
    "deadline": rules.LONG,
    "enabled": rules.FLAG,
    "relative": rules.FLAG,
}


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the schedule, and those of each of its calls."""
    own = {name: value for name, value in options.items() if name in NAMES}
    return own, {name: value for name, value in options.items() if name not in NAMES}


def check_names(given: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raises ValueError for a name that means nothing, with the nearest one that does."""
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
            raise ValueError(f"{name!r} is unknown: {hint}")


def wire_options(given: Mapping[str, Any], conf: Settings) -> dict[str, Any]:
    """The fields of Declared that these options set. Raises ValueError for what is not allowed."""
    chosen = {name: value for name, value in given.items() if value is not None}
    rules.check_values(chosen, RULES)
    if "misfire_max" in chosen and chosen.get("misfire") != "all":
        raise ValueError("misfire_max is given, but not misfire='all': only then are several firings made up for")
    zone = conf.zone if chosen.get("zone") is None else check_zone(chosen["zone"]) or conf.zone
    start, end = (moment_ms(name, chosen[name], zone) if name in chosen else 0 for name in ("start", "end"))
    if end and end <= start:
        raise ValueError(f"end={chosen['end']!r} is not behind start={chosen['start']!r}: it would never fire")
    return {
        "jitter_ms": span_ms("jitter", chosen.get("jitter", 0)),
        "start_ms": start,
        "end_ms": end,
        "overlap": chosen.get("overlap", "allow"),
        "misfire": chosen.get("misfire", "latest"),
        "misfire_max": chosen.get("misfire_max", 0),
        "deadline_ms": span_ms("deadline", chosen.get("deadline", 0)),
        "paused": not chosen.get("enabled", True),
    }


def check_zone(name: str) -> Any:
    """The zone of this name; None where this machine has no zones at all, which leaves it to the broker to know.

    Raises ValueError for a name that is not among those of this machine.
    """
    from datetime import UTC
    from zoneinfo import ZoneInfo, available_timezones

    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        if not available_timezones():
            return None
        close = difflib.get_close_matches(name, available_timezones(), 1)
        hint = f"did you mean {close[0]!r}?" if close else "write a name such as 'Europe/Berlin'"
        raise ValueError(f"zone={name!r} is unknown: {hint}") from None


def zone_name(conf: Settings) -> str:
    """The name of the zone of an app's crontabs; empty for UTC. Raises ValueError when the machine's has none."""
    if conf.timezone is not None:
        return "" if conf.timezone.upper() == "UTC" else conf.timezone
    return "" if conf.enable_utc else _local_name()


def _local_name() -> str:
    import os

    named = os.environ.get("TZ", "").removeprefix(":")
    path = named or os.path.realpath("/etc/localtime")
    name = path.rpartition("/zoneinfo/")[2].removeprefix("posix/")
    if not name or name.startswith("/"):
        raise ValueError(
            "enable_utc=False means this machine's zone, which has no name here: write timezone='Area/City'"
        )
    return "" if name.upper() in ("UTC", "ETC/UTC") else name
