"""Where jobs go: routes, named queues, and who wins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tqbroker import App, Exchange, Queue, Task
from tqbroker.call import Head
from tqbroker.exceptions import ImproperlyConfigured, QueueNotFound


def work(x: int = 0) -> None: ...


def sent(app: App, task: Task[..., Any], args: Any = (), **options: Any) -> Head:
    """What a call says, as it would be sent."""
    return task._call(args, {}, options)[0]


def routed(routes: Any, name: str = "mail.send", **options: Any) -> Head:
    app = App(task_routes=routes)
    return sent(app, app.task(name=name)(work), **options)


def by_size(name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any = None, **_: Any) -> Any:
    return {"queue": "large"} if args and args[0] > 10 else None


class Router:
    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return "by-class"


@pytest.mark.parametrize(
    ("routes", "queue"),
    [
        (None, "default"),
        ({"mail.send": "mail"}, "mail"),
        ({"mail.send": {"queue": "mail"}}, "mail"),
        ({"mail.*": "mail"}, "mail"),
        ({"feed.*": "feed"}, "default"),
        ({re.compile(r"(mail|sms)\..*"): {"queue": "post"}}, "post"),
        ([("feed.*", "feed"), ("mail.*", "first"), ("*", "rest")], "first"),
        ([{"feed.*": "feed"}, {"mail.*": "second"}], "second"),
        ([[("feed.*", "feed"), ("mail.*", "inner")]], "inner"),
        ({"mail.*": "pattern", "mail.send": "exact"}, "exact"),
        ({"mail.send": Queue("object")}, "object"),
        (by_size, "default"),
        ([by_size, {"*": "small"}], "small"),
        (f"{__name__}.by_size", "default"),
        (Router(), "by-class"),
    ],
)
def test_the_first_route_that_fits_gives_the_queue(routes: Any, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    module = ModuleType(__name__)
    vars(module)["by_size"] = by_size
    monkeypatch.setitem(sys.modules, __name__, module)

    assert routed(routes).queue == queue


def test_a_function_is_asked_for_each_call() -> None:
    app = App(task_routes=[by_size])
    task = app.task(name="t")(work)

    assert [sent(app, task, (n,)).queue for n in (1, 100)] == ["default", "large"]


def test_the_call_wins_over_the_route_over_the_task_over_the_default() -> None:
    app = App(task_routes={"routed": {"queue": "route", "priority": 5, "tenant": "acme"}}, task_default_queue="app")
    plain, routed_ = app.task(name="plain", queue="task")(work), app.task(name="routed", queue="task")(work)

    assert sent(app, app.task(name="bare")(work)).queue == "app"
    assert sent(app, plain).queue == "task"
    assert (sent(app, routed_).queue, sent(app, routed_).priority) == ("route", 5)
    assert sent(app, routed_).traits.tenant == "acme"
    assert sent(app, routed_, queue="call", priority=1)[1:3] == ("call", 1)


def test_a_route_changed_later_is_taken_at_once() -> None:
    app = App()
    task = app.task(name="t")(work)
    before = sent(app, task).queue
    app.conf.task_routes = {"t": "mail"}

    assert (before, sent(app, task).queue) == ("default", "mail")


def test_an_unknown_queue_is_refused_where_only_named_ones_are_allowed() -> None:
    app = App(task_queues=["mail", Queue("feed")], task_create_missing_queues=False)
    task = app.task(name="t")(work)

    assert [sent(app, task, queue=name).queue for name in ("mail", "feed", "default")] == ["mail", "feed", "default"]
    with pytest.raises(QueueNotFound, match=r"queue 'mial' is not among task_queues \(default, feed, mail\)"):
        task.apply_async((), queue="mial")


QUEUES = [
    Queue("video", Exchange("media", "direct"), "media.video"),
    Queue("image", Exchange("media", "direct"), "media.image"),
    Queue("all", Exchange("log", "topic"), "log.#"),
    Queue("own", routing_key="own.key"),
]


@pytest.mark.parametrize(
    ("options", "queue"),
    [
        ({"exchange": "media", "routing_key": "media.video"}, "video"),
        ({"exchange": QUEUES[0].exchange, "routing_key": "media.image"}, "image"),
        ({"exchange": "log", "routing_key": "log.web.error"}, "all"),
        ({"exchange": "log", "routing_key": "log"}, "all"),
        ({"routing_key": "own.key"}, "own"),
        ({"queue": "other", "routing_key": "media.video"}, "other"),
        ({"queue": QUEUES[0]}, "video"),
    ],
)
def test_an_exchange_and_a_routing_key_find_the_queue_that_names_them(options: Any, queue: str) -> None:
    app = App(task_queues=QUEUES)
    assert sent(app, app.task(work), **options).queue == queue


@pytest.mark.parametrize("options", [{"exchange": "media"}, {"exchange": "media", "routing_key": "x"}])
def test_a_key_that_leads_nowhere_or_to_several_queues_is_refused(options: Any) -> None:
    app = App(task_queues=QUEUES)
    with pytest.raises(ValueError, match="write queue="):
        app.task(work).apply_async((), **options)


def test_without_named_queues_a_routing_key_is_the_name_of_a_queue() -> None:
    assert routed(None, routing_key="mail").queue == "mail"


def test_a_queue_says_how_it_wants_to_be() -> None:
    queue = Queue("mail", message_ttl=60, max_length=100, durable=True)
    other = Queue("q", queue_arguments={"x-message-ttl": 60_000, "x-max-length": 5, "x-overflow": "reject-publish"})

    assert tuple(queue.wanted) == (100, "drop_oldest", 60_000)
    assert tuple(other.wanted) == (5, "refuse", 60_000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Exchange("x", "fanout"),
        lambda: Exchange("x", "headers"),
        lambda: Queue("q", max_length_bytes=5),
        lambda: Queue("q", max_length=0),
        lambda: Queue("q", overflow="explode"),
        lambda: Queue("q", colour="red"),
        lambda: Queue("q", queue_arguments={"x-single-active-consumer": True}),
    ],
)
def test_what_a_queue_cannot_be_is_refused_with_advice(make: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"write|see docs|have no meaning|give"):
        make()


def test_a_child_gets_its_parents_priority_when_asked_to() -> None:
    from tqbroker.context import Request, pop, push

    app = App(task_inherit_parent_priority=True)
    parent, child = app.task(name="parent")(work), app.task(name="child")(work)
    token = push(parent, Request("id", "parent", priority=7))
    try:
        assert sent(app, child).priority == 7
        assert sent(app, child, priority=2).priority == 2
    finally:
        pop(token)
    assert sent(app, child).priority == 0
