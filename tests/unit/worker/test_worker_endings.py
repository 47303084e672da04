"""How attempts end that neither return nor simply fail, and what the parent is told of them."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker import App, Task, signals
from tqbroker.codec import decode, decode_call, encode_call
from tqbroker.exceptions import Ignore, Reject, Replaced, Retry, TaskRevokedError
from tqbroker.failures import FailureData
from tqbroker.result import result_from_tuple
from tqbroker_worker.delivery import Job, Success, jobs_of
from tqbroker_worker.execute import Executor
from tqbroker_worker.jobs import Extra, Head, Jobs, Traits
from tqbroker_worker.protocol import Ended, Failed, Verdict
from tqbroker_worker.slots import Slot

app = App("tasks", broker="tq://localhost")
calls: list[Any] = []
GROUP = "0198c1a0-0000-7000-8000-000000000000"


class Telling(Task[..., Any]):
    def on_failure(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        calls.append(("on_failure", type(exc).__name__, self.request.id, args))

    def on_retry(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        calls.append(("on_retry", str(exc)))

    def on_success(self, retval: Any, task_id: Any, args: Any, kwargs: Any) -> None:
        calls.append(("on_success", retval))


@app.task(name="again", bind=True, base=Telling, max_retries=2)
def again(self: Any, x: int) -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        raise self.retry(exc=error, countdown=5, args=(x + 1,)) from None


@app.task(name="auto", autoretry_for=(ValueError,), retry_backoff=4, retry_jitter=False, throws=(KeyError,))
def auto(kind: str) -> None:
    raise {"value": ValueError("no"), "key": KeyError("k")}[kind]


@app.task(name="raises")
def raises(kind: str) -> None:
    raise {
        "ignore": Ignore(),
        "reject": Reject("broken", requeue=False),
        "requeue": Reject("later", requeue=True),
        "retry": Retry("by hand", when=2),
        "unsendable": Retry(when=1, call=((object(),), {})),
    }[kind]


@app.task(name="sees", bind=True)
def sees(self: Any) -> list[Any]:
    request = self.request
    return [
        request.checkpoint,
        request.eta,
        request.stamps,
        request.shadow,
        request.timelimit,
        request.attempt,
        request.deadline is not None,
        request.tenant,
    ]


@app.task(name="stops", bind=True)
def stops(self: Any) -> None:
    self.request.cancelled = True  # what the worker does when somebody cancels
    raise TaskRevokedError("I was asked to")


@app.task(name="returns", base=Telling)
def returns(value: Any = 1) -> object:
    results = {"unsendable": object(), "result": app.AsyncResult("one")}
    results["group"] = app.GroupResult(GROUP, [results["result"], app.AsyncResult("two")])
    return results.get(value, value) if isinstance(value, str) else value


@app.task(name="once", acks_late=False)
def once() -> int:
    return 1


@app.task(name="replaces", base=Telling)
def replaces() -> None:
    raise Replaced(b"w" * 16)


class InContext(Task[..., Any]):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        calls.append("in")
        return super().__call__(*args, **kwargs)


@app.task(name="around", base=InContext, bind=True)
def around(self: Any) -> list[Any]:
    return [self.request.called_directly, self.request.id is not None]


@pytest.fixture(autouse=True)
def fresh() -> None:
    calls.clear()


def run(task: str, *args: Any, retries: int = 0, lost: int = 0, extra: Extra | None = None, **head: Any) -> Any:
    job = Job(Head(task, "default", 0, "json", **head), bytes(16), 7, encode_call(args, {}), retries, lost, extra)
    return Executor(app, "worker@here", show=True).run(job, Slot())


def ended(outcome: Any, verdict: Verdict) -> Ended:
    assert isinstance(outcome, Ended)
    assert outcome.verdict is verdict
    return outcome


def test_a_retry_says_when_why_and_with_what() -> None:
    outcome = ended(run("again", 1), Verdict.RETRY)
    assert outcome.retry_in_ms == 5000
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.shown) == ("ValueError", "Retry in 5s: ValueError('why')")
    assert __file__ in outcome.failure.traceback
    assert decode_call(outcome.args, "json") == ((2,), {})
    assert calls == [("on_retry", "why")]


def test_the_last_retry_fails_with_its_cause() -> None:
    outcome = ended(run("again", 1, retries=2), Verdict.FAILED)
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.failure.message) == ("ValueError", "why")
    assert calls == [("on_failure", "ValueError", "00000000-0000-0000-0000-000000000000", (1,))]


def test_an_automatic_retry_waits_longer_each_time() -> None:
    waits = [ended(run("auto", "value", retries=n), Verdict.RETRY).retry_in_ms for n in range(3)]
    assert waits == [4000, 8000, 16000]
    assert ended(run("auto", "value"), Verdict.RETRY).args == b""


def test_a_job_that_is_replaced_has_not_ended_and_its_hooks_are_not_called() -> None:
    outcome = ended(run("replaces"), Verdict.REPLACED)
    assert (outcome.workflow, outcome.failure, calls) == (b"w" * 16, None, [])


def test_expected_errors_are_marked_for_the_log() -> None:
    assert ended(run("auto", "key"), Verdict.FAILED).expected
    assert not ended(run("auto", "value", retries=3), Verdict.FAILED).expected


def test_ignore_is_a_success_without_a_result() -> None:
    outcome = run("raises", "ignore")
    assert isinstance(outcome, Success)
    assert (outcome.result, outcome.shown) == (b"", "ignored")


def test_rejected_jobs_say_why_and_requeued_ones_go_back() -> None:
    rejected = ended(run("raises", "reject"), Verdict.REJECTED)
    assert rejected.failure is not None
    assert "broken" in rejected.failure.message
    ended(run("raises", "requeue"), Verdict.REQUEUED)


def test_a_retry_raised_by_hand_counts() -> None:
    outcome = ended(run("raises", "retry"), Verdict.RETRY)
    assert (outcome.retry_in_ms, outcome.shown) == (2000, "by hand")


def test_arguments_of_a_retry_that_cannot_be_sent_fail_the_job() -> None:
    outcome = ended(run("raises", "unsendable"), Verdict.FAILED)
    assert outcome.failure is not None
    assert outcome.failure.type == "EncodeError"


def test_a_result_that_cannot_be_sent_is_no_success_for_hooks() -> None:
    ended(run("returns", "unsendable"), Verdict.FAILED)
    assert [call[:2] for call in calls] == [("on_failure", "EncodeError")]
    run("returns", 3)
    assert calls[-1] == ("on_success", 3)


def test_results_of_other_jobs_are_sent_as_tuples_that_stand_for_them() -> None:
    sent = [decode(run("returns", what).result, "json") for what in ("result", "group")]
    assert sent == [(("one", None), None), ((GROUP, None), [(("one", None), None), (("two", None), None)])]
    assert result_from_tuple(sent[1], app=app) == returns("group")


def test_a_cancelled_job_that_gives_up_is_cancelled() -> None:
    assert ended(run("stops"), Verdict.CANCELLED).failure is None


def test_a_task_sees_what_its_job_has_beside_arguments() -> None:
    traits = Traits(soft_limit_ms=1500, hard_limit_ms=2000, shadow="shown", stamps=("a=1", "a=2", "b="), tenant="t")
    extra = Extra(due_ms=1_000, checkpoint=b'{"page":3}', checkpoint_format="json")
    outcome = run("sees", retries=1, lost=2, extra=extra, traits=traits)
    assert isinstance(outcome, Success)
    assert decode(outcome.result, "json") == [
        {"page": 3},
        "1970-01-01T00:00:01+00:00",
        {"a": ["1", "2"], "b": [""]},
        "shown",
        [2.0, 1.5],
        4,
        True,
        "t",
    ]


def test_a_lost_job_of_a_task_that_runs_at_most_once_is_not_run_again() -> None:
    assert isinstance(run("once"), Success)
    outcome = ended(run("once", lost=1), Verdict.FAILED)
    assert outcome.failure is not None
    assert outcome.failure.type == "WorkerLostError"


def test_a_call_method_goes_around_the_body_and_keeps_the_jobs_request() -> None:
    outcome = run("around")
    assert isinstance(outcome, Success)
    assert (decode(outcome.result, "json"), calls) == ([False, True], ["in"])


def test_hooks_of_a_job_that_the_parent_ended_run_without_its_body() -> None:
    head = Head("returns", "default", 0, "json")
    jobs = Jobs(head, bytes(16), [], [7], [encode_call((5,), {})], [], [])
    failure = FailureData("TimeLimitExceeded", "tqbroker.exceptions", "over")
    Executor(app, "w", show=False).failed(Failed(jobs, failure, Verdict.FAILED))
    assert calls == [("on_failure", "TimeLimitExceeded", "00000000-0000-0000-0000-000000000000", (5,))]


def test_a_job_that_the_parent_has_ended_by_force_was_revoked_and_did_not_fail() -> None:
    heard: list[tuple[str, str]] = []

    def hear(sender: Any, signal: Any, **_: Any) -> None:
        heard.append((signal.name, sender.name))

    jobs = Jobs(Head("once", "default", 0, "json"), bytes(16), [], [7], [encode_call((), {})], [], [])
    failure = FailureData("TaskRevokedError", "tqbroker.exceptions", "terminated by SIGTERM")
    for signal in (signals.task_revoked, signals.task_failure):
        signal.connect(hear)
    Executor(app, "w", show=False).failed(Failed(jobs, failure, Verdict.CANCELLED))
    for signal in (signals.task_revoked, signals.task_failure):
        signal.disconnect(hear)
    assert heard == [("task_revoked", "once")]


def test_signals_connected_later_are_heard_too() -> None:
    heard: list[Any] = []
    executor = Executor(app, "w", show=False)
    job = Job(Head("once", "default", 0, "json"), bytes(16), 7, encode_call((), {}), 0, 0)
    executor.run(job, Slot())

    def hear(sender: Any, state: str, **_: Any) -> None:
        heard.append((sender.name, state))

    signals.task_postrun.connect(hear)
    executor.run(job, Slot())
    signals.task_postrun.disconnect(hear)
    executor.run(job, Slot())
    assert heard == [("once", "SUCCESS")]


def test_a_job_that_cannot_even_be_begun_is_an_internal_error() -> None:
    heard: list[Any] = []

    @signals.task_internal_error.connect
    def hear(sender: Any, exception: Any, **_: Any) -> None:
        heard.append((sender, type(exception).__name__))

    ended(run("unknown"), Verdict.FAILED)
    assert heard == [("unknown", "NotRegistered")]


def test_extras_stay_with_their_jobs() -> None:
    head = Head("t", "q", 0, "json")
    extras = {1: Extra(due_ms=5), 2: Extra(due_ms=6)}
    jobs = Jobs(head, b"", ["a", "b", "c"], [1, 2, 3], [b""] * 3, [0, 1, 2], [], extras)
    assert [job.extra and job.extra.due_ms for job in jobs_of(jobs)] == [None, 5, 6]
    assert [job.extra and job.extra.due_ms for job in jobs_of(jobs.part(1, 3))] == [5, 6]
    assert [(job.retries, job.extra and job.extra.due_ms) for job in jobs_of(jobs.pick([3, 1]))] == [(0, None), (2, 6)]


class Leaving:
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise LookupError("no name")


class NamelessError(Exception, metaclass=Nameless):
    pass


@app.task(name="hard", ignore_result=True)
def hard(how: str) -> Any:
    if how == "retry":
        raise Retry(Leaving(), when=1)  # type: ignore[arg-type]
    if how == "nameless":
        raise NamelessError
    return Leaving()


def test_a_result_or_a_reason_whose_text_raises_system_exit_changes_nothing() -> None:
    outcome = run("hard", "return", ignore_result=True)
    assert isinstance(outcome, Success)
    assert outcome.shown == "<repr() raised SystemExit>"
    assert ended(run("hard", "retry"), Verdict.RETRY).shown.startswith("<str() of the exception raised")


def test_an_attempt_of_which_no_outcome_can_be_made_fails_with_the_reason() -> None:
    outcome = ended(run("hard", "nameless"), Verdict.FAILED)
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.failure.message) == ("LookupError", "no name")


def test_a_receiver_that_raises_system_exit_fails_no_job() -> None:
    @signals.task_success.connect(sender="hard")
    def leave(**_: Any) -> None:
        raise SystemExit(3)

    try:
        assert isinstance(run("hard", "return", ignore_result=True), Success)
    finally:
        signals.task_success.disconnect(leave, sender="hard")
