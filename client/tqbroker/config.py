"""Client settings: `app.conf`. Celery's names where Celery has the setting."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict, Unpack

from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.urls import DEFAULT_URL, target_of


class SettingOptions(TypedDict, total=False):
    """The settings as keywords of `App(...)` and `conf.update(...)`. What each means stands in `Settings`."""

    broker_url: str
    task_default_queue: str
    task_default_priority: int
    task_ignore_result: bool
    task_serializer: str
    result_serializer: str
    result_expires: float | None
    strict_typing: bool
    submit_timeout: float
    request_timeout: float


class Settings(Mapping[str, Any]):
    """Settings by attribute and by key. An unknown name is an error that names the nearest known ones."""

    broker_url: str = DEFAULT_URL
    """Where the broker is: tq://host[:port] or tq+unix:///path."""

    task_default_queue: str = "default"
    """Queue of jobs whose task and call name none."""

    task_default_priority: int = 0
    """Priority, 0 to 9, of jobs whose task and call name none. A higher number goes first."""

    task_ignore_result: bool = False
    """Keep no return values, unless task or call say otherwise."""

    task_serializer: str = "json"
    """Format of arguments: json or msgpack."""

    result_serializer: str = "json"
    """Format of return values: json or msgpack."""

    result_expires: float | None = None
    """Seconds that a finished job and its result are kept. None leaves it to the broker: 1 day."""

    strict_typing: bool = True
    """Compare arguments with the task's signature before sending."""

    submit_timeout: float = 5.0
    """Seconds after which a submit that the broker has not confirmed raises OperationalError."""

    request_timeout: float = 5.0
    """Seconds after which a question to the broker (status, revoke, forget) raises OperationalError."""

    version: int
    """Rises with every change, so that what was derived from settings can be kept until then."""

    def __init__(self, **settings: Unpack[SettingOptions]) -> None:
        object.__setattr__(self, "version", 0)
        settings.setdefault("broker_url", os.environ.get("TQBROKER_URL") or DEFAULT_URL)
        self.update(settings)

    def update(self, changes: Mapping[str, Any] | None = None, /, **settings: Unpack[SettingOptions]) -> None:
        """Changes several settings. Raises ImproperlyConfigured for an unknown name or a value of the wrong kind."""
        for name, value in {**(changes or {}), **settings}.items():
            _check(name, value)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "version", self.version + 1)

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(_unknown(name))

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(_unknown(name))
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={self[name]!r}' for name in self)})"


NAMES: tuple[str, ...] = tuple(SettingOptions.__annotations__)

_RESULTS_ARE_HERE = "the broker keeps results itself: leave it out"
_NOT_NEEDED = {
    "backend": _RESULTS_ARE_HERE,
    "result_backend": _RESULTS_ARE_HERE,
    "broker": "as a setting it is called broker_url",
}


def _unknown(name: str) -> str:
    if name in _NOT_NEEDED:
        return f"setting {name!r}: {_NOT_NEEDED[name]}"
    import difflib

    close = difflib.get_close_matches(name, NAMES, 3, 0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known settings are {', '.join(NAMES)}"
    return f"unknown setting {name!r}: {hint}"


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


_SECONDS = ("a number of seconds above 0", _is_seconds)
_FLAG = ("True or False", lambda value: isinstance(value, bool))
_FORMAT = ("'json' or 'msgpack'", lambda value: value in ("json", "msgpack"))
_RULES: dict[str, tuple[str, Any]] = {
    "task_default_queue": (
        "1 to 128 printable characters",
        lambda value: isinstance(value, str) and 1 <= len(value) <= 128 and value.isprintable(),
    ),
    "task_default_priority": ("an int from 0 to 9", lambda value: type(value) is int and 0 <= value <= 9),
    "task_ignore_result": _FLAG,
    "task_serializer": _FORMAT,
    "result_serializer": _FORMAT,
    "result_expires": ("None or a number of seconds above 0", lambda value: value is None or _is_seconds(value)),
    "strict_typing": _FLAG,
    "submit_timeout": _SECONDS,
    "request_timeout": _SECONDS,
}


def _check(name: str, value: Any) -> None:
    if name not in NAMES:
        raise ImproperlyConfigured(_unknown(name))
    if name == "broker_url":
        target_of(value)
        return
    allowed, valid = _RULES[name]
    if not valid(value):
        raise ImproperlyConfigured(f"setting {name}={value!r} is not allowed: write {allowed}")
