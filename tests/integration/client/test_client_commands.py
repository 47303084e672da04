"""`tqbroker call` and `tqbroker result` for programs, against the wire's double."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tqbroker import App
from tqbroker.cli import cli


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_json_shows_moments_in_iso_8601_and_lost_leases(wire: Any, app: App) -> None:
    app.send_task("t", task_id="mine")
    wire.jobs["mine"].lost_leases = 2
    wire.finish("mine", 8)

    shown = json.loads(run("-b", wire.url, "result", "mine", "--json").stdout)

    assert (shown["date_done"], shown["lost_leases"], shown["result"]) == ("2023-11-14T22:13:20.500000+00:00", 2, 8)


@pytest.mark.parametrize("command", [["call", "t"], ["result", "mine"]])
def test_json_is_printed_when_the_wait_ends_without_a_result(wire: Any, app: App, command: list[str]) -> None:
    app.send_task("t", task_id="mine")

    done = run("-b", wire.url, *command, "--wait", "--timeout", "0.2", "--json")

    assert (json.loads(done.stdout)["state"], done.exit_code) == ("PENDING", 1)


def test_a_task_that_the_app_does_not_have_is_submitted_with_a_warning(
    wire: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_for_call.py").write_text(
        "from tqbroker import App\napp = App()\n@app.task(name='shop.add')\ndef add(x): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    done = run("-b", wire.url, "call", "-A", "shop_for_call", "shop.ad", "4", "--id", "mine")
    known = run("-b", wire.url, "call", "-A", "shop_for_call", "shop.add", "4")

    assert (done.stdout, done.exit_code) == ("mine\n", 0)
    assert "no task 'shop.ad' in this app: did you mean shop.add?" in done.stderr
    assert (wire.jobs["mine"].task, known.stderr) == ("shop.ad", "")
