"""What a running job may do to its workflow: have another one run in its place, or add to the chord it is part of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from tqbroker.builtin_tasks import builtin
from tqbroker.canvas_chain import chain
from tqbroker.canvas_options import as_signature
from tqbroker.canvas_parts import Composite
from tqbroker.canvas_shape import is_empty, leads_to_many
from tqbroker.canvas_signature import Signature
from tqbroker.exceptions import ImproperlyConfigured, Replaced
from tqbroker.graph import TAKES_OVER
from tqbroker.ids import key_of
from tqbroker.workflow_sending import send
from tqbroker.workflows import prepare

if TYPE_CHECKING:
    from tqbroker.request import Request
    from tqbroker.task_body import TaskBody


def replacement(task: TaskBody, sig: Any) -> Signature[Any]:
    """The signature that takes the place of the running job: with one result, and with the stamps of the job."""
    request = _request(task, "replace")
    wanted = as_signature(sig, f"replace of {task.name}")
    if isinstance(wanted, Composite) and is_empty(wanted) and not leads_to_many(wanted):
        raise ImproperlyConfigured(f"replace of {task.name}: this chain has no parts, give it at least one signature")
    if leads_to_many(wanted):
        last = builtin(task.app, "tqbroker.accumulate").s(index=0)
        wanted = last.clone(([],)) if is_empty(wanted) else chain(wanted, last)
    if request.stamps:
        stamps: dict[str, Any] = request.stamps
        wanted = wanted.clone().stamp(None, True, **stamps)
    return wanted


def replace(task: TaskBody, sig: Signature[Any]) -> NoReturn:
    """Stores what is to run in place of the running job, and raises Replaced, which ends the attempt."""
    request = _request(task, "replace")
    if request.is_eager:
        replaced = Replaced(b"")
        replaced.result = sig.apply(task_id=request.id, throw=False)
        raise replaced
    prepared = prepare(sig, task.app, key=TAKES_OVER)
    assert prepared.workflow is not None
    send(task.app, prepared.workflow._replace(held=True), prepared.timeout)
    raise Replaced(prepared.workflow.id)


def added(task: TaskBody, sig: Any) -> Signature[Any]:
    """A copy of a signature that will be added to the chord of the running job when it is sent."""
    request = _request(task, "add_to_chord")
    if request.chord is None:
        raise ValueError(f"add_to_chord of {task.name}: this job is not in the header of a chord")
    wanted = as_signature(sig, f"add_to_chord of {task.name}").clone()
    assert request.id is not None
    wanted._beside = request.eager_beside if request.is_eager else (key_of(request.id), request.fence)
    return wanted


def _request(task: TaskBody, what: str) -> Request:
    request = task.request
    if request.called_directly:
        raise RuntimeError(f"{what} of {task.name}: no job is being run here, it is for the body of a job")
    return request
