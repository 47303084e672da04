"""Jobs of workflows: from the delivery, through the pipe, to the arguments of the function."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from tqbroker import App, Task
from tqbroker.codec import decode, encode, encode_call
from tqbroker.exceptions import EncodeError, OperationalError
from tqbroker.failures import failure_of
from tqbroker.ids import Key, text_of
from tqbroker.transport import InputsInfo, Transport
from tqbroker.v1 import job_pb2, workflow_pb2
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_worker.coroutines import Running
from tqbroker_worker.delivery import Job, Success, jobs_of
from tqbroker_worker.execute import Executor
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.messages import jobs_of as columns_of
from tqbroker_worker.protocol import Ended, Verdict, decode_down
from tqbroker_worker.protocol import encode as encode_message
from tqbroker_worker.slots import Slot

GROUP = bytes(range(16))


class Pages:
    """The broker's side of GetInputs: so many values, two at a time."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count = count
        self.error = error
        self.asked: list[tuple[Key, int]] = []

    def inputs(self, key: Key, first: int, timeout: float) -> InputsInfo:
        self.asked.append((key, first))
        if self.error is not None:
            raise self.error
        values = [encode(number) for number in range(first, min(first + 2, self.count))]
        return InputsInfo(values, ["json"], 5)


class AppWithPages(App):
    pages = Pages(0)

    @property
    def transport(self) -> Transport:
        return cast(Transport, self.pages)


app = AppWithPages("tasks", broker="tq://localhost")


@app.task(name="total")
def total(*args: Any) -> list[Any]:
    return list(args)


@app.task(name="total_async")
async def total_async(*args: Any) -> list[Any]:
    return list(args)


@app.task(name="where", bind=True)
def where(self: Task[..., Any], *handed: Any) -> list[Any]:
    request = self.request
    return [request.root_id, request.parent_id, request.group, request.group_index, request.chord, request.id]


def why(request: Any, exc: BaseException, traceback: str, *own: Any) -> list[Any]:
    return [request.id, request.task, request.args, request.kwargs, request.retries, repr(exc), traceback, *own]


app.task(name="why")(why)


@app.task(name="why_bound", bind=True)
def why_bound(self: Task[..., Any], request: Any, exc: BaseException, traceback: str) -> list[Any]:
    return [self.name, request.id]


@app.task(name="why_with_own")
def why_with_own(request: Any, exc: BaseException, traceback: str, own: int) -> list[Any]:
    return [request.id, own]


@app.task(name="told")
def told(failed: str, *, note: str = "") -> list[Any]:
    return [failed, note]


@app.task(name="told_with_own")
def told_with_own(failed: str, first: int, second: int, third: int = 3) -> list[Any]:
    return [failed, first, second, third]


def deliver(
    task: str,
    place: workflow_pb2.Place | None,
    args: Sequence[Any] = (),
    *,
    parent: str = "",
    root: str = "",
    **own: Any,
) -> Job:
    """One job as a child gets it, after all of its way from the broker."""
    batch = pb.DeliveryBatch(
        task=task,
        queue="default",
        format="json",
        ids=job_pb2.Ids(uuids=bytes(16)),
        tokens=[7],
        args=[encode_call(args, own)],
        places=[place] if place is not None else [],
        parent=parent,
        root=root,
    )
    (jobs,) = columns_of(batch)
    received = decode_down(encode_message(jobs))
    assert isinstance(received, Jobs)
    (job,) = jobs_of(received)
    return job


def place(
    values: Sequence[bytes] = (),
    formats: Sequence[str] = ("json",),
    count: int = 0,
    *,
    many: bool = True,
    **fields: Any,
) -> workflow_pb2.Place:
    shape = workflow_pb2.JOIN_SHAPE_LIST if many else workflow_pb2.JOIN_SHAPE_VALUE
    inputs = workflow_pb2.Inputs(shape=shape, values=values, formats=formats, count=count or len(values))
    return workflow_pb2.Place(workflow=bytes(16), root="first", inputs=inputs, **fields)


def outcome(job: Job) -> Success | Ended:
    found = Executor(app, "worker@here", show=False).run(job, Slot())
    assert found is not None
    return found


def result(job: Job) -> Any:
    found = outcome(job)
    assert isinstance(found, Success), found
    return decode(found.result)


def test_the_value_of_a_parent_goes_in_front_of_the_arguments() -> None:
    assert result(deliver("total", place([b"3"], many=False), [1, 2])) == [3, 1, 2]


