"""What operators ask of a worker, over a scene without processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tqbroker_worker.asks import Asks
from tqbroker_worker.commands import COMMANDS, CommandError, run
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.desk import Desk
from tqbroker_worker.identity import Identity
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.notes import Notes
from tqbroker_worker.pool import Pool
from tqbroker_worker.protocol import Manifest, TaskLimits, WorkerSettings
from tqbroker_worker.session import Session
from tqbroker_worker.timelimits import LimitTable

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Scene

MakeJobs = Callable[..., Jobs]
Ask = Callable[..., Any]

MANIFEST = Manifest(
    "app", "tq://here", ["default"], ["tasks.add"], settings=WorkerSettings(limits=TaskLimits(soft_ms=500))
)


class Office:
    """A desk whose pool has no children, and who asked it to stop."""

    def __init__(self, scene: Scene, *arguments: Any, **settings: Any) -> None:
        config = WorkerConfig("tasks", name="w@here", concurrency=2, **settings).resolved(MANIFEST.settings)
        identity = Identity.of(config, MANIFEST)
        session = Session(
            identity, scene.handover, scene.ledger, Notes(), scene.credit, lambda _s, _f: None, lambda: None
        )
        self.stopped = 0
        self.desk = Desk(
            config,
            MANIFEST,
            "tq://here",
            scene.handover,
            Pool(config, scene.handover),
            session,
            scene.credit,
            LimitTable(config, MANIFEST),
            Asks(),
            None,
            self._stop,
        )
        self.desk.pool.wanted = 2

    def _stop(self) -> None:
        self.stopped += 1

    async def ask(self, name: str, **arguments: Any) -> Any:
        """The answer, as it travels."""
        return json.loads(json.dumps(await run(self.desk, name, json.dumps(arguments).encode())))


@pytest.fixture
async def office(scene: Scene) -> Office:
    return Office(scene)


async def test_ping_is_answered(office: Office) -> None:
    assert await office.ask("ping") == {"ok": "pong"}


async def test_stats_have_celerys_keys(office: Office, scene: Scene, make_jobs: MakeJobs) -> None:
    scene.child()
    scene.handover.offer(make_jobs(1))
    stats = await office.ask("stats")
    assert stats["total"] == {"tasks.add": 1}
    assert {"broker", "pid", "clock", "prefetch_count", "uptime", "pool", "rusage"} < stats.keys()
    assert {"max-concurrency", "processes", "max-tasks-per-child", "put-guarded-by-semaphore", "timeouts", "writes"} < (
        stats["pool"].keys()
    )
    assert stats["pool"]["timeouts"] == [0.5, 0.0]
    assert stats["rusage"]["utime"] > 0


async def test_active_and_reserved_jobs_are_told_apart(office: Office, scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    child.seat.pid = 77
    scene.make_fast()
    scene.handover.offer(make_jobs(2, texts=True))
    scene.start(child)
    (active,) = await office.ask("active")
    (reserved,) = await office.ask("reserved")
    assert (active["id"], active["name"], active["args"], active["kwargs"]) == ("job-1", "tasks.add", [], {})
    assert (active["hostname"], active["worker_pid"]) == ("w@here", 77)
    assert active["time_start"] > 0
    assert active["delivery_info"]["routing_key"] == "default"
    assert (reserved["id"], reserved["time_start"], reserved["worker_pid"]) == ("job-2", None, None)
    found = await office.ask("query_task", ids=["job-1", "job-2", "job-3"])
    assert {key: state for key, (state, _) in found.items()} == {"job-1": "active", "job-2": "reserved"}


async def test_arguments_of_a_format_that_may_run_code_are_not_read(
    office: Office, scene: Scene, make_jobs: MakeJobs
) -> None:
    scene.child()
    jobs = make_jobs(1)
    jobs.head = type(jobs.head)("tasks.add", "default", 0, "pickle")
    scene.handover.offer(jobs)
    (item,) = await office.ask("reserved")
    assert item["args"] == "<7 bytes of pickle>"


async def test_queues_can_be_added_and_cancelled_but_not_the_last(office: Office) -> None:
    assert await office.ask("add_consumer", queue="mail") == {"ok": "add consumer mail"}
    assert await office.ask("add_consumer", queue="mail") == {"ok": "already consuming from 'mail'"}
    assert [queue["name"] for queue in await office.ask("active_queues")] == ["default", "mail"]
    await office.ask("cancel_consumer", queue="default")
    assert office.desk.session.identity.queues == ("mail",)
    with pytest.raises(CommandError, match="only queue"):
        await office.ask("cancel_consumer", queue="mail")
    with pytest.raises(CommandError, match="takes no jobs from 'x', but from mail"):
        await office.ask("cancel_consumer", queue="x")


async def test_time_limits_can_be_changed(office: Office) -> None:
    assert await office.ask("time_limit", task_name="tasks.add", hard=2, soft=1.5) == {
        "ok": "time limits set successfully"
    }
    assert office.desk.limits.of("tasks.add") == (1500, 2000)
    with pytest.raises(CommandError, match="no task"):
        await office.ask("time_limit", task_name="tasks.none", hard=2)
    with pytest.raises(CommandError, match="above 0"):
        await office.ask("time_limit", task_name="tasks.add", hard=-1)


@pytest.mark.parametrize("name", ["hard", "soft"])
@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 1e17, 1e300, 1 << 64])
async def test_a_time_limit_that_no_child_can_be_told_is_not_kept(office: Office, name: str, seconds: float) -> None:
    before = office.desk.limits.of("tasks.add")
    with pytest.raises(CommandError, match="less than"):
        await office.ask("time_limit", task_name="tasks.add", **{name: seconds})
    assert office.desk.limits.of("tasks.add") == before


async def test_a_pool_cannot_shrink_to_nothing_nor_grow_where_it_is_one_process(scene: Scene, office: Office) -> None:
    with pytest.raises(CommandError, match="1 to 10000"):
        await office.ask("pool_shrink", n=2)
    with pytest.raises(CommandError, match="whole number"):
        await office.ask("pool_grow", n="many")
    with pytest.raises(CommandError, match="one process"):
        await Office(scene, pool="thread").ask("pool_grow", n=1)
    with pytest.raises(CommandError, match="--autoscale"):
        await office.ask("autoscale", max=3, min=1)


async def test_registered_are_the_names_of_the_tasks(office: Office) -> None:
    assert await office.ask("registered") == ["tasks.add"]


async def test_what_only_children_know_is_refused_while_there_is_none(office: Office) -> None:
    with pytest.raises(CommandError, match="ask again"):
        await office.ask("conf")


async def test_stacks_show_where_the_parent_is(office: Office) -> None:
    stacks = await office.ask("stacks")
    assert "test_worker_commands.py" in stacks["worker w@here"]


async def test_an_unknown_command_is_answered_with_the_known_ones(office: Office) -> None:
    with pytest.raises(CommandError, match="'dance' is not known: use one of ping, stats"):
        await office.ask("dance")
    with pytest.raises(CommandError, match="does not take colour: it takes n"):
        await office.ask("pool_grow", colour=1)
    with pytest.raises(CommandError, match="needs queue"):
        await office.ask("add_consumer")
    with pytest.raises(CommandError, match="JSON object"):
        await run(office.desk, "ping", b"[1]")
    with pytest.raises(CommandError, match="not JSON"):
        await run(office.desk, "ping", b"{")


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("add_consumer", {"queue": "bad\nname"}, "printable"),
        ("add_consumer", {"queue": "x" * 400}, "1 to 128"),
        ("add_consumer", {"queue": "\u20ac" * 129}, "1 to 128"),
        ("add_consumer", {"queue": "\U0001f40c" * 128}, "printable"),
        ("add_consumer", {"queue": "\ud800"}, "printable"),
        ("time_limit", {"task_name": ["tasks.add"]}, "must be a text"),
        ("pool_grow", {"n": 10**30}, "from 1 to 10000"),
        ("query_task", {"ids": 5}, "list of texts"),
        ("query_task", {"ids": [["a"]]}, "list of texts"),
        ("query_task", {"ids": {"a": 1}}, "list of texts"),
        ("registered", {"taskinfoitems": 5}, "list of texts"),
        ("registered", {"taskinfoitems": [["a"]]}, "list of texts"),
        ("registered", {"taskinfoitems": "rate_limit"}, "list of texts"),
    ],
)
async def test_what_no_worker_can_do_is_refused_and_changes_nothing(
    office: Office, name: str, arguments: dict[str, Any], why: str
) -> None:
    before = office.desk.session.identity, office.desk.pool.wanted
    with pytest.raises(CommandError, match=why) as refusal:
        await office.ask(name, **arguments)
    assert len(str(refusal.value)) < 500
    assert (office.desk.session.identity, office.desk.pool.wanted) == before


async def test_arguments_that_are_nested_too_deeply_are_refused(office: Office) -> None:
    with pytest.raises(CommandError, match="nested too deeply"):
        await run(office.desk, "pool_grow", b'{"n":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


async def test_the_shortest_time_limit_is_one(office: Office) -> None:
    await office.ask("time_limit", task_name="tasks.add", hard=0.0001, soft=1e-300)
    assert office.desk.limits.of("tasks.add") == (1, 1)


async def test_events_are_always_recorded(office: Office) -> None:
    assert "always recorded" in (await office.ask("enable_events"))["ok"]
    assert "always recorded" in (await office.ask("disable_events"))["ok"]


def test_every_command_is_explained() -> None:
    assert all(function.__doc__ for function in COMMANDS.values())


@pytest.mark.parametrize(
    ("settings", "command", "why"),
    [
        (WorkerSettings(commands=False), "ping", "worker_enable_remote_control=False"),
        (WorkerSettings(restarts=False), "pool_restart", "worker_pool_restarts=False"),
    ],
)
async def test_what_the_app_has_switched_off_is_refused(
    office: Office, settings: WorkerSettings, command: str, why: str
) -> None:
    office.desk.manifest = Manifest("app", "tq://here", ["default"], ["tasks.add"], settings=settings)
    with pytest.raises(CommandError, match=why):
        await office.ask(command)
