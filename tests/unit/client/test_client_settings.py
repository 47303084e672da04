"""Settings from modules, objects and the environment; old names; what has no effect says so once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tqbroker import App, current, current_app, shared_task, verdicts
from tqbroker.config import Settings
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.known_settings import SETTINGS


def work(x: int = 0) -> int:
    return x + 1


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(verdicts, "_logged", set())
    caplog.set_level(logging.WARNING, "tqbroker")
    return caplog


@pytest.mark.parametrize("name", [name for name, known in SETTINGS.items() if known.kind == "accepted"])
def test_a_setting_without_effect_says_so_once(name: str, log: pytest.LogCaptureFixture) -> None:
    Settings().update({name: "x"})
    Settings().update({name: "x"})

    assert [record.message for record in log.records] == [f"setting {name} has no effect: {SETTINGS[name].sentence}"]


@pytest.mark.parametrize("name", [name for name, known in SETTINGS.items() if known.kind in ("refused", "later")])
def test_a_refused_setting_says_what_to_do_unless_it_is_off(name: str) -> None:
    Settings().update({name: None})
    with pytest.raises(ImproperlyConfigured, match=f"setting {name}: .{{20}}"):
        Settings().update({name: "x"})


def test_an_option_without_effect_says_so_once(log: pytest.LogCaptureFixture) -> None:
    app = App(task_always_eager=True)
    task = app.task(work)
    task.apply_async((1,), user_id="me", argsrepr="***")
    task.apply_async((1,), user_id="me")

    assert [record.message.split(" has no effect")[0] for record in log.records] == [
        "option user_id",
        "option argsrepr",
    ]


def test_settings_come_from_a_module_with_names_of_today_or_of_old(log: pytest.LogCaptureFixture) -> None:
    source = SimpleNamespace(
        task_default_queue="mail", CELERYD_CONCURRENCY=3, BROKER_URL="tq://there", CELERY_ALWAYS_EAGER=True, other=5
    )
    app = App()
    app.config_from_object(source)

    assert (app.conf.task_default_queue, app.conf.worker_concurrency) == ("mail", 3)
    assert (app.conf.broker_url, app.conf.task_always_eager) == ("tq://there", True)


def test_with_a_namespace_only_its_names_count_and_each_must_be_one() -> None:
    app = App()
    app.config_from_object({"CELERY_TASK_DEFAULT_QUEUE": "mail", "TASK_SERIALIZER": "nonsense"}, namespace="CELERY")
    assert app.conf.task_default_queue == "mail"

    with pytest.raises(ImproperlyConfigured, match="task_defalt_queue"):
        app.config_from_object({"CELERY_TASK_DEFALT_QUEUE": "mail"}, namespace="CELERY")


def test_an_old_name_given_to_update_is_read_as_the_new_one_and_says_so(log: pytest.LogCaptureFixture) -> None:
    conf = Settings()
    conf.update({"CELERY_DEFAULT_QUEUE": "mail"})

    assert conf.task_default_queue == "mail"
    assert log.records[0].message == (
        "setting CELERY_DEFAULT_QUEUE is called task_default_queue today, and read as that"
    )


def test_what_the_app_was_given_stays_under_a_configuration_object() -> None:
    app = App(broker="tq://here", config_source={"broker_url": "tq://there", "task_default_priority": 3})
    assert (app.conf.broker_url, app.conf.task_default_priority) == ("tq://here", 3)


def test_a_module_is_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings_of_a_test.py").write_text("task_default_queue = 'mail'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WHERE", "settings_of_a_test")
    app = App()

    assert app.config_from_envvar("WHERE")
    assert app.conf.task_default_queue == "mail"
    assert not app.config_from_envvar("NOWHERE", silent=True)
    assert not app.config_from_object("no_such_module_here", silent=True)
    with pytest.raises(ImproperlyConfigured, match="NOWHERE is not set"):
        app.config_from_envvar("NOWHERE")
    with pytest.raises(ImportError):
        app.config_from_object("no_such_module_here")


def test_defaults_hold_where_nothing_else_is_said() -> None:
    app = App(task_default_queue="mail")
    app.add_defaults({"task_default_queue": "other", "task_default_priority": 2})
    app.add_defaults(lambda: {"task_serializer": "msgpack"})

    assert (app.conf.task_default_queue, app.conf.task_default_priority) == ("mail", 2)
    assert app.conf.task_serializer == "msgpack"


def test_the_changed_settings_are_shown_without_passwords() -> None:
    conf = Settings(broker_url="tq://here", task_default_priority=2)
    assert conf.table() == {"broker_url": "tq://here", "task_default_priority": 2}
    assert "task_default_priority: 2" in conf.humanize()
    assert "submit_timeout: 5.0" in conf.humanize(with_defaults=True)


@pytest.mark.parametrize(
    ("settings", "hour"),
    [({}, 12), ({"timezone": "UTC"}, 12), ({"timezone": "Asia/Tokyo"}, 3), ({"timezone": "Asia/Kolkata"}, 6.5)],
)
def test_a_naive_moment_is_one_of_the_apps_zone(settings: Any, hour: float) -> None:
    app = App(**settings)
    head, _ = app.task(work)._call((), {}, {"eta": datetime(2030, 1, 1, 12), "expires": "2030-01-01T12:00:00"})

    expected = datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1000 + hour * 3_600_000
    assert (head.eta_unix_ms, head.expires_unix_ms) == (expected, expected)


def test_the_app_knows_its_zone_and_the_time_there() -> None:
    app = App(timezone="Asia/Tokyo")
    assert app.timezone == ZoneInfo("Asia/Tokyo")
    assert app.now().utcoffset() == datetime.now(ZoneInfo("Asia/Tokyo")).utcoffset()


class Annotation:
    def annotate(self, task: Any) -> Any:
        return {"queue": "seen"} if task.name == "t" else None


@pytest.mark.parametrize(
    ("annotations", "queue"),
    [
        ({"t": {"queue": "own"}, "*": {"queue": "all"}}, "own"),
        ({"*": {"queue": "all"}}, "all"),
        ([{"t": {"queue": "first"}}, {"t": {"queue": "second"}}], "second"),
        (Annotation(), "seen"),
        (Annotation, "seen"),
        ({"other": {"queue": "own"}}, "code"),
    ],
)
def test_annotations_win_over_the_code_before_and_after_the_task_is_made(annotations: Any, queue: str) -> None:
    before, after = App(task_annotations=annotations), App()
    tasks = [app.task(name="t", queue="code", max_retries=1)(work) for app in (before, after)]
    after.conf.task_annotations = annotations

    assert [task.default_head().queue for task in tasks] == [queue, queue]


def test_annotations_are_attributes_of_the_task_and_go_when_they_go() -> None:
    app = App()
    task = app.task(name="t")(work)
    app.conf.task_annotations = {"t": {"max_retries": 9, "rate_limit": "10/s"}}
    assert (task.max_retries, task.rate_limit) == (9, "10/s")

    app.conf.task_annotations = None
    assert (task.max_retries, task.rate_limit) == (3, None)


async def test_always_eager_runs_every_call_here() -> None:
    app = App(broker="tq://192.0.2.1", task_always_eager=True)
    task = app.task(work)

    assert task.delay(1).get() == 2
    assert task.apply_async((2,), countdown=5).get() == 3
    assert [result.get() for result in task.delay_many([(1,), (2,)])] == [2, 3]
    assert (await task.adelay(1)).get() == 2
    assert (await task.aapply_async((1,), queue="x")).get() == 2


def test_an_eager_error_is_raised_at_once_when_asked_for() -> None:
    def fail() -> None:
        raise KeyError("x")

    app = App(task_always_eager=True)
    assert app.task(name="one")(fail).delay().failed()
    app.conf.task_eager_propagates = True
    with pytest.raises(KeyError):
        app.task(name="two")(fail).delay()


def test_modules_are_imported_when_a_worker_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for package in ("shop_of_a_test", "feed_of_a_test", "bare_of_a_test"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    for module in ("shop_of_a_test/tasks", "feed_of_a_test/jobs", "imported_of_a_test"):
        (tmp_path / f"{module}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    app = App(include=["imported_of_a_test"])
    app.autodiscover_tasks(["shop_of_a_test", "bare_of_a_test"])
    app.autodiscover_tasks(lambda: ["feed_of_a_test"], related_name="jobs")
    assert "shop_of_a_test.tasks" not in sys.modules

    app.load_modules()
    assert {"shop_of_a_test.tasks", "feed_of_a_test.jobs", "imported_of_a_test"} <= sys.modules.keys()


def test_an_error_inside_of_a_discovered_module_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torn_of_a_test").mkdir()
    (tmp_path / "torn_of_a_test" / "tasks.py").write_text("import no_such_module_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        App().autodiscover_tasks(["torn_of_a_test"], force=True)


def test_a_shared_task_is_in_every_app_and_stands_for_that_of_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current._state, "shared", [])  # it is in every app of this process for good, but for this
    before = App("before")

    @shared_task(name="shared.double")
    def double(x: int) -> int:
        return 2 * x

    after = App("after")
    assert (before.tasks["shared.double"](2), after.tasks["shared.double"](2), double(2)) == (4, 4, 4)
    assert (double.app, current_app.main) == (after, "after")
    before.set_current()
    assert (double.app, current_app.main) == (before, "before")
    assert App("aside", set_as_current=False).main == "aside"
    assert current_app.main == "before"