def test_the_values_of_many_go_in_front_as_one_list_each_read_in_its_own_format() -> None:
    values = [encode({"a": 1}, "msgpack"), encode([2], "json"), b""]
    assert result(deliver("total", place(values, ["msgpack", "json", "json"]), [9])) == [[{"a": 1}, [2], None], 9]


def test_a_parent_that_has_no_value_hands_over_none() -> None:
    assert result(deliver("total", place([b""], [""], many=False))) == [None]


def test_a_job_that_is_handed_nothing_has_its_own_arguments_only() -> None:
    assert result(deliver("total", workflow_pb2.Place(workflow=bytes(16)), [1])) == [1]


def test_a_value_that_cannot_be_read_fails_the_job() -> None:
    ended = outcome(deliver("total", place([b"{"])))
    assert isinstance(ended, Ended)
    assert ended.failure is not None
    assert (ended.verdict, ended.failure.type) == (Verdict.FAILED, "DecodeError")


def test_only_those_jobs_of_a_batch_that_have_a_place_get_one() -> None:
    places = [workflow_pb2.Place(), place([b"3"], many=False), workflow_pb2.Place()]
    batch = pb.DeliveryBatch(
        task="total",
        format="json",
        ids=job_pb2.Ids(uuids=bytes(48)),
        tokens=[1, 2, 3],
        args=[b"[[],{}]"] * 3,
        places=places,
    )
    (jobs,) = columns_of(batch)
    assert list(jobs.extras) == [1]
    assert jobs.size() == 3 * 7 + 1


# -- what is too large to come with the job ----------------------------------------------------------------------------


def test_what_did_not_come_with_the_job_is_fetched_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(5)
    monkeypatch.setattr(AppWithPages, "pages", pages)
    assert result(deliver("total", place([], [], 5))) == [[0, 1, 2, 3, 4]]
    assert pages.asked == [(bytes(16), 0), (bytes(16), 2), (bytes(16), 4)]


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        (Pages(5, OperationalError("no answer")), "could not be fetched: no answer"),
        (Pages(3), "the broker has 3 of the 5 results"),
    ],
)
def test_a_job_whose_inputs_cannot_be_fetched_goes_back_unstarted(
    monkeypatch: pytest.MonkeyPatch, pages: Pages, message: str
) -> None:
    monkeypatch.setattr(AppWithPages, "pages", pages)
    ended = outcome(deliver("total", place([], [], 5)))
    assert isinstance(ended, Ended)
    assert ended.failure is not None
    assert (ended.verdict, ended.started_ms) == (Verdict.REQUEUED, 0)
    assert message in ended.failure.message


@pytest.mark.parametrize("task", ["total", "total_async"])
async def test_in_an_event_loop_it_is_fetched_in_a_thread(monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    pages = Pages(5)
    monkeypatch.setattr(AppWithPages, "pages", pages)
    running = Running(Executor(app, "worker@here", show=False), deliver(task, place([], [], 5)), lambda _: None)
    running.task = asyncio.create_task(running.run())
    found = await running.task
    assert isinstance(found, Success)
    assert decode(found.result) == [[0, 1, 2, 3, 4]]


# -- error callbacks ---------------------------------------------------------------------------------------------------


def cause(*args: Any, **fields: Any) -> workflow_pb2.Place:
    try:
        raise KeyError("lost")
    except KeyError as error:
        failure = job_pb2.Failure(**failure_of(error)._asdict())
    known: dict[str, Any] = {"args": encode_call(args, {"k": 1}), "failure": failure, "state": job_pb2.STATE_FAILED}
    job = job_pb2.JobStatus(text="the-failed", task="tasks.bad", format="json", retries=3, **{**known, **fields})
    return workflow_pb2.Place(workflow=bytes(16), cause=job)


def test_an_error_callback_with_places_for_it_gets_request_exception_and_traceback() -> None:
    told = result(deliver("why", cause(5, 6), ["own"]))
    assert told[:6] == ["the-failed", "tasks.bad", (5, 6), {"k": 1}, 3, "KeyError('lost')"]
    assert __file__ in told[6]
    assert told[7:] == ["own"]


@pytest.mark.parametrize(
    ("task", "args", "kwargs", "expected"),
    [
        ("why_bound", [], {}, ["why_bound", "the-failed"]),
        ("why_with_own", [9], {}, ["the-failed", 9]),
        ("why_with_own", [], {"own": 9}, ["the-failed", 9]),
        ("told", [], {"note": "n"}, ["the-failed", "n"]),
        ("told_with_own", [1, 2], {}, ["the-failed", 1, 2, 3]),
        ("told_with_own", [1], {"second": 2}, ["the-failed", 1, 2, 3]),
    ],
)
def test_how_an_error_callback_is_called_depends_on_the_places_beside_its_own_arguments(
    task: str, args: list[Any], kwargs: dict[str, Any], expected: list[Any]
) -> None:
    assert result(deliver(task, cause(), args, **kwargs)) == expected


def test_an_error_callback_is_called_even_if_the_failed_jobs_arguments_cannot_be_read() -> None:
    assert result(deliver("why", cause(args=b"{", headers=b"}")))[:4] == ["the-failed", "tasks.bad", (), {}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"state": job_pb2.STATE_EXPIRED, "failure": None}, "TaskRevokedError('job the-failed expired"),
        ({"failure": None}, "WorkerLostError('job the-failed lost its worker 0 times')"),
        ({"failure": job_pb2.Failure(type="Odd", module="not.here", message="m")}, "Odd('m')"),
    ],
)
def test_an_error_callback_always_gets_an_exception(fields: dict[str, Any], expected: str) -> None:
    assert result(deliver("why", cause(**fields)))[5].startswith(expected)


