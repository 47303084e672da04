"""What users install is complete, and puts nothing generic into their site-packages."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"client/tqbroker", "broker/tqbroker_broker", "worker/tqbroker_worker"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built with the installed hatchling: nothing is fetched."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_holds_every_module_and_stub(wheel: zipfile.ZipFile) -> None:
    expected = {
        str(path.relative_to((ROOT / source).parent))
        for source in SOURCES
        for path in (ROOT / source).rglob("*")
        if path.suffix in {".py", ".pyi"} or path.name == "py.typed"
    }

    assert expected - set(wheel.namelist()) == set()


def test_the_wheel_takes_three_names_and_no_more(wheel: zipfile.ZipFile) -> None:
    names = {name.partition("/")[0] for name in wheel.namelist()}

    assert {name for name in names if not name.endswith(".dist-info")} == {Path(source).name for source in SOURCES}


def test_the_wheel_carries_licence_command_and_types(wheel: zipfile.ZipFile) -> None:
    info = next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)

    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "tqbroker = tqbroker.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert "Typing :: Typed" in wheel.read(f"{info}/METADATA").decode()
