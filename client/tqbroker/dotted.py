"""Objects by their dotted path, as settings name them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tqbroker.exceptions import ImproperlyConfigured


def load(path: str, setting: str) -> Any:
    """The object at `package.module.name` or `package.module:name`. Raises ImproperlyConfigured naming the setting."""
    module, _, attribute = path.rpartition(":" if ":" in path else ".")
    if not module:
        raise ImproperlyConfigured(f"{setting}: {path!r} is no dotted path: write package.module.name")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise ImproperlyConfigured(
            f"{setting}: there is no module {module!r} for {path!r} on the import path"
        ) from None
    except AttributeError:
        raise ImproperlyConfigured(f"{setting}: module {module!r} has no {attribute!r}") from None
