"""An app as the program that it is part of: the command line from Python, and what to say about it in a bug report."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import NoReturn

from tqbroker.app_setup import AppSetup
from tqbroker.exceptions import ImproperlyConfigured


class AppProgram(AppSetup):
    """The part of App that starts workers and speaks of itself."""

    selected_queues: tuple[str, ...] = ()
    """What `select_queues` was given; workers without -Q take these."""

    def start(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Runs a command of `tqbroker` with this app, for example ["status"]; without `argv` that of this program.

        Ends the program with the exit code of the command. Raises ImproperlyConfigured when no module has the app.
        """
        from tqbroker.cli import cli

        arguments = list(sys.argv[1:] if argv is None else argv)
        cli.main(["-A", _locator(self), *arguments], prog_name="tqbroker")
        raise SystemExit  # what click does by itself

    def worker_main(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Runs a worker: `app.worker_main(["worker", "--loglevel=info"])`. As `start`; "worker" may be left out."""
        arguments = list(sys.argv[1:] if argv is None else argv)
        self.start(arguments if "worker" in arguments else ["worker", *arguments])

    def select_queues(self, queues: Iterable[str] | str) -> None:
        """Has workers that are started without -Q take jobs from these queues only."""
        self.selected_queues = (queues,) if isinstance(queues, str) else tuple(queues)

    def bugreport(self) -> str:
        """Versions, platform and changed settings, with passwords masked."""
        import platform
        from importlib.metadata import version

        return "\n".join(
            [
                f"software -> tqbroker:{version('tqbroker')} py:{platform.python_version()} grpcio:{version('grpcio')}",
                f"platform -> system:{platform.system()} {platform.release()} arch:{platform.machine()}",
                "settings ->",
                self.conf.humanize(),
            ]
        )


def _locator(app: AppProgram) -> str:
    """What -A says for an app: the module that has it, and its name there."""
    main = sys.modules.get("__main__")
    others = [module for module in list(sys.modules.values()) if module is not main]
    for module in (*([main] if main is not None else []), *others):
        name = next((name for name, value in list(vars(module).items()) if value is app), None)
        if name is not None and (where := _importable(module)):
            return f"{where}:{name}"
    raise ImproperlyConfigured("no module has this app as one of its names: write app = App(...) in a module")


def _importable(module: ModuleType) -> str:
    """The name under which another process can import a module; "" when there is none.

    The folder of a script is told to child processes by PYTHONPATH: they are started elsewhere.
    """
    if module.__name__ != "__main__":
        return module.__name__
    if module.__spec__ is not None:  # python -m
        name: str = module.__spec__.name
        return name.removesuffix(".__main__")
    file: str | None = getattr(module, "__file__", None)
    if not file:
        return ""
    folder, script = os.path.split(os.path.abspath(file))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH", ""))))
    return script.removesuffix(".py")
