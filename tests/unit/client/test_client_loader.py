"""-A: what it finds, and what it says when it finds nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.loader import find_app

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules into the current directory; they are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)

    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"from tqbroker import App\n{text}")

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("proj_"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "spec", "main"),
    [
        ("app = App('a'); other = App('b')", "proj_one", "a"),
        ("celery = App('c'); other = App('b')", "proj_two", "c"),
        ("anything = App('x')", "proj_three", "x"),
        ("anything = same = App('x')", "proj_four", "x"),
        ("app = App('a'); other = App('b')", "proj_five:other", "b"),
        ("class Box: app = App('boxed')", "proj_six:Box.app", "boxed"),
    ],
)
def test_an_app_is_found_in_a_module(write: Write, text: str, spec: str, main: str) -> None:
    write(f"{spec.partition(':')[0]}.py", text)

    assert find_app(spec).main == main


def test_a_package_is_searched_in_its_celery_module(write: Write) -> None:
    write("proj_pack/__init__.py", "")
    write("proj_pack/celery.py", "app = App('inside')")

    assert find_app("proj_pack").main == "inside"


@pytest.mark.parametrize(
    ("text", "spec", "sentence"),
    [
        ("", "proj_a", "module 'proj_a' has no App: define app = App\\('proj_a'\\)"),
        ("x = App('x'); y = App('y')", "proj_b", "has several apps; it has -A proj_b:x, -A proj_b:y: name one"),
        ("x = App('x')", "proj_c:y", "has no 'y'; it has -A proj_c:x"),
        ("x = App('x'); y = 5", "proj_d:y", "proj_d:y is a int, not an App; it has -A proj_d:x"),
    ],
)
def test_a_module_without_the_app_is_told_what_to_write(write: Write, text: str, spec: str, sentence: str) -> None:
    write(f"{spec.partition(':')[0]}.py", text)

    with pytest.raises(ImproperlyConfigured, match=sentence):
        find_app(spec)


@pytest.mark.parametrize("spec", ["proj_missing", "proj_missing.sub:app", ":app", ""])
def test_a_module_that_is_not_there_is_told_so(write: Write, spec: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="-A"):
        find_app(spec)


def test_an_error_inside_the_module_is_shown_as_it_is(write: Write) -> None:
    write("proj_broken.py", "import proj_not_there")

    with pytest.raises(ModuleNotFoundError, match="proj_not_there"):
        find_app("proj_broken")
