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

from tqbroker import _failpoint, builtin_tasks, loader
from tqbroker.app import App
from tqbroker.exceptions import ImproperlyConfigured, TqbrokerError
from tqbroker_worker import announcing
from tqbroker_worker.answers import answer
from tqbroker_worker.arguments import Arguments, parse
from tqbroker_worker.channel import JobChannel
from tqbroker_worker.execute import Executor
from tqbroker_worker.limits import TimeLimits
from tqbroker_worker.link import Errand, Link
from tqbroker_worker.manifest import bounds_of, manifest_of
from tqbroker_worker.outcomes import of_the_user
from tqbroker_worker.pipe import frame
from tqbroker_worker.progress import Progress
from tqbroker_worker.protocol import Ask, Broken, Down, Failed, Noted, encode
from tqbroker_worker.protocol import TimeLimits as NewLimits
from tqbroker_worker.runners import eventloop, threads
from tqbroker_worker.slots import Slots, die_by
from tqbroker_worker.watchdog import Watchdog

_BEFORE_THE_APP = (*(os.path.dirname(path) for path in (__file__, loader.__file__, importlib.__file__)), "<frozen ")


def main() -> int:
    """Runs jobs until the parent says stop, or is gone. The exit code is 0, or 1 when the app could not be loaded."""
    arguments = parse(sys.argv[1:])
    sock = socket.socket(fileno=arguments.socket)
    _quiet_signals(sock)
    try:
        app = _load(arguments)
        announcing.starting(app, arguments.worker)
        manifest = manifest_of(app)
    except BaseException as error:
        _say(sock, _broken(error))
        return 1
    progress = Progress(arguments.page)
    os.close(arguments.page)
    link = Link(sock, progress, app.conf.result_format)
    executor, channel = _join(app, arguments, link)
    watchdog = Watchdog(link, arguments.parent, [executor.slots.tick, channel.tick])
    link.listeners.append(watchdog.wake)
    link.send(manifest)
    watchdog.start()
    if arguments.pool == "asyncio":
        eventloop.run(link, executor, arguments.slots, sock)
    elif arguments.pool == "thread":
        threads.run(link, executor, arguments.slots)
    else:
        threads.run_main(link, executor)
    announcing.stopping()
    return 0


def _join(app: App, arguments: Arguments, link: Link) -> tuple[Executor, JobChannel]:
    """What runs jobs and what they speak through, with all that comes in leading to one of them."""

    def die(number: str) -> None:
        link.flush()
        die_by(number)

    slots = Slots(die)
    limits = TimeLimits(app.tasks, bounds_of(app))
    channel = JobChannel(link, app.conf.result_format)
    show = bool(arguments.show)
    executor = Executor(app, arguments.worker, show, slots=slots, limits=limits, channel=channel)

    def on_other(message: Down) -> None:
        if isinstance(message, Noted):
            channel.noted(message)
        elif isinstance(message, Ask):
            link.send(answer(app, message))
        elif isinstance(message, NewLimits):
            limits.set(message.task, message.soft_ms, message.hard_ms)

    def on_errand(errand: Errand) -> None:
        if isinstance(errand, Failed):
            executor.failed(errand)
        else:
            announcing.fire(errand)

    link.on_cancel, link.on_other, link.on_errand = slots.cancel, on_other, on_errand
    return executor, channel


def _load(arguments: Arguments) -> App:
    announcing.loading(arguments.level)
    _failpoint.arm(os.environ)
    app = loader.find_app(arguments.app)
    for module in filter(None, arguments.include.split(",")):
        importlib.import_module(module)
    app.load_modules()
    builtin_tasks.register(app)
    if arguments.broker:
        app.conf.broker_url = arguments.broker  # for jobs that tasks submit
    announcing.loaded(app, arguments)
    return app


def _quiet_signals(sock: socket.socket) -> None:
    """Leaves SIGINT and SIGTERM to the parent, which lets us finish first.

    They and SIGQUIT may be sent to the whole process group, and SIGUSR1 is for jobs in the main thread only. They are
    caught, not ignored: programs that a task starts would inherit that. What a task forks gets the usual handlers back,
    and does not keep our socket open.
    """
    os.set_inheritable(sock.fileno(), False)
    quieted = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1)
    former = {number: signal.signal(number, lambda *_: None) for number in quieted}

    def after_fork() -> None:
        sock.close()
        for number, handler in former.items():
            signal.signal(number, handler)

    os.register_at_fork(after_in_child=after_fork)


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
