"""The wheel as users install it: into an empty environment, without the server and with it, on two Pythons."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.waiting import free_port

from tqbroker_broker import __version__

ROOT = Path(__file__).resolve().parents[2]
USAGE = 2
PATIENCE = 100.0
TASKS = """\
from tqbroker import App

app = App("tasks")


@app.task
def add(x: int, y: int) -> int:
    return x + y
"""
CALL = "from tasks import add; print(add.delay(4, 4).get(timeout=10))"


class Place:
    """An empty virtual environment, and a folder to work in that is no part of this checkout."""

    def __init__(self, python: str, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.url = f"tq://127.0.0.1:{free_port()}"
        self.environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(folder), "TQBROKER_URL": self.url}
        passed_on = ("PIP_", "HTTP", "HTTPS", "http", "https", "NO_PROXY", "no_proxy", "SSL_", "REQUESTS_")
        self.outside = {name: value for name, value in os.environ.items() if name.startswith(passed_on)}
        self.command(python, "-m", "venv", folder / "venv")
        (folder / "tasks.py").write_text(TASKS)

    def command(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs a command in the folder."""
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=self.environment | self.outside,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def install(self, what: str) -> None:
        """`pip install WHAT`, with whatever index the machine is configured for."""
        done = self.command(self.bin / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", what)
        if done.returncode and "ConnectionError" in done.stderr:
            pytest.skip(f"the package index cannot be reached from here: {done.stderr.strip().splitlines()[0]}")
        assert done.returncode == os.EX_OK, done.stdout + done.stderr

    def daemon(self, *arguments: str | Path) -> Daemon:
        """A `tqbroker` command of this environment, started."""
        daemon = Daemon(str(arguments[0]), [self.bin / "tqbroker", *arguments], self.folder, self.environment)
        daemon.start()
        return daemon


def pythons() -> list[str]:
    """The Python that runs this, and 3.13 unless that is the same."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [running] if running == "3.13" else [running, "3.13"]


def interpreter(version: str) -> str:
    """A Python of this version. Skips the test where there is none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = [path for path in (shutil.which(f"python{version}"), *_of_pyenv(version)) if path]
    for path in found:
        if subprocess.run([path, "--version"], capture_output=True, timeout=30).returncode == os.EX_OK:
            return path
    pytest.skip(f"no python{version} on this machine")


def _of_pyenv(version: str) -> list[str]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return sorted(str(path) for path in root.glob(f"versions/{version}.*/bin/python{version}"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built with the installed hatchling."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == os.EX_OK, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(params=pythons())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    yield Place(interpreter(request.param), tmp_path)
    shutil.rmtree(tmp_path / "venv")


def test_the_wheel_works_without_the_server_and_runs_a_job_with_it(place: Place, wheel: Path) -> None:
    place.install(str(wheel))

    assert place.command(place.bin / "tqbroker", "--version").stdout.strip() == f"tqbroker {__version__}"
    imported = place.command(place.bin / "python", "-c", "import tasks; print(tasks.add(4, 4))")
    assert imported.stdout.strip() == "8", imported.stderr
    for command in ("serve", "dev"):
        refused = place.command(place.bin / "tqbroker", command)
        assert refused.returncode == USAGE
        assert refused.stderr == f'`tqbroker {command}` needs the server: pip install "tqbroker[server]"\n'

    place.install(f"{wheel}[server]")
    broker = place.daemon("serve", "--listen", place.url.removeprefix("tq://"), "--data-dir", "data")
    worker = place.daemon("worker", "-A", "tasks", "--loglevel=info")
    try:
        worker.expect(" ready.")
        done = place.command(place.bin / "python", "-c", CALL)
        assert done.stdout.strip() == "8", done.stdout + done.stderr
        assert worker.stop() == broker.stop() == os.EX_OK
    finally:
        worker.discard()
        broker.discard()
