"""Schedules on the command line and in files, as far as no broker is needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tqbroker import App
from tqbroker.cli import cli
from tqbroker.commands.schedule_input import of_entry, read_file
from tqbroker.commands.schedule_view import in_words, schedule_json, schedule_line, schedule_lines, zone_of
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.schedule_values import FiringInfo, ScheduleState, When

TOML = """
[[schedule]]
name = "nightly"
task = "tasks.report"
crontab = "0 3 * * mon-fri"
zone = "Europe/Berlin"
args = ["daily"]
kwargs = { top = 3 }
queue = "slow"
expires = 600
overlap = "skip"
start = 2026-01-01T00:00:00Z

[[schedule]]
name = "sweep"
task = "tasks.sweep"
every = "10m"
options = { priority = 7 }
enabled = false
"""


def entries(tmp_path: Path, text: str, name: str = "schedules.toml") -> list[Any]:
    file = tmp_path / name
    file.write_text(text)
    return read_file(str(file))


def test_a_file_has_a_table_for_each_schedule(tmp_path: Path) -> None:
    app = App(set_as_current=False)
    nightly, sweep = (of_entry(app, entry) for entry in entries(tmp_path, TOML))

    assert in_words(nightly.when) == "crontab 0 3 * * 1-5 Europe/Berlin"
    assert (nightly.head.task, nightly.head.queue, nightly.args) == ("tasks.report", "slow", b'[["daily"],{"top":3}]')
    assert (nightly.head.expires_in_ms, nightly.overlap, nightly.start_ms) == (600_000, "skip", 1_767_225_600_000)
    assert (sweep.when, sweep.head.priority, sweep.paused) == (When(every_ms=600_000), 7, True)


def test_the_same_may_be_json_and_come_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    one = {"name": "it", "task": "t", "cron": "@daily"}
    assert entries(tmp_path, json.dumps([one]), "a.json") == entries(
        tmp_path, json.dumps({"schedule": [one]}), "b.json"
    )
    for text in (json.dumps([one]), '[[schedule]]\nname = "it"\ntask = "t"\ncron = "@daily"\n'):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert read_file("-") == [one]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[schedule", "cannot be read"),
        ("a = 1", "is no list of schedules"),
        ("[schedule]\nname = 'x'", "is no list of schedules"),
        ("other = 1\n[[schedule]]\nname = 'x'", "is no list of schedules"),
        ("[[schedule]]\nname = 'x'\n[[schedule]]\nname = 'x'", "two schedules of the name 'x'"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=why):
        entries(tmp_path, text)
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        read_file(str(tmp_path / "missing.toml"))


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"name": "x", "cron": "@daily"}, "schedule 'x': task is missing"),
        ({"task": "x", "cron": "@daily"}, "name is missing"),
        ({"name": "x", "task": "x"}, "say when: one of every, cron, crontab, not none"),
        ({"name": "x", "task": "x", "cron": "@daily", "every": 5}, "not every and cron"),
        ({"name": "x", "task": "x", "every": "5 minutes"}, "write seconds, or 30s, 10m, 2h, 1d"),
        ({"name": "x", "task": "x", "every": 5, "quue": "q"}, "quue"),
        ({"name": "x", "task": "x", "crontab": "0 25 * * *"}, "hour='25'"),
        (7, "write a table with name, task"),
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_is_refused_by_its_name(entry: Any, why: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=why):
        of_entry(App(set_as_current=False), entry)


def test_a_schedule_is_a_line_or_many_or_json(tmp_path: Path) -> None:
    nightly, sweep = (of_entry(App(set_as_current=False), entry) for entry in entries(tmp_path, TOML))
    firings = (FiringInfo(1_767_225_600_000, "a"), FiringInfo(1_767_312_000_000, ""))
    state = ScheduleState(nightly, "operator", 1_767_398_400_000, 1_767_312_000_000, 1, 1, firings)

    assert schedule_line(ScheduleState(sweep, "app x"))[:5] == ("sweep", "every 600 s", "tasks.sweep", "paused", "-")
    lines = list(schedule_lines(state, ["Sat", "Sun"]))
    assert 'task       tasks.report("daily", top=3)' in lines
    assert "overlap    skip" in lines
    assert "fired      1, skipped 1" in lines
    assert lines[-4:-2] == ["next       Sat", "           Sun"]
    assert [line[-7:] for line in lines[-2:]] == ["skipped", "  job a"]
    assert schedule_json(state) == json.loads(json.dumps(schedule_json(state)))
    assert str(zone_of("Europe/Berlin")) == "Europe/Berlin"
    assert str(zone_of("not/known")) == "UTC"


def test_beat_says_in_one_sentence_that_there_is_nothing_to_run() -> None:
    flags = "-s file -S django_celery_beat.schedulers:DatabaseScheduler -l info --pidfile= --detach --max-interval 5"
    result = CliRunner().invoke(cli, ["-A", "proj", "beat", *flags.split()])

    assert result.exit_code == 0
    assert result.output.startswith("schedules live in the broker")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("1 / 0", "line 3, in <module>\n    1 / 0"),
        ("app.on_after_configure.connect(lambda sender, **_: {}[sender])", "in <lambda>"),
    ],
)
def test_an_error_in_the_code_of_an_app_is_shown_without_our_frames(
    line: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenapp.py").write_text(f"from tqbroker import App\napp = App('broken')\n{line}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brokenapp", raising=False)

    result = CliRunner().invoke(cli, ["-A", "brokenapp", "schedules", "lint"])

    assert result.exit_code == 1, result.output
    assert shown in result.output
    assert "click" not in result.output
    assert result.output.endswith("tqbroker: the app 'brokenapp' cannot be loaded\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["add", "x", "t"], "say when"),
        (["add", "x", "t", "--every", "5", "--quue", "q"], "No such option"),
        (["add", "x", "t", "--every", "5", "nope"], "is not JSON"),
        (["add", "x", "t", "--every", "5", "--jitter", "soon"], "write seconds"),
        (["next"], "say when"),
        (["next", "x", "--cron", "@daily"], "name either a schedule, or when"),
        (["next", "--cron", "every day"], "is no line of cron"),
        (["next", "--cron", "@daily", "--zone", "Europe/Berlni"], "did you mean 'Europe/Berlin'"),
        (["sync"], "which app"),
        (["lint"], "which app"),
        (["apply", "missing.toml"], "cannot be read"),
    ],
    ids=str,
)
def test_a_mistake_is_said_before_any_broker_is_asked(arguments: list[str], why: str) -> None:
    result = CliRunner().invoke(cli, ["schedules", *arguments], env={"TQBROKER_URL": "tq://127.0.0.1:1"})

    assert result.exit_code == 2, result.output
    assert why in result.output


@pytest.mark.parametrize(("next_ms", "paused", "said"), [(0, False, "never"), (0, True, "paused"), (1, False, "1970")])
def test_the_list_says_of_each_schedule_when_it_fires_next(next_ms: int, paused: bool, said: str) -> None:
    made = of_entry(App("x", set_as_current=False), {"name": "n", "task": "t", "cron": "0 0 31 2 *"})
    state = ScheduleState(made._replace(paused=paused), "operator", next_ms)

    assert schedule_line(state)[3].startswith(said)
