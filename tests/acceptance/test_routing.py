"""Which queue a job goes to and which worker may run it; a job that nobody can run waits and says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.harness.site import PROJECTS
from tests.acceptance.harness.workshop import Workshop

from tqbroker import App


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One broker and one worker that takes four queues, one of them excluded again."""
    place = Workshop(tmp_path_factory.mktemp("routing"))
    place.broker()
    place.worker("-Q", "default,mail,video,never,elsewhere", "-X", "never")
    yield place
    place.close()


def queue_of(shop: Workshop, name: str = "tasks.routed", queue: str | None = None, **settings: Any) -> Any:
    """Where a job of a client with these settings has run."""
    app = App("client", broker=shop.url, set_as_current=False, **settings)
    return app.send_task(name, ("x",), queue=queue).get(timeout=20)


def by_name(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
    """A router as Celery's users write them."""
    return {"queue": "video"} if name.startswith("tasks.") and args == ("x",) else None


@pytest.mark.parametrize(
    ("settings", "queue"),
    [
        ({}, "default"),
        ({"task_default_queue": "mail"}, "mail"),
        ({"task_routes": {"tasks.routed": {"queue": "mail"}}}, "mail"),
        ({"task_routes": {"tasks.routed": "mail"}}, "mail"),
        ({"task_routes": {"tasks.*": {"queue": "video"}}}, "video"),
        ({"task_routes": [("other.*", "mail"), ("tasks.r*", "video")]}, "video"),
        ({"task_routes": (by_name,)}, "video"),
        ({"task_routes": [{"other": "mail"}, by_name]}, "video"),
    ],
    ids=["default", "default queue", "dict", "short dict", "glob", "list", "callable", "dict and callable"],
)
def test_routes_choose_the_queue(shop: Workshop, settings: dict[str, Any], queue: str) -> None:
    assert queue_of(shop, **settings) == queue


def test_a_queue_named_by_the_call_wins_over_routes(shop: Workshop) -> None:
    assert queue_of(shop, queue="mail", task_routes={"tasks.*": "video"}) == "mail"


def test_routes_of_the_app_itself_are_used_by_its_tasks(shop: Workshop) -> None:
    assert shop.python("from tasks import routed; print(routed.delay('y').get(timeout=20))") == "elsewhere"


def test_the_command_line_routes_as_the_app_does(shop: Workshop) -> None:
    done = shop.tqbroker("call", "-A", "tasks", "tasks.routed", '"z"', "--wait")
    assert done.stdout.strip() == '"elsewhere"'


def test_an_excluded_queue_is_not_taken_and_its_job_says_so(shop: Workshop) -> None:
    job = shop.send("step", "excluded", queue="never")
    shop.waits_for(job, "no worker takes queue never")


# -- who can run it --------------------------------------------------------------------------------------------------


def test_a_job_waits_for_a_worker_with_its_labels_and_runs_there(shop: Workshop) -> None:
    job = shop.send("step", "labelled", requires=["gpu", "region=eu"])
    shop.waits_for(job, "no worker has the labels gpu, region=eu")
    half = shop.worker("-L", "gpu", name="half")
    shop.waits_for(job, "no worker has the labels gpu, region=eu")

    able = shop.worker("--label", "gpu", "--label", "region=eu", name="able")

    assert job.get(timeout=20) == "labelled"
    assert [note.worker for note in shop.notes("start", "labelled")] == ["able@test"]
    assert [half.stop(), able.stop()] == [0, 0]


def test_a_task_that_no_worker_knows_waits_and_runs_when_one_comes(shop: Workshop) -> None:
    job = shop.app.send_task("tasks.brand_new", ("new",))
    shop.waits_for(job, "no worker knows tasks.brand_new")

    worker = newer(shop, "newcomer")

    assert job.get(timeout=20) == "new by newcomer@test"
    assert worker.stop() == 0


def newer(shop: Workshop, name: str) -> Any:
    """A worker with the next release of the application: the same tasks and one more."""
    release = Path(shop.folder / name)
    release.mkdir()
    tasks = (PROJECTS / "lanes" / "tasks.py").read_text()
    more = "\n\n@app.task(bind=True)\ndef brand_new(self, label):\n    return f'{label} by {self.request.hostname}'\n"
    (release / "tasks.py").write_text(tasks + more)
    return shop.worker("--workdir", str(release), name=name)


def test_in_a_rolling_deploy_only_new_workers_get_the_new_task(shop: Workshop) -> None:
    worker = newer(shop, "rolling")

    with shop.app.batch():
        new = [shop.app.send_task("tasks.brand_new", (f"r{number}",)) for number in range(30)]
        old = [shop.send("step", f"o{number}", 0.01) for number in range(30)]

    assert {job.get(timeout=20) for job in new} == {f"r{number} by rolling@test" for number in range(30)}
    assert [job.get(timeout=20) for job in old] == [f"o{number}" for number in range(30)]
    assert worker.stop() == 0


def test_a_task_known_only_by_workers_of_other_queues_waits_and_says_so(shop: Workshop) -> None:
    release = newer(shop, "apart")
    release.stop()
    release.command += ["-Q", "apart"]
    release.start()
    shop.wire.connected(release.pid)
    job = shop.app.send_task("tasks.brand_new", ("x",), queue="mail")

    shop.waits_for(job, "no worker of queue mail knows tasks.brand_new")
    job.revoke()
    assert release.stop() == 0
