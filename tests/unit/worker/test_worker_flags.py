"""The command line of the worker, flag by flag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tqbroker_worker import cli
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.flags import SILENT


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[WorkerConfig]:
    """What the daemon would have been started with."""
    started: list[WorkerConfig] = []

    def run(config: WorkerConfig) -> int:
        started.append(config)
        return 0

    monkeypatch.setattr(cli, "_run", run)
    monkeypatch.setattr(cli, "configure_logging", lambda _level: None)
    return started


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.worker, ["-A", "tasks", *arguments])


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["-L", "gpu", "--label", "region=eu"], "labels", ("gpu", "region=eu")),
        (["-X", "a, b"], "exclude", ("a", "b")),
        (["--exclude-queues=a"], "exclude", ("a",)),
        (["-Q", "x,y"], "queues", ("x", "y")),
        (["-I", "more.tasks,others"], "include", ("more.tasks", "others")),
        (["--time-limit", "30"], "time_limit", 30.0),
        (["--soft-time-limit", "2.5"], "soft_time_limit", 2.5),
        (["--max-tasks-per-child", "10"], "max_tasks_per_child", 10),
        (["--max-memory-per-child", "12000"], "max_memory_per_child", 12_000),
        (["--prefetch-multiplier", "4"], "prefetch", 4),
        (["--disable-prefetch"], "prefetch", 1),
        (["--autoscale", "10,3"], "autoscale", (10, 3)),
        (["--autoscale=10"], "autoscale", (10, 1)),
        (["-q"], "loglevel", "ERROR"),
        (["--purge", "--yes"], "purge", True),
        (["--discard", "--yes"], "purge", True),
        (["--executable", "/usr/bin/python3"], "executable", "/usr/bin/python3"),
    ],
)
def test_flags_are_settings(configs: list[WorkerConfig], arguments: list[str], field: str, value: object) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert getattr(configs[0], field) == value


@pytest.mark.parametrize("flag", SILENT, ids=lambda flag: flag.names[-1])
def test_flags_without_a_meaning_here_are_accepted_and_say_so(
    configs: list[WorkerConfig], monkeypatch: pytest.MonkeyPatch, flag: Any
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(cli, "_warn", lines.append)
    for name in flag.names:
        result = invoke(name, *(["x"] if flag.takes else []))
        assert result.exit_code == 0, result.output
    assert len(configs) == len(flag.names)
    assert lines == [f"{flag.names[-1]} has no effect: {flag.why}"] * len(flag.names)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--config", "celeryconfig"], "app.config_from_object"),
        (["--autoscale", "3,10"], "MAX,MIN"),
        (["--autoscale", "many"], "MAX,MIN"),
        (["--autoscale", "3", "-P", "threads"], "cannot be scaled"),
        (["--max-tasks-per-child", "0"], "use 1 to"),
        (["--time-limit", "-1"], "use 0.001 to"),
        (["-L", "a\nb"], "printable"),
        (["-X", "a" * 129], "128 printable"),
        (["--umask", "9"], "octal"),
        (["--uid", "nobody-of-this-name"], "no user"),
        (["--workdir", "/does/not/exist"], "No such file"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(
    configs: list[WorkerConfig], arguments: list[str], hint: str
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert hint in result.output
    assert configs == []


@pytest.mark.usefixtures("configs")
def test_a_pid_file_of_a_live_worker_is_respected_and_that_of_a_dead_one_replaced(tmp_path: Path) -> None:
    file = tmp_path / "worker.pid"
    file.write_text("1\n")
    result = invoke("--pidfile", str(file))
    assert result.exit_code == 2
    assert "process 1" in result.output
    file.write_text("999999999\n")
    assert invoke("--pidfile", str(file)).exit_code == 0
    assert file.read_text().strip().isdigit()


@pytest.mark.parametrize(("answer", "started"), [("y\n", True), ("n\n", False), ("", False)])
def test_nothing_is_purged_unasked(configs: list[WorkerConfig], answer: str, started: bool) -> None:
    result = CliRunner().invoke(cli.worker, ["-A", "tasks", "--purge", "-Q", "mail,orders"], input=answer)
    assert "mail, orders" in result.output
    assert [config.purge for config in configs] == [True] * started
    assert result.exit_code == (0 if started else 1)


@pytest.mark.usefixtures("configs")
@pytest.mark.parametrize("names", ["", ",", " "])
def test_queues_that_name_none_are_not_all_of_them(names: str) -> None:
    result = invoke("-Q", names)
    assert result.exit_code == 2
    assert "names no queue: write -Q a,b, or leave it out" in result.output


@pytest.mark.usefixtures("configs")
def test_names_of_files_may_have_that_of_the_worker_in_them(tmp_path: Path) -> None:
    assert invoke("-n", "w1@here.example.org", "--pidfile", f"{tmp_path}/%n-%h-%d-%i%I.pid").exit_code == 0
    assert invoke("-n", "w1@here", "--pidfile", f"{tmp_path}/%p%%.pid").exit_code == 0
    assert {file.name for file in tmp_path.iterdir()} == {"w1-here.example.org-example.org-0.pid", "w1@here%.pid"}
