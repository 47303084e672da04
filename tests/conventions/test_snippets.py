"""What README and docs show is what happens: marked snippets are run, in order, one folder for each document.

The mark is the second word of a fence:

    python file=NAME      written to the folder as NAME, for the commands that follow
    console run           each `$ command` is run; the lines below it are its output
    console background    the command is started and runs until the end of the document; its output appears in time

In expected output `...` stands for anything, alone on a line for any number of lines. The broker's address is shown as
127.0.0.1:7730, whatever free port the test has chosen, and so in a file, like `tq://localhost`.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w+) +(run|background|file=\S+)$\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SHOWN = "127.0.0.1:7730"
PATIENCE = 30.0


class Snippet(NamedTuple):
    mark: str
    body: str


class Command(NamedTuple):
    line: str
    output: str


def snippets(document: Path) -> list[Snippet]:
    return [Snippet(match[2], match[3]) for match in FENCE.finditer(document.read_text())]


def commands(body: str) -> list[Command]:
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    return [Command(*part.split("\n", 1)) for part in parts]


def pattern(expected: str) -> re.Pattern[str]:
    lines = [
        r"(.*\n)*?" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + "\n"
        for line in expected.splitlines()
    ]
    return re.compile("".join(lines))


DOCUMENTS = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if snippets(path)]


class Program:
    """One command on a terminal of its own, so that it shows what it shows to a person."""

    def __init__(self, line: str, folder: Path, environment: dict[str, str]) -> None:
        self.line = line
        self.shown = ""
        self._terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def read(self, deadline: float) -> bool:
        """Takes in what comes next, colours left out. False at the end of the output, or when it is too late."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._terminal], [], [], left)[0]:
            return False
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:  # what Linux says when the last program on a terminal has ended
            data = b""
        self.shown += COLOUR.sub("", data.decode()).replace("\r\n", "\n")
        return bool(data)

    def end(self) -> None:
        """Asks the program to end, and waits for it."""
        self.process.terminate()
        deadline = time.monotonic() + PATIENCE
        while self.read(deadline):
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._terminal)


class Session:
    """A folder and an address of its own, and the programs started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.started: list[Program] = []

    def run(self, snippet: Snippet) -> None:
        if snippet.mark.startswith("file="):
            text = snippet.body.replace("tq://localhost", f"tq://{self.address}").replace(SHOWN, self.address)
            (self.folder / snippet.mark.removeprefix("file=")).write_text(text)
            return
        for command in commands(snippet.body):
            program = self._start(command.line)
            expected = pattern(command.output)
            (self._appears if snippet.mark == "background" else self._is_all)(program, expected)

    def _is_all(self, program: Program, expected: re.Pattern[str]) -> None:
        deadline = time.monotonic() + PATIENCE
        while program.read(deadline):
            pass
        assert expected.fullmatch(self._shown(program)), f"$ {program.line}\n{self._shown(program)}"

    def _appears(self, program: Program, expected: re.Pattern[str]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not expected.search(self._shown(program)):
            assert program.read(deadline), f"$ {program.line}\n{self._shown(program)}"

    def close(self) -> None:
        for program in reversed(self.started):
            program.end()

    def _start(self, line: str) -> Program:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TQBROKER_URL": f"tq://{self.address}",
            "TQBROKER_LISTEN": self.address,
            "COLUMNS": "200",
        }
        self.started.append(Program(line, self.folder, environment))
        return self.started[-1]

    def _shown(self, program: Program) -> str:
        return program.shown.replace(self.address, SHOWN)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    yield session
    session.close()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_snippets_of_a_document_do_what_it_says(document: Path, session: Session) -> None:
    for snippet in snippets(document):
        session.run(snippet)


def test_a_snippet_that_lies_is_found(session: Session) -> None:
    session.run(Snippet("file=hello.py", "print('hello')\n"))
    session.run(Snippet("run", "$ python hello.py\nhel...\n"))
    with pytest.raises(AssertionError, match="hello"):
        session.run(Snippet("run", "$ python hello.py\ngood bye\n"))
    with pytest.raises(AssertionError, match="hello"):
        session.run(Snippet("background", "$ python hello.py\ngood bye\n"))
