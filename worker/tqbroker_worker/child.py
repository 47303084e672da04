"""A child of the worker: loads the app, runs its jobs, ends with its parent.

Started as `python -m tqbroker_worker.child` with one end of a socket pair; nothing of gRPC is loaded here.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import traceback

from tqbroker import _failpoint, loader
from tqbroker._daemon import configure_logging
from tqbroker.app import App
from tqbroker.exceptions import ImproperlyConfigured, TqbrokerError
from tqbroker_worker.arguments import Arguments, parse
from tqbroker_worker.execute import Executor, of_the_user
from tqbroker_worker.link import Link
from tqbroker_worker.pipe import frame
from tqbroker_worker.progress import Progress
from tqbroker_worker.protocol import Broken, Manifest, encode
from tqbroker_worker.runners import eventloop, threads
from tqbroker_worker.watchdog import Watchdog

_BEFORE_THE_APP = (__file__, loader.__file__, os.path.dirname(importlib.__file__), "<frozen importlib")


def main() -> int:
    """Runs jobs until the parent says stop, or is gone. The exit code is 0, or 1 when the app could not be loaded."""
    arguments = parse(sys.argv[1:])
    sock = socket.socket(fileno=arguments.socket)
    _quiet_signals(sock)
    try:
        app = _load(arguments)
    except BaseException as error:
        _say(sock, _broken(error))
        return 1
    progress = Progress(arguments.page)
    os.close(arguments.page)
    link = Link(sock, progress, app.conf.result_serializer)
    watchdog = Watchdog(link, arguments.parent)
    link.listeners.append(watchdog.wake)
    link.send(_manifest(app))
    watchdog.start()
    executor = Executor(app, arguments.worker, bool(arguments.show))
    if arguments.pool == "asyncio":
        eventloop.run(link, executor, arguments.slots, sock)
    else:
        threads.run(link, executor, arguments.slots)
    return 0


def _load(arguments: Arguments) -> App:
    configure_logging(arguments.level)
    _failpoint.arm(os.environ)
    app = loader.find_app(arguments.app)
    for module in filter(None, arguments.include.split(",")):
        importlib.import_module(module)
    if arguments.broker:
        app.conf.broker_url = arguments.broker  # for jobs that tasks submit
    return app


def _quiet_signals(sock: socket.socket) -> None:
    """Leaves SIGINT and SIGTERM to the parent, which lets us finish first.

    Both may be sent to the whole process group. They are caught, not ignored: programs that a task starts would inherit
    that. What a task forks gets the usual handlers back, and does not keep our socket open.
    """
    os.set_inheritable(sock.fileno(), False)
    former = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}

    def after_fork() -> None:
        sock.close()
        for number, handler in former.items():
            signal.signal(number, handler)

    os.register_at_fork(after_in_child=after_fork)


def _manifest(app: App) -> Manifest:
    return Manifest(app.main or "", app.conf.broker_url, app.conf.task_default_queue, sorted(app.tasks))


def _broken(error: BaseException) -> Broken:
    if isinstance(error, ImproperlyConfigured):
        return Broken(str(error), usage=True)
    if isinstance(error, TqbrokerError):
        return Broken(str(error))
    error = error.with_traceback(of_the_user(error.__traceback__, _BEFORE_THE_APP))
    return Broken(f"{type(error).__name__}: {error}", traceback="".join(traceback.format_exception(error)))


def _say(sock: socket.socket, message: Broken) -> None:
    sock.sendall(frame(encode(message)))


if __name__ == "__main__":
    sys.exit(main())
