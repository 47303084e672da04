"""Libraries in C that daemons are started under (LD_PRELOAD), so that a test decides what their disk or clock does."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parent


@functools.cache
def built(name: str) -> Path:
    """The library made from `name`.c in this folder, compiled once a session. Skips the test without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here (cc): install gcc or clang to run this test")
    library = _folder() / f"{name}.so"
    flags = ["-O1", "-Wall", "-fPIC", "-shared"]
    command = [compiler, *flags, "-o", str(library), str(SOURCES / f"{name}.c"), "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return library


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="tq-preload-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
