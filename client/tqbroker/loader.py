"""Finding the app that `-A` names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from tqbroker.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from tqbroker.app import App

_USUAL_NAMES = ("app", "celery")


def find_app(spec: str) -> App:
    """The app of `module`, `module:attribute` or `package.module`, imported with the current directory on the path.

    Without an attribute, what the module calls `app` or `celery` is taken, else the only App in it; a package without
    one is searched in its `tqbroker` and `celery` modules. Raises ImproperlyConfigured with what to write. An error
    inside the module itself is raised as it is.
    """
    name, _, attribute = spec.partition(":")
    if not name:
        raise ImproperlyConfigured(f"-A {spec!r} names no module: write -A module or -A module:app")
    module = _import(name, spec)
    if attribute:
        return _attribute(module, attribute)
    app = _search(module) or _search_package(module)
    if app is None:
        raise ImproperlyConfigured(
            f"module {name!r} has no App: define app = App({name!r}) in it, or name it with -A {name}:attribute"
        )
    return app


def _import(name: str, spec: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise ImproperlyConfigured(
            f"-A {spec}: there is no module {name!r} in {here} or on the import path; "
            "run this where it is, or set PYTHONPATH"
        ) from None


def _is_app(value: object) -> bool:
    from tqbroker.app import App

    return isinstance(value, App)


def _attribute(module: ModuleType, attribute: str) -> App:
    value: object = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ImproperlyConfigured(f"module {module.__name__!r} has no {attribute!r}{_candidates(module)}")
        value = getattr(value, part)
    if not _is_app(value):
        kind = type(value).__name__
        raise ImproperlyConfigured(f"{module.__name__}:{attribute} is a {kind}, not an App{_candidates(module)}")
    return value  # type: ignore[return-value]


def _apps(module: ModuleType) -> dict[str, App]:
    return {name: value for name, value in vars(module).items() if _is_app(value)}


def _candidates(module: ModuleType) -> str:
    names = _apps(module)
    return f"; it has {', '.join(f'-A {module.__name__}:{name}' for name in names)}" if names else ""


def _search(module: ModuleType) -> App | None:
    apps = _apps(module)
    for name in _USUAL_NAMES:
        if name in apps:
            return apps[name]
    if len({id(app) for app in apps.values()}) > 1:
        raise ImproperlyConfigured(
            f"module {module.__name__!r} has several apps{_candidates(module)}: name one of them"
        )
    return next(iter(apps.values()), None)


def _search_package(module: ModuleType) -> App | None:
    if not hasattr(module, "__path__"):
        return None
    for name in ("tqbroker", "celery"):
        full = f"{module.__name__}.{name}"
        if importlib.util.find_spec(full) is not None:
            return _search(importlib.import_module(full))
    return None
