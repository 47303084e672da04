"""The house stands as docs/architecture.md draws it: layers, maps, public names, and the picture of a job's life."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tqbroker import _failpoint
from tqbroker_broker.lifecycle import TRANSITIONS
from tqbroker_broker.storage.lmdb import keys

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "tqbroker": ROOT / "client" / "tqbroker",
    "tqbroker_broker": ROOT / "broker" / "tqbroker_broker",
    "tqbroker_worker": ROOT / "worker" / "tqbroker_worker",
}


def test_imports_follow_the_layers() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_layers_are_those_of_the_documentation() -> None:
    pictures = re.findall(r"```\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    drawn = [_drawn_layers(picture) for picture in pictures]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layered = [contract["layers"] for contract in contracts if contract["type"] == "layers"]

    assert layered
    for layers in layered:
        assert [set(layer.split(" | ")) for layer in layers] in drawn


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_begins_with_its_map(package: str) -> None:
    """The docstring of `__init__.py` lists all that lies beside it, a group a line, and nothing that is not there."""
    folder = PACKAGES[package]
    doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    groups = re.findall(r"^(\w[\w, *]*?)  +\S", doc, re.MULTILINE)
    named = [name for group in groups for name in re.split(r",\s*", group)]
    beside = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

    assert len(groups) >= 3, "the map is missing"
    assert beside - {"__init__", "__main__"} == {each for each in beside if any(fnmatch(each, name) for name in named)}
    assert [name for name in named if not any(folder.glob(name)) and not any(folder.glob(f"{name}.py"))] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package: str) -> None:
    public = [name for name in _modules(package) if "__all__" in vars(importlib.import_module(name))]
    for name in public:
        module = importlib.import_module(name)
        listed: list[str] = vars(module)["__all__"]

        assert len(listed) == len(set(listed)), f"{name}.__all__ names something twice"
        assert [each for each in listed if not hasattr(module, each)] == [], f"{name}.__all__ names what is not there"


def test_the_picture_of_a_jobs_life_is_the_table() -> None:
    picture = re.search(r"```mermaid\n(.*?)```", (ROOT / "docs" / "protocol.md").read_text(), re.DOTALL)
    assert picture
    drawn = set(re.findall(r"^ +(\S+) --> (\S+):", picture[1], re.MULTILINE))

    allowed = {
        (before.name if before else "[*]", after.name) for before, afters in TRANSITIONS.items() for after in afters
    }

    assert drawn == allowed


def test_the_keys_on_disk_are_those_of_the_documentation() -> None:
    layout = _layout(keys.__doc__ or "")

    assert set(layout) == set(keys.DATABASES)
    assert _layout((ROOT / "docs" / "durability.md").read_text()) == layout


def test_the_documentation_says_what_a_crash_at_each_failpoint_leaves() -> None:
    table = (ROOT / "docs" / "durability.md").read_text().partition("## What a crash leaves")[2]

    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(_failpoint.NAMES)


def _drawn_layers(picture: str) -> list[set[str]]:
    """The layers of a picture: modules two spaces apart, then, three or more from them, what they are."""
    lines = [line.split("   ")[0].strip() for line in picture.splitlines()]
    return [set(line.split("  ")) for line in lines if line and not line.startswith("─")]


def _layout(text: str) -> dict[str, str]:
    """The picture of the databases as database -> key."""
    table = text.partition("--------   ---")[2].partition("\n")[2]
    rows = re.findall(r"^ *(\w+) {2,}(\S.*?) {2,}", table.partition("\n\n")[0].partition("```")[0], re.MULTILINE)
    return dict(rows)


def _modules(package: str) -> list[str]:
    folder = PACKAGES[package]
    paths = [path.relative_to(folder.parent).with_suffix("") for path in folder.rglob("*.py") if "v1" not in path.parts]
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"]
    return sorted(names)
