"""Which app is meant where none is named, and tasks that belong to all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from tqbroker.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.task import Task

_Declared = tuple[Callable[..., Any], dict[str, Any]]


class _State:
    """The apps of this process and the tasks that each of them gets."""

    def __init__(self) -> None:
        self.apps: WeakSet[App] = WeakSet()
        self.current: App | None = None
        self.default: App | None = None
        self.shared: list[_Declared] = []


_state = _State()


def join(app: App, as_current: bool) -> None:
    """Called by each new app."""
    _state.apps.add(app)
    if as_current:
        _state.current = app
    for function, options in _state.shared:
        app.task(**options)(function)


def set_current(app: App | None) -> None:
    """Makes this the app that `current_app` stands for."""
    _state.current = app


def set_default(app: App) -> None:
    """Makes this the app that `current_app` stands for while no other one is current."""
    _state.default = app


def the_app() -> App:
    """The current app: the one made last, unless set otherwise. Raises ImproperlyConfigured when there is none."""
    app = _state.current or _state.default
    if app is None:
        raise ImproperlyConfigured("there is no app yet: write app = App('name') in a module that is imported first")
    return app


class _CurrentApp:
    """Stands for the current app."""

    def __getattr__(self, name: str) -> Any:
        return getattr(the_app(), name)

    def __repr__(self) -> str:
        return f"<current_app: {_state.current or _state.default!r}>"


current_app = cast("App", _CurrentApp())
"""The app made last, or that of `app.set_current()`."""


class _SharedTask:
    """Stands for the task that the current app has under a shared function."""

    def __init__(self, function: Callable[..., Any], name: str | None) -> None:
        self._function = function
        self._name = name
        self.__wrapped__ = function
        self.__doc__ = function.__doc__

    def _task(self) -> Task[..., Any]:
        app = the_app()
        name = self._name or app.gen_task_name(self._function.__name__, self._function.__module__)
        return app.tasks[name]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._task()(*args, **kwargs)


def share(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Registers the function with every app, those to come included; the task of the current app stands in for it."""
    _state.shared.append((function, options))
    for app in list(_state.apps):
        app.task(**options)(function)
    return _SharedTask(function, options.get("name"))
