"""docs/migrating.md: every name in its tables is known to the code with that verdict, and none is missing."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import tqbroker
from tqbroker import App, AsyncResult, Task, canvas, eager, exceptions, queues, result, schedule_options, schedules
from tqbroker.control import Control
from tqbroker.dependency_graph import DependencyGraph
from tqbroker.known_options import CALL, TASK
from tqbroker.known_settings import SETTINGS
from tqbroker.option_rules import CALL as CALL_RULES
from tqbroker.option_rules import TASK as TASK_RULES
from tqbroker.options import CallOptions, TaskOptions
from tqbroker.verdicts import Known
from tqbroker_worker import cli, flags

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "migrating.md").read_text()
ROW = re.compile(r"^\| (`.*?`) \| (\w+) \| (.+) \|$", re.MULTILINE)
THERE = {"works", "adapted"}


def table(title: str) -> dict[str, str]:
    """Name to verdict, from the table under this heading."""
    section = DOCUMENT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    found: dict[str, str] = {}
    for names, verdict, meaning in ROW.findall(section):
        assert meaning.strip().endswith("."), f"the row of {names} says no sentence"
        for name in re.findall(r"`([^`]+)`", names):
            assert name not in found, f"{name} stands twice under {title}"
            found[name] = verdict
    return found


@pytest.mark.parametrize(
    ("title", "known"), [("Options of a task", TASK), ("Options of a call", CALL), ("Settings", SETTINGS)]
)
def test_the_table_is_that_of_the_code(title: str, known: dict[str, Known]) -> None:
    assert table(title) == {name: verdict.kind for name, verdict in known.items()}


@pytest.mark.parametrize("known", [TASK, CALL, SETTINGS])
def test_what_is_not_built_says_a_sentence_and_what_works_says_none(known: dict[str, Known]) -> None:
    assert {name for name, verdict in known.items() if not verdict.sentence} == {
        name for name, verdict in known.items() if verdict.kind in THERE
    }


def test_options_that_are_taken_are_typed_and_those_that_work_have_a_rule() -> None:
    def taken(known: dict[str, Known], kinds: set[str]) -> set[str]:
        return {name for name, verdict in known.items() if verdict.kind in kinds}

    assert taken(TASK, {*THERE, "accepted"}) - {"bind"} == set(TaskOptions.__annotations__)
    assert taken(CALL, {*THERE, "accepted"}) - {"args", "kwargs"} == set(CallOptions.__annotations__)
    assert taken(TASK, THERE) - {"bind"} == TASK_RULES.keys()
    own_checks = {"args", "kwargs", "task_id", "eta", "expires", "headers", "link", "link_error"}
    assert taken(CALL, THERE) - own_checks == CALL_RULES.keys()


def test_methods_of_a_task_are_there_unless_the_table_says_otherwise() -> None:
    for name, verdict in table("Methods of a task").items():
        assert hasattr(Task, name) == (verdict in THERE), name


def test_exceptions_can_be_imported_by_the_names_of_the_table() -> None:
    for name in table("Exceptions"):
        assert issubclass(getattr(exceptions, name), BaseException), name
    # Those of Celery, listed here so that none is forgotten.
    celerys = "Retry Ignore Reject MaxRetriesExceededError TaskRevokedError SoftTimeLimitExceeded TimeLimitExceeded "
    celerys += (
        "WorkerLostError ChordError NotRegistered AlreadyRegistered TimeoutError OperationalError InvalidTaskError "
    )
    celerys += (
        "QueueNotFound IncompleteStream ImproperlyConfigured SecurityError BackendGetMetaError BackendStoreError "
    )
    celerys += "WorkerShutdown WorkerTerminate"
    assert set(celerys.split()) <= table("Exceptions").keys()


def test_the_words_of_routing_are_there() -> None:
    rows = table("Routing")
    assert {name: rows[name] for name in ("Queue", "Exchange", "Broadcast")} == {
        "Queue": "adapted",
        "Exchange": "adapted",
        "Broadcast": "refused",
    }
    assert tqbroker.Queue is queues.Queue
    for name in ("task_routes", "task_create_missing_queues"):
        assert rows[name] == SETTINGS[name].kind


def test_the_words_of_periodic_tasks_are_there() -> None:
    rows = table("Periodic tasks")
    for name in ("crontab", "schedule", "cron", "maybe_schedule", "ParseException", "solar"):
        assert hasattr(schedules, name), name
    assert all(hasattr(App, name) for name in ("add_periodic_task", "on_after_configure", "on_after_finalize"))
    assert all(hasattr(schedules.crontab, name) for name in ("from_string", "is_due", "remaining_estimate"))
    assert schedule_options.NAMES | {"task", "args", "kwargs", "options"} <= {
        name for name, verdict in rows.items() if verdict == "works"
    }


def test_the_flags_of_the_worker_are_those_of_the_table() -> None:
    rows = table("The worker's command line")
    rows.pop("--version")  # of the program, not of this command
    silent = {name for flag in flags.SILENT for name in flag.names}
    refused = {name for names in flags.REFUSED for name in names}
    shown = {name for option in cli.worker.params if isinstance(option, click.Option) for name in option.opts}

    assert {name for name, verdict in rows.items() if verdict == "accepted"} == silent
    assert {name for name, verdict in rows.items() if verdict == "refused"} == refused
    works = {name for name, verdict in rows.items() if verdict in THERE}
    assert works <= shown - silent - refused
    for option in cli.worker.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert works & {*option.opts}, f"{option.opts} is not in the table"


def test_the_words_of_workflows_and_results_are_there() -> None:
    workflows, results = table("Workflows"), table("Results")
    homes = [canvas.Signature, canvas.group, canvas.StampingVisitor, canvas, AsyncResult, DependencyGraph, Task]
    there = {name for name, verdict in workflows.items() if verdict in THERE}
    for name in there - {"errback", "append_stamps", *SETTINGS, *CALL}:
        assert any(hasattr(each, name) for each in homes), name
    visits = {name for name in dir(canvas.StampingVisitor) if name.startswith("on_")}
    assert visits <= there
    for name, verdict in results.items():
        found = any(hasattr(each, name) for each in (AsyncResult, result.GroupResult, result, Control, eager, tqbroker))
        assert found == (verdict in THERE), name
