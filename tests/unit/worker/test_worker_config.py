from __future__ import annotations

import socket
from typing import Any

import pytest

from tqbroker.exceptions import ImproperlyConfigured
from tqbroker_worker.config import WorkerConfig, expand_name
from tqbroker_worker.protocol import WorkerSettings


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("", "worker@box.example.org"),
        ("w1", "w1@box.example.org"),
        ("w1@%h", "w1@box.example.org"),
        ("w1@%n", "w1@box"),
        ("w1@%d", "w1@example.org"),
        ("w1@there", "w1@there"),
    ],
)
def test_names_are_expanded_as_celery_does(given: str, name: str) -> None:
    assert expand_name(given, "box.example.org") == name


@pytest.mark.parametrize(("given", "pool"), [("prefork", "process"), ("threads", "thread"), ("solo", "solo")])
def test_celerys_names_of_pools_are_understood(given: str, pool: str) -> None:
    assert WorkerConfig("tasks", pool=given).pool == pool


def test_processes_have_one_slot_each_and_other_pools_one_child() -> None:
    processes, threads = (WorkerConfig("tasks", concurrency=4, pool=pool) for pool in ("process", "thread"))
    assert (processes.children, processes.slots_each) == (4, 1)
    assert (threads.children, threads.slots_each) == (1, 4)
    assert WorkerConfig("tasks", concurrency=4, pool="solo").slots == 1


def test_defaults_need_only_an_app() -> None:
    config = WorkerConfig("tasks")
    assert (config.loglevel, config.kind, config.name) == ("WARNING", "process", f"worker@{socket.gethostname()}")
    assert config.slots >= 1


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"app": ""}, "-A module"),
        ({"loglevel": "loud"}, "debug, info"),
        ({"pool": "gevent"}, "process"),
        ({"concurrency": 0}, "1 to 10000"),
        ({"queues": ("x" * 129,)}, "128 printable"),
        ({"name": "a\nb"}, "printable"),
        ({"name": "😀" * 97}, "384 bytes"),
        ({"name": "\udcff"}, "printable"),
        ({"queues": ("\udcff",)}, "printable"),
        ({"exclude": ("\udcff",)}, "printable"),
        ({"labels": ("\udcff",)}, "printable"),
        ({"app": "\udcff"}, "no module has such a name"),
        ({"include": ("\udcff",)}, "no module has such a name"),
        ({"concurrency": 10**400}, "use 1 to 10000"),
        ({"prefetch": 10**400}, "use 0 to 10000"),
        ({"max_tasks_per_child": 10**400}, "use 1 to"),
        ({"max_memory_per_child": 10**400}, "use 1 to"),
        ({"time_limit": float("nan")}, "time-limit nan is not allowed"),
        ({"soft_time_limit": float("inf")}, "soft-time-limit inf is not allowed"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(wrong: dict[str, Any], hint: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=hint):
        WorkerConfig(**{"app": "tasks", **wrong})


def test_the_command_line_says_how_much_to_hold_or_else_the_app() -> None:
    of_the_app = WorkerSettings(prefetch=4)
    assert WorkerConfig("tasks").resolved(of_the_app).prefetch == 4
    assert WorkerConfig("tasks", prefetch=0).resolved(of_the_app).prefetch == 0
    assert WorkerConfig("tasks").resolved(WorkerSettings()).prefetch is None
