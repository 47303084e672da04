"""What `tqbroker dev` knows of the user's project without running any of it."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import click

EXAMPLE = '''"""A first tqbroker application. Start it with: tqbroker dev tasks:app"""

import time

from tqbroker import App

app = App("tasks", broker="{url}")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def slow_add(x: int, y: int, seconds: float = 1.0) -> int:
    time.sleep(seconds)
    return x + y
'''


def write_example(folder: Path, url: str) -> Path:
    """Writes tasks.py for the broker at `url`. Never over an existing file: ClickException then."""
    path = folder / "tasks.py"
    try:
        with path.open("x") as file:
            file.write(EXAMPLE.format(url=url))
    except FileExistsError:
        raise click.ClickException(
            f"{path.name} exists already and is left as it is: run `tqbroker dev tasks:app`"
        ) from None
    return path


def find_module(app: str, folder: Path) -> Path:
    """The file that `MODULE:APP` names, here or on PYTHONPATH. UsageError when there is none."""
    module = app.partition(":")[0]
    if not module or not all(part.isidentifier() for part in module.split(".")):
        raise click.UsageError(f"{app!r} is not MODULE:APP: write, for example, tasks:app")
    relative = Path(*module.split("."))
    for root in [folder, *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))]:
        for path in (root / relative.with_suffix(".py"), root / relative / "__init__.py"):
            if path.is_file():
                return path
    raise click.UsageError(
        f"there is no module {module!r} in {folder}: go to the folder of your code, or let `tqbroker dev --example`"
        " write a small tasks.py"
    )


def suggest_call(app: str, path: Path) -> str:
    """A command that submits a job of the module's first task, as far as reading its source tells."""
    module = app.partition(":")[0]
    for node in _functions(path):
        if any("task" in ast.unparse(decorator) for decorator in node.decorator_list):
            needed = node.args.args[: len(node.args.args) - len(node.args.defaults)]
            arguments = ", ".join(_sample(argument) for argument in needed)
            return (
                f'python -c "from {module} import {node.name}; print({node.name}.delay({arguments}).get(timeout=10))"'
            )
    return f'python -c "from {module} import ..."'


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    try:
        tree = ast.parse(path.read_text())
    except (SyntaxError, UnicodeDecodeError):
        return []
    return [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _sample(argument: ast.arg) -> str:
    """A value for an argument where its type says which; its name otherwise."""
    kind = ast.unparse(argument.annotation) if argument.annotation else ""
    return {"int": "4", "float": "4.0", "str": "'x'", "bool": "True"}.get(kind, argument.arg)
