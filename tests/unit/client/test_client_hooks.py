from __future__ import annotations

import logging
from typing import Any

import pytest

from tqbroker import App, Task, signals
from tqbroker.exceptions import Ignore, Reject

Call = tuple[str, Any]


class Recorder(Task[..., Any]):
    """Writes down every hook."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def before_start(self, task_id: Any, args: Any, kwargs: Any) -> None:
        self.calls.append(("before_start", args))

    def on_success(self, retval: Any, task_id: Any, args: Any, kwargs: Any) -> None:
        self.calls.append(("on_success", retval))

    def on_retry(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        self.calls.append(("on_retry", type(exc).__name__))

    def on_failure(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        self.calls.append(("on_failure", einfo.type.__name__))

    def after_return(self, status: Any, retval: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        self.calls.append(("after_return", status))


def recorded(body: Any, **options: Any) -> Any:
    app = App("tasks", broker="tq://localhost")
    return app.task(bind=True, base=Recorder, **options)(body)


def succeed(self: Any, x: int) -> int:
    self.calls.append(("run", x))
    return x + 1


def test_hooks_of_a_success_run_in_celerys_order() -> None:
    task = recorded(succeed)
    assert task.apply((1,)).get() == 2
    assert task.calls == [("before_start", (1,)), ("run", 1), ("on_success", 2), ("after_return", "SUCCESS")]


def test_hooks_of_a_failure_get_the_exception_with_its_traceback() -> None:
    def fail(self: Any) -> None:
        raise ValueError("no")

    task = recorded(fail)
    result = task.apply()
    assert result.failed()
    assert "ValueError: no" in (result.traceback or "")
    assert task.calls == [("before_start", ()), ("on_failure", "ValueError"), ("after_return", "FAILURE")]


def test_a_retry_is_told_and_has_no_after_return() -> None:
    def fail(self: Any) -> None:
        raise ValueError("no")

    task = recorded(fail, autoretry_for=(ValueError,), max_retries=1)
    assert task.apply().failed()
    names = [name for name, _ in task.calls]
    assert names == ["before_start", "on_retry", "before_start", "on_failure", "after_return"]
    assert task.calls[1] == ("on_retry", "ValueError")


@pytest.mark.parametrize("error", [Ignore(), Reject("no")])
def test_ignored_and_rejected_jobs_have_no_hooks_behind_them(error: Exception) -> None:
    def fail(self: Any) -> None:
        raise error

    task = recorded(fail)
    task.apply()
    assert [name for name, _ in task.calls] == ["before_start"]


def test_what_before_start_raises_the_attempt_fails_with() -> None:
    app = App("tasks", broker="tq://localhost")

    def refuse(self: Any, task_id: Any, args: Any, kwargs: Any) -> None:
        raise ValueError("not today")

    @app.task(before_start=refuse)
    def work() -> int:
        return 1

    with pytest.raises(ValueError, match="not today"):
        work.apply().get()


def test_errors_in_hooks_are_logged_and_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    app = App("tasks", broker="tq://localhost")

    def broken(self: Any, *_: Any) -> None:
        raise SystemExit(3)

    @app.task(on_success=broken, after_return=broken)
    def work() -> int:
        return 1

    with caplog.at_level(logging.ERROR):
        assert work.apply().get() == 1
    assert caplog.text.count("stays as it is") == 2


def test_attributes_of_a_base_class_are_options_and_the_decorator_wins() -> None:
    app = App("tasks", broker="tq://localhost")

    class Mail(Task[..., Any]):
        abstract = True
        queue = "mail"
        max_retries = 5
        autoretry_for = (ValueError,)

    @app.task(base=Mail, max_retries=1)
    def work() -> None: ...

    assert (work.max_retries, work.autoretry_for, work.default_head().queue) == (1, (ValueError,), "mail")


def test_each_task_has_its_own_instance_of_a_base_class() -> None:
    one, two = recorded(succeed, name="one"), recorded(succeed, name="two")
    one.apply((1,))
    assert (len(one.calls), len(two.calls)) == (4, 0)


def test_a_class_with_a_run_method_is_a_task() -> None:
    app = App("tasks", broker="tq://localhost")

    class Add(Task[..., Any]):
        def run(self, x: int, y: int = 1) -> list[Any]:
            return [self.request.retries, x + y]

    add = app.register_task(Add)
    assert add.name == f"{__name__}.Add"
    assert (app.tasks[add.name], add.apply((1,), retries=2).get(), add(2, 3)) == (add, [2, 2], [0, 5])
    with pytest.raises(TypeError):
        add.delay(1, 2, 3)
    named = app.register_task(Add(), name="other")
    assert app.tasks["other"] is named


def test_a_base_that_is_no_task_is_refused() -> None:
    app = App("tasks", broker="tq://localhost")
    with pytest.raises((TypeError, ValueError), match="Task"):
        app.task(base=dict)(succeed)  # type: ignore[arg-type]


def test_a_call_method_of_a_base_goes_around_the_body_of_a_direct_call_too() -> None:
    app = App("tasks", broker="tq://localhost")
    around = []

    class InContext(Task[..., Any]):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            around.append("in")
            return super().__call__(*args, **kwargs)

    @app.task(base=InContext, bind=True)
    def work(self: Any) -> bool:
        return bool(self.request.called_directly)

    assert work() is True
    assert around == ["in"]


def test_signals_of_a_job_come_in_order_with_celerys_arguments() -> None:
    seen: list[Any] = []
    app = App("tasks", broker="tq://localhost")

    @app.task
    def work(x: int) -> int:
        return x + 1

    def on_prerun(sender: Any, task_id: str, task: Any, args: Any, kwargs: Any, **_: Any) -> None:
        seen.append(("prerun", sender is task is work, args, kwargs))

    def on_postrun(sender: Any, retval: Any, state: str, **_: Any) -> None:
        seen.append(("postrun", retval, state))

    def on_success(sender: Any, result: Any, **_: Any) -> None:
        seen.append(("success", result))

    signals.task_prerun.connect(on_prerun, sender=work)
    signals.task_postrun.connect(on_postrun, sender=work.name)
    signals.task_success.connect(on_success)
    work.apply((1,))
    assert seen == [("prerun", True, (1,), {}), ("success", 2), ("postrun", 2, "SUCCESS")]


def test_signals_of_failures_and_retries_carry_them() -> None:
    seen: list[Any] = []
    app = App("tasks", broker="tq://localhost")

    @app.task(autoretry_for=(ValueError,), max_retries=1)
    def work() -> None:
        raise ValueError("no")

    def on_retry(sender: Any, request: Any, reason: Any, einfo: Any, **_: Any) -> None:
        seen.append(("retry", request.retries, repr(reason.exc)))

    def on_failure(sender: Any, exception: Any, traceback: Any, einfo: Any, args: Any, kwargs: Any, **_: Any) -> None:
        seen.append(("failure", str(exception), traceback is not None, einfo.exception is exception))

    signals.task_retry.connect(on_retry)
    signals.task_failure.connect(on_failure)
    work.apply()
    assert seen == [("retry", 0, "ValueError('no')"), ("failure", "no", True, True)]


def test_a_pushed_request_is_the_one_a_task_sees() -> None:
    app = App("tasks", broker="tq://localhost")

    @app.task(bind=True)
    def work(self: Any) -> Any:
        return self.request.id

    work.push_request(id="one", retries=2, headers={"lang": "de"})
    try:
        assert (work.request.id, work.request.attempt, work.request.lang, work.run()) == ("one", 3, "de", "one")
    finally:
        work.pop_request()
    assert work.request.id is None
