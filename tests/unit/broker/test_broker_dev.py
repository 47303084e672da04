"""What `tqbroker dev` finds out about a project without running it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tqbroker_broker.dev import dev
from tqbroker_broker.dev_project import find_module, suggest_call, write_example


def test_the_example_is_written_once_and_its_call_is_suggested(tmp_path: Path) -> None:
    path = write_example(tmp_path, "tq://localhost")
    compile(path.read_text(), str(path), "exec")
    expected = 'python -c "from tasks import add; print(add.delay(4, 4).get(timeout=10))"'
    assert suggest_call("tasks:app", path) == expected
    with pytest.raises(click.ClickException, match="exists already and is left as it is"):
        write_example(tmp_path, "tq://localhost")


def test_modules_and_packages_are_found_by_name(tmp_path: Path) -> None:
    package = tmp_path / "shop" / "jobs"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "mail.py").touch()
    assert find_module("shop.jobs:app", tmp_path) == package / "__init__.py"
    assert find_module("shop.jobs.mail", tmp_path) == package / "mail.py"


@pytest.mark.parametrize(
    ("app", "words"), [("missing:app", "dev --example"), ("tasks.py", "dev --example"), (":app", "MODULE:APP")]
)
def test_a_module_that_is_not_there_is_named_with_the_way_out(tmp_path: Path, app: str, words: str) -> None:
    with pytest.raises(click.UsageError, match=words):
        find_module(app, tmp_path)


def test_a_suggestion_never_fails_on_what_the_user_wrote(tmp_path: Path) -> None:
    path = tmp_path / "tasks.py"
    path.write_text("def broken(:\n")
    assert suggest_call("tasks:app", path) == 'python -c "from tasks import ..."'
    path.write_text("@app.task(bind=True)\ndef send(to: str, body, retry=3): ...\n")
    assert "send.delay('x', body)" in suggest_call("tasks:app", path)


@pytest.mark.parametrize("address", ["0.0.0.0:7730", "unix:/run/tq.sock", "127.0.0.1:0"])
def test_dev_refuses_addresses_it_could_not_name(address: str) -> None:
    result = CliRunner().invoke(dev, ["--listen", address])
    assert result.exit_code == 2


def test_dev_refuses_a_log_level_before_it_writes_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(dev, ["--example", "--loglevel", "loud"])
    assert result.exit_code == 2
    assert "'loud' is not one of 'debug', 'info'" in result.output
    assert list(tmp_path.iterdir()) == []
