"""A wrong value of any option of any call is an error with advice, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker import App
from tqbroker.exceptions import EncodeError, ImproperlyConfigured
from tqbroker.known_options import CALL, TASK
from tqbroker.option_rules import CALL as CALL_RULES
from tqbroker.option_rules import TASK as TASK_RULES

NOWHERE = "tq://192.0.2.1"  # an address that never answers: what was sent would time out with another error

TEXT = ["", "x" * 300, "a\nb", "a\x00b", 5, b"x", ["x"]]
SPAN = [-1, "soon", True, float("nan"), float("inf"), 1e11, [1]]
LONG = [*SPAN, 0]
FLAG = [1, "yes", "", []]
MAPPING = ["x", [1], 5, {1: 2}]
ERRORS = [5, "ValueError", ValueError("x"), (ValueError, 5), int]
HOOK = ["f", 5]

SHARED: dict[str, list[Any]] = {
    "queue": [*TEXT, "x" * 129, "\u00fc" * 127 + "\U0001f600" * 70],
    "priority": [-1, 10, "1", True, 1.5],
    "exchange": TEXT,
    "routing_key": TEXT,
    "ignore_result": FLAG,
    "result_expires": SPAN,
    "serializer": ["yaml", "pickle", "", 5],
    "compression": ["zstd", "brotli", "", 5],
    "time_limit": LONG,
    "soft_time_limit": LONG,
    "ordering_key": TEXT,
    "tenant": [*TEXT, "x" * 129],
    "limits": ["", "x" * 300, "a\nb", 5, ["ok", ""], [str(n) for n in range(9)]],
    "requires": ["", "x" * 300, "a\nb", 5, ["ok", 5], [str(n) for n in range(17)]],
    "unique_for": LONG,
    "unique_until": ["", "done", True, 5],
    "unique_on_conflict": ["", "ignore", 5],
    "unique_key": TEXT,
}

BAD_TASK: dict[str, list[Any]] = {
    **SHARED,
    "name": TEXT,
    "base": ["Task", 5, dict],
    "typing": FLAG,
    "trail": FLAG,
    "max_retries": [-1, 1.5, "3", True],
    "default_retry_delay": SPAN,
    "autoretry_for": ERRORS,
    "dont_autoretry_for": ERRORS,
    "retry_kwargs": MAPPING,
    "retry_backoff": ["x", -1, float("nan")],
    "retry_backoff_max": SPAN,
    "retry_jitter": FLAG,
    "throws": ERRORS,
    "rate_limit": ["10/x", "fast", -1, True, {}, "0/s", ["10/s", "x"], "10/s " * 9],
    "max_concurrency": [0, -1, "2", True, 1.5],
    **dict.fromkeys(
        (
            "acks_late",
            "reject_on_worker_lost",
            "track_started",
            "store_errors_even_if_ignored",
            "send_events",
            "pydantic",
            "pydantic_strict",
        ),
        FLAG,
    ),
    **{key: [*FLAG, False] for key in ("acks_on_failure_or_timeout", "acks_on_failure", "acks_on_timeout")},
    **dict.fromkeys(("pydantic_context", "pydantic_dump_kwargs"), MAPPING),
    "resultrepr_maxsize": [0, -1, "80", True, 1.5],
    "shadow_name": HOOK,
    **dict.fromkeys(("before_start", "on_success", "on_retry", "on_failure", "after_return", "on_replace"), HOOK),
    "expires": SPAN,
}

BAD_CALL: dict[str, list[Any]] = {
    **SHARED,
    "task_id": TEXT,
    "idempotency_key": TEXT,
    "countdown": SPAN,
    "eta": [5, "tomorrow", [1]],
    "expires": [*SPAN, "tomorrow"],
    "headers": [["a"], {1: 2}, "text", {"h": "x" * 65536}, {"h": object()}],
    "stamps": [*MAPPING, {"a=b": 1}, {"a": "x" * 300}, {"a": "\n"}, {str(n): n for n in range(33)}],
    "stamped_headers": [5, [""], ["missing"]],
    "shadow": TEXT,
    "retry": FLAG,
    "add_to_parent": FLAG,
    "link": [5, "tasks.add", [1], {"a": 1}],
    "link_error": [5, "tasks.add", [1], {"a": 1}],
    "retry_policy": [*MAPPING, {"max_retries": -1}, {"interval_step": "x"}, {"tries": 5}],
}


def task_cases() -> list[Any]:
    return [pytest.param(name, value, id=f"{name}-{n}") for name in BAD_TASK for n, value in enumerate(BAD_TASK[name])]


def call_cases() -> list[Any]:
    return [pytest.param(name, value, id=f"{name}-{n}") for name in BAD_CALL for n, value in enumerate(BAD_CALL[name])]


def work(x: object = None) -> None: ...


def test_every_option_that_means_something_stands_here() -> None:
    effective = {"works", "adapted"}
    tasks = {name for name, known in TASK.items() if known.kind in effective}
    calls = {name for name, known in CALL.items() if known.kind in effective}

    assert BAD_TASK.keys() == tasks - {"bind"}
    assert BAD_CALL.keys() == calls - {"args", "kwargs"}
    assert TASK_RULES.keys() <= BAD_TASK.keys()
    assert CALL_RULES.keys() <= BAD_CALL.keys()


@pytest.mark.parametrize(("name", "value"), task_cases())
def test_a_wrong_option_of_a_task_is_an_error_at_the_decorator(name: str, value: Any) -> None:
    wrong: Any = {name: value}
    with pytest.raises((TypeError, ValueError), match=name):
        App(broker=NOWHERE).task(**wrong)(work)


@pytest.mark.parametrize(("name", "value"), call_cases())
def test_a_wrong_option_of_a_call_is_an_error_before_anything_is_sent(name: str, value: Any) -> None:
    app = App(broker=NOWHERE, submit_timeout=0.01)
    task = app.task(name="t")(work)
    wrong: Any = {name: value}
    with pytest.raises((TypeError, ValueError)) as at_the_task:
        task.apply_async((1,), **wrong)
    with pytest.raises((TypeError, ValueError)) as by_name:
        app.send_task("t", (1,), **wrong)

    assert str(at_the_task.value).replace("apply_async", "send_task") == str(by_name.value)
    assert len(str(by_name.value)) < 700  # the value may be large, the message is not


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"countdown": 1, "eta": "2030-01-01"}, "countdown and eta exclude each other"),
        ({"task_id": "a", "idempotency_key": "b"}, "each of them makes the id"),
        ({"unique_key": "a"}, "add unique_until or unique_for"),
        ({"unique_on_conflict": "keep"}, "add unique_until or unique_for"),
        ({"time_limit": 5, "soft_time_limit": 5}, "would never be reached"),
        ({"exchange": "media"}, "write queue="),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: Any, advice: str) -> None:
    task = App(broker=NOWHERE).task(work)
    with pytest.raises(ValueError, match=advice):
        task.apply_async((1,), **options)


@pytest.mark.parametrize("name", [name for name, known in CALL.items() if known.kind in ("refused", "later")])
def test_a_refused_option_of_a_call_says_what_to_write(name: str) -> None:
    refused: Any = {name: "x"}
    with pytest.raises(TypeError, match=f"option {name}: .{{20}}"):
        App(broker=NOWHERE).task(work).apply_async((1,), **refused)


@pytest.mark.parametrize("name", [name for name, known in TASK.items() if known.kind in ("refused", "later")])
def test_a_refused_option_of_a_task_says_what_to_write(name: str) -> None:
    refused: Any = {name: "x"}
    with pytest.raises(TypeError, match=f"option {name}: .{{20}}"):
        App(broker=NOWHERE).task(**refused)(work)


def test_an_argument_of_ten_megabytes_is_refused_with_advice() -> None:
    task = App(broker=NOWHERE).task(work)
    with pytest.raises(EncodeError, match="store them elsewhere and send where they are"):
        task.delay("x" * 10_000_000)
    with pytest.raises(EncodeError, match="a job takes up to 1048576"):
        task.delay_many([("x" * 10_000_000,)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_routes", 5),
        ("task_routes", "nowhere.to.be.found"),
        ("task_routes", {5: "mail"}),
        ("task_routes", {"t": 5}),
        ("task_routes", {"t": {"quue": "mail"}}),
        ("task_routes", {"t": {"task_id": "mail"}}),
        ("task_queues", [5]),
        ("task_annotations", {"t": {"quue": "mail"}}),
        ("task_annotations", {"t": {"priority": 99}}),
        ("task_annotations", {"t": {"name": "other"}}),
        ("task_annotations", [5]),
        ("timezone", "Atlantis/Center"),
    ],
)
def test_a_wrong_value_inside_of_a_setting_is_refused_at_the_latest_with_the_call(name: str, value: Any) -> None:
    app = App(broker=NOWHERE)
    app.task(name="t")(work)

    def call() -> None:
        app.conf[name] = value
        app.tasks["t"].apply_async((1,), eta="2030-01-01")

    with pytest.raises((ImproperlyConfigured, ValueError)):
        call()
