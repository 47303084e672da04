"""The signals of a worker's life, as a child sends them, and the logging that some of them set up."""

from __future__ import annotations

import logging
import os

import msgspec

from tqbroker import signals
from tqbroker.app import App
from tqbroker.config import Settings
from tqbroker_worker import loglook, stdouts
from tqbroker_worker.arguments import Arguments
from tqbroker_worker.manifest import log_look
from tqbroker_worker.protocol import Fire


def loading(level: str) -> None:
    """The app is about to be imported: its lines are logged, and it finds no handler, so that it may add its own."""
    logging.lastResort = loglook.set_up(level)  # any handler will do
    logging.getLogger().handlers.clear()


def loaded(app: App, arguments: Arguments) -> None:
    """The app is imported: its handlers may import more, and set up logging."""
    signals.import_modules.send(sender=app)
    conf, root = app.conf, logging.getLogger()
    setup = {"loglevel": logging.getLevelNamesMapping()[arguments.level.upper()], "logfile": None}
    look = {"format": conf.worker_log_format, "colorize": conf.worker_log_color}
    if signals.setup_logging.receivers:
        signals.setup_logging.send(sender=None, **setup, **look)
    else:
        _set_up(conf, arguments.level)
    if conf.worker_redirect_stdouts:
        stdouts.redirect(logging.getLevelNamesMapping()[conf.worker_redirect_stdouts_level])
    signals.after_setup_logger.send(sender=None, logger=root, **setup, **look)
    signals.after_setup_task_logger.send(sender=None, logger=logging.getLogger("tqbroker.task"), **setup, **look)


def _set_up(conf: Settings, level: str) -> None:
    """Logs as the settings say. Handlers that the app gave the root logger go, unless the settings keep them."""
    root = logging.getLogger()
    kept = [] if conf.worker_hijack_root_logger else root.handlers[:]
    logging.lastResort = loglook.set_up(level, log_look(conf))
    if kept:
        root.handlers[:] = kept


def starting(app: App, worker: str) -> None:
    """The child is about to run jobs. Each child sends what Celery sends once before it forks."""
    signals.celeryd_init.send(sender=worker, instance=None, conf=app.conf, options={})
    signals.celeryd_after_setup.send(sender=worker, instance=None, conf=app.conf)
    signals.worker_init.send(sender=worker)
    signals.worker_process_init.send(sender=None)


def stopping() -> None:
    """The child has run its last job."""
    signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)


def fire(message: Fire) -> None:
    """Sends a signal of the parent."""
    named = msgspec.json.decode(message.kwargs)
    signal = signals.ALL.get(message.signal)
    if signal is not None:
        signal.send(**named)
