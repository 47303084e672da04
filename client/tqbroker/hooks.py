"""What is called around an attempt: the task's own hooks and the signals, in Celery's order.

task_prerun, before_start, the body, on_success (on_failure, on_retry), task_success (task_failure, task_retry),
after_return, task_postrun. All of them run before the outcome is sent to the broker. What they raise is logged and
changes nothing, but for before_start: what that raises the attempt fails with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tqbroker import signals, states
from tqbroker.einfo import ExceptionInfo
from tqbroker.exceptions import Retry

if TYPE_CHECKING:
    from tqbroker.request import Request
    from tqbroker.retrying import Ending
    from tqbroker.task_body import TaskBody

_SIGNALS = (
    signals.task_prerun,
    signals.task_postrun,
    signals.task_success,
    signals.task_retry,
    signals.task_failure,
    signals.task_revoked,
)
_NO_RETURN = frozenset({states.RETRY, states.IGNORED, states.REJECTED})
"""After these Celery does not call after_return."""

_log = logging.getLogger("tqbroker.task")


def wanted(task: TaskBody) -> bool:
    """Whether anything is to be called around this task's attempts."""
    return bool(task.own_hooks) or any(signal.receivers for signal in _SIGNALS)


def before(task: TaskBody, request: Request) -> None:
    """The attempt is about to start. Raises what before_start raises."""
    args, kwargs = request.args, request.kwargs
    signals.task_prerun.send(sender=task, task_id=request.id, task=task, args=args, kwargs=kwargs)
    task.before_start(request.id, args, kwargs)


def after(task: TaskBody, request: Request, ending: Ending) -> None:
    """The attempt has ended."""
    einfo = None if ending.state == states.SUCCESS else ExceptionInfo(ending.value)
    _by_state(task, request, ending, einfo)
    args, kwargs = request.args, request.kwargs
    if ending.state not in _NO_RETURN:
        _quietly(task.after_return, ending.state, ending.value, request.id, args, kwargs, einfo)
    signals.task_postrun.send(
        sender=task,
        task_id=request.id,
        task=task,
        args=args,
        kwargs=kwargs,
        retval=ending.value,
        state=ending.state,
    )


def _by_state(task: TaskBody, request: Request, ending: Ending, einfo: ExceptionInfo | None) -> None:
    value, args, kwargs = ending.value, request.args, request.kwargs
    if ending.state == states.SUCCESS:
        _quietly(task.on_success, value, request.id, args, kwargs)
        signals.task_success.send(sender=task, result=value)
    elif ending.state == states.RETRY:
        reason = value.exc if isinstance(value, Retry) else value
        _quietly(task.on_retry, reason, request.id, args, kwargs, einfo)
        signals.task_retry.send(sender=task, request=request, reason=value, einfo=einfo)
    elif ending.state == states.FAILURE:
        _quietly(task.on_failure, value, request.id, args, kwargs, einfo)
        signals.task_failure.send(
            sender=task,
            task_id=request.id,
            exception=value,
            args=args,
            kwargs=kwargs,
            traceback=value.__traceback__,
            einfo=einfo,
        )
    elif ending.state == states.REVOKED:
        signals.task_revoked.send(sender=task, request=request, terminated=True, signum=None, expired=False)


def _quietly(hook: Callable[..., Any], *arguments: Any) -> None:
    try:
        hook(*arguments)
    except BaseException:  # SystemExit too: a hook does not end its worker
        _log.exception("%s raised; the outcome of the job stays as it is", getattr(hook, "__qualname__", hook))
