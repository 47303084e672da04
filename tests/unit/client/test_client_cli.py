"""The command line: what needs no broker."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tqbroker import cli
from tqbroker.commands.status import describe
from tqbroker.transport import BrokerInfo, QueueInfo, WorkerInfo


def test_help_lists_every_command_and_imports_none() -> None:
    script = """if True:
        import sys
        from tqbroker.cli import cli
        try:
            cli(["--help"])
        except SystemExit:
            pass
        assert not {"grpc", "msgspec", "structlog", "asyncio", "lmdb"} & set(sys.modules), sys.modules.keys()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)

    assert done.returncode == 0, done.stderr
    assert all(f"\n  {name} " in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_of_the_table_is_there(command: str) -> None:
    result = CliRunner().invoke(cli.cli, [command, "--help"])

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_without_the_server_extra_one_sentence_says_what_to_install(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lmdb" else find(name))

    result = CliRunner().invoke(cli.cli, [command])

    assert result.exit_code == 2
    assert result.output == f'`tqbroker {command}` needs the server: pip install "tqbroker[server]"\n'


@pytest.mark.parametrize("order", [["-A", "no_such_module", "call", "t"], ["call", "t", "-A", "no_such_module"]])
def test_the_app_may_stand_before_or_after_the_command(order: list[str]) -> None:
    result = CliRunner().invoke(cli.cli, order)

    assert result.exit_code == 2
    assert "there is no module 'no_such_module'" in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["call", "t", "text"], "argument 'text' is not JSON: a text is written '\"text\"'"),
        (["call", "t", "--kwargs", "[1]"], "--kwargs '[1]' is not a JSON object"),
        (["call", "t", "--countdown", "1", "--eta", "2030-01-01"], "countdown and eta exclude each other"),
        (["call", "t", "-b", "redis://localhost"], "is Redis"),
        (["call", "t", "--priority", "10"], "--priority"),
        (["result", "x" * 129], "printable characters"),
        (["result", "x", "--timeout", "1"], "--timeout says how long --wait waits: add --wait"),
        (["call", "t", "--timeout", "1"], "--timeout says how long --wait waits: add --wait"),
        (["call", "t", "--quue", "mail"], "No such option '--quue'"),
        (["call", "t", "4", "--quue=mail"], "--queue"),
        (["call", "--prioritty", "1", "t"], "No such option '--prioritty'"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_wrong_usage_says_what_is_wrong_and_exits_with_2(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(cli.cli, arguments)

    assert result.exit_code == 2
    assert sentence in result.output


def test_status_shows_broker_queues_and_workers() -> None:
    info = BrokerInfo("1.2", "fsync", "/data", 1_000_000, ["w@a"], 4_000, 3 << 20, 5 << 30)

    assert list(describe(info, "tq://h", 1_090)) == [
        "broker    1.2 at tq://h, up 1 min, data in /data",
        "durable   fsync",
        "store     3 MiB used, new work is refused above 5.0 GiB",
        "backup    none since the start of this broker",
        "recovery  waiting for w@a, at most 4 s more",
        "",
        "no queues yet: the first job makes one",
        "",
        "no workers: start one with `tqbroker worker -A your_module`",
    ]
    info.queues = [QueueInfo("default", 5, 1, 0, 1000, 0, 0, 0, waiting=2)]
    info.workers = [WorkerInfo("w@a", False, ["default", "mail"], ["t"], 8, "process", "a", 5, "1.2", 1)]
    info.backup_ms, info.backup_bytes = 910_000, 2 << 20
    lines = list(describe(info, "tq://h", 1_090))

    assert lines[3] == "backup    2 MiB, 3 min ago"
    assert lines[7] == "default  5       1        0          2        1000       0       0          0"
    assert lines[10] == "w@a     awaited  1/8      process  default,mail  1      1.2"
