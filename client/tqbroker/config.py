"""Client settings: `app.conf`. Celery's names where Celery has the setting."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any, Unpack

from tqbroker.codec_names import format_name
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.known_settings import SETTINGS
from tqbroker.setting_options import SettingOptions
from tqbroker.setting_rules import check
from tqbroker.setting_values import SettingValues
from tqbroker.urls import DEFAULT_URL
from tqbroker.verdicts import say_once, speak_up

if TYPE_CHECKING:
    from tqbroker.routing import Directory

NAMES: tuple[str, ...] = tuple(SettingOptions.__annotations__)


class Settings(SettingValues, Mapping[str, Any]):
    """Settings by attribute and by key. An unknown name is an error that names the nearest known ones."""

    version: int
    """Rises with every change, so that what was derived from settings can be kept until then."""

    listeners: list[Callable[[Iterable[str]], None]]
    """Called with the names that have changed."""

    def __init__(self, **settings: Unpack[SettingOptions]) -> None:
        state = {"version": 0, "changes": {}, "_defaults": {}, "_zone": None, "_directory": None, "listeners": []}
        state["beat_schedule"] = {}  # of its own: entries are added in place
        self.__dict__.update(state)
        settings.setdefault("broker_url", os.environ.get("TQBROKER_URL") or DEFAULT_URL)
        self.update(settings)

    # -- changing -----------------------------------------------------------------------------------------------------

    def update(self, changes: Mapping[str, Any] | None = None, /, **settings: Unpack[SettingOptions]) -> None:
        """Changes several settings. Raises ImproperlyConfigured for an unknown name or a value of the wrong kind."""
        given = {_today(name): value for name, value in {**(changes or {}), **settings}.items()}
        for name, value in given.items():
            _check(name, value)
        self.__dict__["changes"].update(given)
        self._settle(given)

    def add_defaults(self, defaults: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Gives settings that hold where nothing else was said, before or after; a function is asked at once."""
        found = defaults() if callable(defaults) else defaults
        given = {_today(name): value for name, value in found.items()}
        for name, value in given.items():
            _check(name, value)
        self._defaults.update(given)
        self._settle({name: value for name, value in given.items() if name not in self.changes})

    def _settle(self, given: Mapping[str, Any]) -> None:
        self.__dict__.update(given)
        self.__dict__.update(version=self.version + 1, _zone=None, _directory=None)
        for listener in self.listeners:
            listener(given.keys())

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    # -- reading ------------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(_unknown(name))

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES and name not in self.changes:
            raise KeyError(_unknown(name))
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={self[name]!r}' for name in self)})"

    def table(self, with_defaults: bool = False) -> dict[str, Any]:
        """The settings that were changed, or all, with passwords in URLs masked."""
        from tqbroker.urls import shown

        chosen = {name: self[name] for name in (NAMES if with_defaults else self.changes)}
        return {name: shown(value) if name.endswith("_url") else value for name, value in chosen.items()}

    def humanize(self, with_defaults: bool = False) -> str:
        """The same as lines of text."""
        return "\n".join(f"{name}: {value!r}" for name, value in self.table(with_defaults).items())

    # -- what follows from them ---------------------------------------------------------------------------------------

    @property
    def zone(self) -> tzinfo:
        """The zone of naive datetimes."""
        zone: tzinfo | None = self._zone
        if zone is None:
            zone = self.__dict__["_zone"] = _zone(self.timezone, self.enable_utc)
        return zone

    @property
    def result_format(self) -> str:
        """The format of return values on the wire."""
        return format_name(self.result_serializer, self.result_compression)

    @property
    def directory(self) -> Directory:
        """The queues and routes."""
        directory: Directory | None = self._directory
        if directory is None:
            from tqbroker.routing import Directory

            directory = self.__dict__["_directory"] = Directory(
                self.task_queues,
                self.task_routes,
                self.task_default_queue,
                strict=not self.task_create_missing_queues,
            )
        return directory


def _zone(name: str | None, enable_utc: bool) -> tzinfo:
    if name is None and not enable_utc:
        from datetime import datetime

        local = datetime.now().astimezone().tzinfo
        return local or UTC
    if name is None or name.upper() == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ImproperlyConfigured(
            f"setting timezone={name!r} is not known here: write a name such as 'Europe/Berlin', or install tzdata"
        ) from None


def _today(name: str) -> str:
    """The name of today for an old upper-case one, said once in the log."""
    if name in SETTINGS or not name.isupper():
        return name
    from tqbroker.old_settings import new_name

    new = new_name(name)
    if new is None:
        return name
    say_once("setting", name, f"is called {new} today, and read as that")
    return new


_ELSEWHERE = {"backend": "the broker keeps results itself: leave it out", "broker": "it is called broker_url"}


def _unknown(name: str) -> str:
    if name in _ELSEWHERE:
        return f"setting {name!r}: {_ELSEWHERE[name]}"
    known = SETTINGS.get(name)
    if known is not None and known.sentence:
        return f"setting {name!r} has no effect here: {known.sentence}"
    import difflib

    close = difflib.get_close_matches(name, NAMES, 3, 0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known settings are {', '.join(NAMES)}"
    return f"unknown setting {name!r}: {hint}"


def _check(name: str, value: Any) -> None:
    known = SETTINGS.get(name)
    if known is None:
        raise ImproperlyConfigured(_unknown(name))
    if known.sentence:
        off = value is None or value is False or value in ("", {}, [], ())
        sentence = None if off else speak_up("setting", [name], SETTINGS)
        if sentence is not None:
            raise ImproperlyConfigured(sentence)
        return
    check(name, value)