# -- what the task sees ------------------------------------------------------------------------------------------------


def test_a_task_sees_where_it_stands_in_its_workflow() -> None:
    job = deliver("where", place(parent="before", group=GROUP, group_index=2, in_chord=True, count=0))
    own = text_of(bytes(16))
    assert result(job) == ["first", "before", text_of(GROUP), 2, text_of(GROUP), own]


def test_a_group_on_which_nothing_follows_is_no_chord() -> None:
    assert result(deliver("where", place(group=GROUP)))[2:5] == [text_of(GROUP), 0, None]


def test_a_plain_job_is_its_own_root() -> None:
    own = text_of(bytes(16))
    assert result(deliver("where", None)) == [own, None, None, None, None, own]


def test_a_job_that_another_has_submitted_sees_which_and_where_it_began() -> None:
    assert result(deliver("where", None, parent="p", root="r"))[:2] == ["r", "p"]


def test_who_submitted_a_workflow_is_the_parent_of_its_first_job_and_root_of_all() -> None:
    first = deliver("where", workflow_pb2.Place(workflow=bytes(16), root="first"), parent="p", root="r")
    later = deliver("where", workflow_pb2.Place(workflow=bytes(16), root="first", parent="q"), parent="p", root="r")
    assert [result(first)[:2], result(later)[:2]] == [["r", "p"], ["r", "q"]]


def test_new_arguments_of_a_retry_take_in_what_was_handed_over() -> None:
    @app.task(name="again", bind=True)
    def again(self: Any, value: int, *, fresh: bool = False) -> None:
        raise self.retry(kwargs={"fresh": True}, countdown=0)

    ended = outcome(deliver("again", place([b"3"], many=False)))
    assert isinstance(ended, Ended)
    assert (ended.verdict, ended.args) == (Verdict.RETRY, encode_call((3,), {"fresh": True}))


def test_what_was_handed_over_may_be_too_large_to_be_sent_back_as_new_arguments() -> None:
    @app.task(name="again_large", bind=True)
    def again_large(self: Any, value: str, *, fresh: bool = False) -> None:
        raise self.retry(kwargs={"fresh": True}, countdown=0)

    ended = outcome(deliver("again_large", place([encode("x" * (8 << 20))], many=False)))
    assert isinstance(ended, Ended)
    assert ended.failure is not None
    assert (ended.verdict, ended.failure.type) == (Verdict.FAILED, "EncodeError")
    assert "leave out args and kwargs" in ended.failure.message


def test_the_request_of_the_failed_job_cannot_be_sent_on() -> None:
    @app.task(name="again_why", bind=True)
    def again_why(self: Any, request: Any, exc: Any, traceback: Any, note: str = "") -> None:
        raise self.retry(kwargs={"note": "again"}, countdown=0)

    ended = outcome(deliver("again_why", cause()))
    assert isinstance(ended, Ended)
    assert ended.failure is not None
    assert (ended.verdict, ended.failure.type) == (Verdict.FAILED, EncodeError.__name__)
