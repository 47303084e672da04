"""Damaged copies of a store, opened by processes that may die of it: what they say, or how they ended.

Run as a program: `python -m tests.proof.autopsy IDS.json FILE...` forks one process for each look at each file.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.contracts.harness import EngineUnderTest
from tests.contracts.workflows import take_tokens
from tests.mutants.registry import planted

from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.questions import Filter, Redrive
from tqbroker_broker.storage import CRASH_FILE, CannotOpen
from tqbroker_broker.storage.lmdb.verifying import verify

QUICK = Path("/dev/shm")
"""Where a flush costs nothing: no power is cut here."""

PATIENCE = 20
"""Seconds after which a look counts as one that never ends."""


class Autopsy(NamedTuple):
    """What came of one file. `faults` are those of `verify`; `jobs` what the engine told by id, None if it did not
    open; `refusal` is why not; `deaths` how processes ended that did not survive the file, and `after` why a start
    that knows of that is refused."""

    faults: list[str]
    jobs: dict[str, Any] | None
    refusal: str
    deaths: list[str]
    after: str


def autopsies(original: dict[str, Any], files: Sequence[Path], mutant: str = "") -> list[Autopsy]:
    """Looks at all of them. `original` is what was told of the jobs before (`told`)."""
    ids = json.dumps(list(original))
    command = [sys.executable, "-m", "tests.proof.autopsy", mutant, ids, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    return [Autopsy(*json.loads(line)) for line in done.stdout.splitlines()]


def told(job: Job) -> dict[str, Any]:
    """What must be right of a job: who it is, what it is to do, how it ended."""
    return {
        "id": job.id.hex(), "state": job.state.name, "args": job.args.hex(), "task": job.head.task if job.head else "",
        "result": job.result.hex(), "failure": job.failure.type if job.failure is not None else "",
    }  # fmt: skip


async def ask(directory: Path, ids: Sequence[bytes]) -> dict[str, Any]:
    """Opens a store and uses all of it. Returns what it told of these jobs first."""
    engine = EngineUnderTest("lmdb", directory)
    await engine.open()
    jobs = await engine.verbs.get(ids, with_args=True, with_attempts=True, with_children=True)
    ended = await engine.verbs.ended(ids)
    answer = {job.hex(): told(found) for job, found in zip(ids, jobs, strict=True)}
    for found in ended:
        if not found.forgotten and answer.get(found.id.hex(), {}).get("result", "") != found.result.hex():
            answer["ended"] = told(found)
    await _use(engine, ids)
    await engine.verbs.close()
    return answer


async def _use(engine: EngineUnderTest, ids: Sequence[bytes]) -> None:
    """Whatever comes back: nothing of it may kill the process."""
    verbs = engine.verbs
    engine.advance(40)  # the workers from before the start do not come back
    await _expire(engine)
    cursor = b""
    for _ in range(20):
        page = await verbs.scan(Filter(), cursor, 50)
        cursor = page.cursor
        if not cursor:
            break
    await verbs.stats()
    await verbs.events(0, 1000)
    for workflow in (await verbs.workflows(frozenset(), b"", 100)).workflows:
        await verbs.nodes(workflow.id, b"", 100)
    for _ in range(5):
        tokens = await take_tokens(engine)
        await engine.succeed("w", tokens.values())
    await verbs.cancel(ids[:10], engine.now)
    await verbs.edit(ids, Redrive(), engine.now)
    for token in list((await take_tokens(engine)).values())[:5]:
        await engine.end("w", token, Verdict.RETRY)
    for _ in range(10):
        engine.advance(4000)
        await verbs.due(engine.now, 100)
        await _expire(engine)


async def _expire(engine: EngineUnderTest) -> None:
    """What time brings, as far as it goes: of a damaged agenda there may be more again and again."""
    for _ in range(20):
        if not (await engine.verbs.expire(engine.now, 50)).more:
            return


def look(directory: Path, ids: Sequence[bytes]) -> list[Any]:
    """What the engine says of a store: its answers, or why it does not open."""
    try:
        return [asyncio.run(ask(directory, ids)), ""]
    except CannotOpen as refusal:
        return [None, str(refusal)]


def apart(work: Callable[[], Any]) -> tuple[Any, str]:
    """Does something in a process of its own. Returns what it returned, or how the process ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _child(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        said = answers.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None, signal.Signals(os.WTERMSIG(status)).name
    answer = json.loads(said) if said else {"error": f"exit code {os.WEXITSTATUS(status)}"}
    return answer.get("answer"), answer.get("error", "")


def _child(work: Callable[[], Any], writing: int) -> None:
    signal.alarm(PATIENCE)
    try:
        said = {"answer": work()}
    except BaseException as problem:
        said = {"error": f"{type(problem).__name__}: {problem}"}
    with os.fdopen(writing, "wb") as out:
        out.write(json.dumps(said).encode())
    os._exit(0)


def examine(file: Path, ids: Sequence[bytes]) -> Autopsy:
    """One file: verified, opened and used, and opened again."""
    faults, end = apart(lambda: verify(file).faults)
    deaths = [f"verify: {end}"] if end else []
    directory = Path(tempfile.mkdtemp(dir=QUICK if QUICK.is_dir() else None))
    (directory / "data").mkdir()
    shutil.copyfile(file, directory / "data" / "data.mdb")
    jobs, refusal = None, ""
    for look_number in (1, 2):
        found, end = apart(lambda: look(directory, ids))
        if end:
            deaths.append(f"look {look_number}: {end}")
        elif look_number == 1:
            jobs, refusal = found
    after = _after_a_crash(directory, ids) if deaths else ""
    shutil.rmtree(directory)
    return Autopsy(faults or [], jobs, refusal, deaths, after)


def _after_a_crash(directory: Path, ids: Sequence[bytes]) -> str:
    """Why a broker does not start where the last one has left word that it crashed; nothing if it does."""
    (directory / "data" / CRASH_FILE).write_text("Fatal Python error: Segmentation fault")
    found, end = apart(lambda: look(directory, ids))
    return str(found[1]) if not end else ""


def main(mutant: str, ids: str, *files: str) -> None:
    """Prints one line for each file."""
    if mutant:
        with planted(mutant):
            return main("", ids, *files)
    known = [bytes.fromhex(job) for job in json.loads(ids)]
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - what the engine logs of damage is not asked here
    for file in files:
        print(json.dumps(examine(Path(file), known)), flush=True)
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
