"""Settings: known names by attribute and by key, unknown ones refused with the nearest."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker import App
from tqbroker.config import NAMES, Settings
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.known_settings import SETTINGS
from tqbroker.setting_values import SettingValues


def test_every_setting_is_there_by_attribute_by_key_and_in_the_documentation_of_the_class() -> None:
    conf = Settings()

    assert {name: conf[name] for name in conf} == {name: getattr(conf, name) for name in NAMES}
    documented = {name for each in SettingValues.__mro__ for name in vars(each).get("__annotations__", ())}
    assert documented == set(NAMES)
    assert {name for name, known in SETTINGS.items() if known.kind in ("works", "adapted")} == set(NAMES)


def test_the_url_comes_from_the_argument_then_the_environment_then_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQBROKER_URL", raising=False)
    assert App().conf.broker_url == "tq://localhost"

    monkeypatch.setenv("TQBROKER_URL", "tq://elsewhere")
    assert App().conf.broker_url == "tq://elsewhere"
    assert App(broker="tq://here").conf.broker_url == "tq://here"


def test_a_change_is_seen_in_the_next_call() -> None:
    app = App()
    task = app.task(_noop)
    before = task.default_head()
    app.conf.task_default_queue = "mail"
    app.conf["task_default_priority"] = 3

    assert before.queue == "default"
    assert task.default_head()[1:3] == ("mail", 3)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("task_default_que", "did you mean task_default_queue"),
        ("zzz", "known settings are strict_typing, "),
        ("backend", "the broker keeps results itself"),
        ("broker", "it is called broker_url"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest(name: str, hint: str) -> None:
    given: Any = {name: 1}
    with pytest.raises(ImproperlyConfigured, match=hint):
        Settings(**given)
    with pytest.raises(ImproperlyConfigured, match=hint):
        setattr(Settings(), name, 1)
    with pytest.raises(KeyError, match=hint):
        Settings()[name]
    with pytest.raises(AttributeError, match=hint):
        getattr(Settings(), name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("broker_url", "redis://localhost"),
        ("task_default_queue", ""),
        ("task_default_priority", 10),
        ("task_default_priority", True),
        ("task_ignore_result", 1),
        ("task_serializer", "pickle"),
        ("accept_content", ["pickle"]),
        ("request_timeout", 0),
        ("worker_log_format", "%(message"),
        ("worker_redirect_stdouts_level", "LOUD"),
        ("worker_prefetch_multiplier", -1),
        ("worker_soft_shutdown_timeout", -1),
        ("result_expires", 0),
        ("submit_timeout", None),
        ("submit_timeout", float("inf")),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_what_is(name: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="write"):
        Settings()[name] = value


def _noop() -> None: ...


def test_results_are_where_the_broker_is_and_nowhere_else() -> None:
    assert Settings(result_backend="tq://elsewhere").result_backend == "tq://elsewhere"
    with pytest.raises(ImproperlyConfigured, match="leave it out"):
        Settings(result_backend="redis://localhost")
