"""Options of tasks and calls: which win, what they mean on the wire, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tqbroker import App
from tqbroker.call import Head
from tqbroker.config import Settings
from tqbroker.heads import make_head


def head(**options: Any) -> Head:
    return make_head("tasks.add", {}, options, Settings())


def test_without_options_the_settings_hold() -> None:
    assert head() == Head("tasks.add", "default", 0, "json")


def test_the_call_wins_over_the_task_over_the_app() -> None:
    conf = Settings(task_default_queue="app", task_default_priority=1, result_expires=5, task_serializer="msgpack")

    made = make_head("t", {"queue": "task", "priority": 2}, {"queue": "call", "ignore_result": None}, conf)

    assert made == Head("t", "call", 2, "msgpack", ignore_result=False, result_ttl_ms=5000)


def test_settings_say_what_becomes_of_results() -> None:
    conf = Settings(task_ignore_result=True, result_serializer="msgpack", result_compression="zlib")

    assert make_head("t", {}, {}, conf).ignore_result
    assert conf.result_format == "msgpack+zlib"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"countdown": 1.5}, {"countdown_ms": 1500}),
        ({"countdown": timedelta(minutes=1)}, {"countdown_ms": 60_000}),
        ({"countdown": 0.0001}, {"countdown_ms": 1}),
        ({"eta": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)}, {"eta_unix_ms": 1000}),
        ({"eta": datetime(1970, 1, 1, 0, 0, 1)}, {"eta_unix_ms": 1000}),
        ({"eta": datetime(1970, 1, 1, 1, 0, 1, tzinfo=timezone(timedelta(hours=1)))}, {"eta_unix_ms": 1000}),
        ({"eta": "1970-01-01T00:00:01Z"}, {"eta_unix_ms": 1000}),
        ({"expires": 60}, {"expires_in_ms": 60_000}),
        ({"expires": 0}, {"expires_in_ms": 1}),
        ({"expires": datetime(1970, 1, 1, 0, 0, 1)}, {"expires_unix_ms": 1000}),
        ({"result_expires": timedelta(hours=1)}, {"result_ttl_ms": 3_600_000}),
        ({"headers": {"trace": (1,)}}, {"headers": b'{"trace":{"$tq":["tuple",[1]]}}'}),
        ({"headers": {}}, {"headers": b""}),
        ({"ignore_result": True, "serializer": "msgpack"}, {"ignore_result": True, "format": "msgpack"}),
    ],
)
def test_options_become_what_the_wire_says(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert head(**options)._asdict().items() >= expected.items()


@pytest.mark.parametrize(
    "options",
    [
        {"countdown": "soon"},
        {"countdown": float("nan")},
        {"countdown": True},
        {"countdown": 1, "eta": datetime(2030, 1, 1)},
        {"eta": 5},
        {"eta": "tomorrow"},
        {"expires": "later"},
        {"queue": "x" * 129},
        {"queue": "a\nb"},
        {"priority": 10},
        {"priority": -1},
        {"priority": "1"},
        {"serializer": "yaml"},
        {"queue": ""},
        {"expires": -1},
        {"expires": timedelta(seconds=-1)},
    ],
)
def test_a_value_that_is_not_allowed_is_a_value_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        head(**options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"countdown": 1e10}, "give 0 or more seconds, and less than 10000000000"),
        ({"countdown": -5}, "give 0 or more seconds"),
        ({"expires": "later"}, "give seconds, a timedelta, or a datetime"),
        ({"expires": [1]}, "give seconds as a number, a timedelta, or a datetime"),
        ({"expires": -1}, "give 0 or more seconds as a number"),
    ],
)
def test_a_refused_time_says_what_is_allowed(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        head(**options)


@pytest.mark.parametrize("headers", [["a"], {1: 2}, "text"])
def test_headers_are_a_mapping_with_str_keys(headers: Any) -> None:
    with pytest.raises(TypeError, match="give a mapping with str keys"):
        head(headers=headers)


def test_an_unknown_option_is_a_type_error_that_names_the_allowed() -> None:
    app = App()
    wrong: Any = {"quue": "mail"}
    with pytest.raises(TypeError, match=r"has no option quue: allowed are acks_late, .*queue"):
        app.task(**wrong)(_noop)
    with pytest.raises(TypeError, match=r"apply_async of t has no option quue: allowed are add_to_parent, .*queue"):
        app.task(name="t")(_noop).apply_async((), **wrong)
    with pytest.raises(TypeError, match="send_task of t has no option quue"):
        app.send_task("t", **wrong)


def test_a_wrong_task_option_is_found_at_the_decorator() -> None:
    with pytest.raises(ValueError, match="priority=99"):
        App().task(priority=99)(_noop)
    with pytest.raises(ValueError, match="queue=''"):
        App().task(queue="")(_noop)
    with pytest.raises(ValueError, match="name=''"):
        App().task(name="")(_noop)


def _noop() -> None: ...
