"""How an app gets its settings and its modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Any

from tqbroker import current
from tqbroker.config import Settings
from tqbroker.exceptions import ImproperlyConfigured

Packages = Iterable[str] | Callable[[], Iterable[str]] | None


class AppSetup:
    """The part of App that reads configuration and imports modules."""

    main: str | None
    conf: Settings
    _pinned: frozenset[str]
    _discover: list[tuple[Packages, str | None]]

    # -- settings -----------------------------------------------------------------------------------------------------

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> bool:
        """Reads settings from a module, an object, a mapping, or the name of one, at once (`force` changes nothing).

        With a namespace such as "CELERY" only names like CELERY_TASK_ROUTES count, and a wrong one is an error. What
        `App(...)` was given stays. Returns whether the object was found; with `silent` a missing one is no error.
        """
        from tqbroker.old_settings import read

        try:
            found = _loaded(obj) if isinstance(obj, str) else obj
        except ImportError:
            if silent:
                return False
            raise
        given = read(_names(found, namespace), namespace)
        self.conf.update({name: value for name, value in given.items() if name not in self._pinned})
        return True

    def config_from_envvar(
        self, variable_name: str, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> bool:
        """The same for the module that an environment variable names."""
        module = os.environ.get(variable_name)
        if module:
            return self.config_from_object(module, silent=silent, force=force, namespace=namespace)
        if silent:
            return False
        raise ImproperlyConfigured(f"the environment variable {variable_name} is not set: give it the name of a module")

    def add_defaults(self, defaults: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Settings that hold where nothing else is said."""
        self.conf.add_defaults(defaults)

    # -- modules ------------------------------------------------------------------------------------------------------

    def autodiscover_tasks(
        self, packages: Packages = None, related_name: str | None = "tasks", force: bool = False
    ) -> None:
        """Has a worker import `package.tasks` of each package; with `force` at once, here.

        Without packages those of Django's INSTALLED_APPS are meant. A package without such a module is passed over.
        """
        if force:
            _discover(packages, related_name)
        else:
            self._discover.append((packages, related_name))

    def load_modules(self) -> None:
        """Imports what a worker needs: `imports`, `include`, and what autodiscover_tasks has named, once."""
        for module in (*self.conf.imports, *self.conf.include):
            import_module(module)
        while self._discover:
            _discover(*self._discover.pop(0))

    # -- which app is meant -------------------------------------------------------------------------------------------

    def set_current(self) -> None:
        """Makes this the app that `current_app` and shared tasks stand for."""
        current.set_current(self)  # type: ignore[arg-type]

    def set_default(self) -> None:
        """Makes this the app that they stand for while no other one is current."""
        current.set_default(self)  # type: ignore[arg-type]

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def timezone(self) -> tzinfo:
        """The zone of naive datetimes."""
        return self.conf.zone

    def now(self) -> datetime:
        """The time there."""
        return datetime.now(self.conf.zone)


def import_module(name: str) -> Any:
    """importlib's, loaded when needed: a program that only sends should not pay for it."""
    from importlib import import_module as load

    return load(name)


def _loaded(name: str) -> Any:
    """A module, or an object in one: "package.module", "package.module:object" or "package.module.object"."""
    module, _, attribute = name.partition(":")
    if attribute:
        return getattr(import_module(module), attribute)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        parent, _, last = name.rpartition(".")
        if not parent or error.name is None or not name.startswith(error.name):
            raise
        found = import_module(parent)
        if not hasattr(found, last):
            raise
        return getattr(found, last)


def _names(found: Any, namespace: str | None) -> dict[str, Any]:
    if isinstance(found, Mapping):
        return dict(found)
    names = [name for name in dir(found) if not name.startswith("_")]
    wanted = [name for name in names if not namespace or name.startswith(f"{namespace}_")]
    return {name: getattr(found, name) for name in wanted}


def _discover(packages: Packages, related_name: str | None) -> None:
    for package in _packages(packages):
        name = f"{package}.{related_name}" if related_name else package
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise


def _packages(packages: Packages) -> Iterable[str]:
    if packages is None:
        try:
            apps = import_module("django.apps").apps
        except ImportError:
            raise ImproperlyConfigured("autodiscover_tasks() without packages is for Django: name them") from None
        return [config.name for config in apps.get_app_configs()]
    return packages() if callable(packages) else (packages,) if isinstance(packages, str) else packages
