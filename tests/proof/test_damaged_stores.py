"""Bits that flip in a store, and files that are cut short: found by `verify`, and never the wrong result of a job."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import lmdb
import pytest
from tests.contracts.harness import EngineUnderTest
from tests.mutants.catching import catches
from tests.proof.amount import amount, numbers
from tests.proof.autopsy import Autopsy, ask, autopsies
from tests.proof.everything import fill

DAMAGED = "DamagedRecord"


class Original(NamedTuple):
    """A store that is whole: its file, and what it tells of its jobs."""

    file: bytes
    jobs: dict[str, Any]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """A store with every kind of row, compacted, so that hardly a byte of it is unused."""
    directory = tmp_path_factory.mktemp("original")
    asyncio.run(_fill(directory))
    with lmdb.open(str(directory / "data" / "data.mdb"), subdir=False, max_dbs=64, lock=False) as env:
        with env.begin() as txn:
            ids = [job for job, _ in txn.cursor(env.open_db(b"ids", txn=txn, create=False))]
        env.copy(str(directory / "compact.mdb"), compact=True)
    (directory / "copy" / "data").mkdir(parents=True)
    shutil.copyfile(directory / "compact.mdb", directory / "copy" / "data" / "data.mdb")
    jobs = asyncio.run(ask(directory / "copy", ids))
    return Original((directory / "compact.mdb").read_bytes(), jobs)


async def _fill(directory: Path) -> None:
    engine = EngineUnderTest("lmdb", directory)
    await engine.open()
    await fill(engine)
    await engine.verbs.close()


def flipped(whole: bytes, rng: Random, within: tuple[int, int] | None = None) -> bytes:
    """The file with one bit of it flipped."""
    at = rng.randrange(*(within or (0, len(whole))))
    return whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]


def wrongs(original: Original, found: Autopsy) -> Iterator[str]:
    """What must not be, whatever is damaged."""
    if any(death.startswith("verify") for death in found.deaths):
        yield f"verify did not survive it: {found.deaths}"
    if found.deaths and not (found.faults and "is damaged" in found.after):
        yield f"it kills every broker: {found.deaths}, {found.faults[:2]}, {found.after!r}"
    for job, told in (found.jobs or {}).items():
        before = original.jobs.get(job, told)
        yield from (f"job {job}: {name} is wrong" for name in ("id", "args", "result") if _is_wrong(name, before, told))
        if told["failure"] not in ("", before["failure"], DAMAGED):
            yield f"job {job}: the failure is wrong"
        if told != before and told["failure"] != DAMAGED and not found.faults:
            yield f"job {job} is told otherwise, and verify is silent: {before} {told}"


def _is_wrong(name: str, before: dict[str, Any], told: dict[str, Any]) -> bool:
    return told[name] not in ("", before[name])


def examine(
    original: Original, files: list[bytes], directory: Path, mutant: str = ""
) -> tuple[list[str], Counter[str]]:
    """Looks at damaged files. Returns what must not be, and what was found."""
    paths = [directory / f"damaged{number}.mdb" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    bad: list[str] = []
    counts: Counter[str] = Counter(files=len(files))
    for number, found in enumerate(autopsies(original.jobs, paths, mutant)):
        bad += [f"file {number}: {wrong}" for wrong in wrongs(original, found)]
        counts["named by verify" if found.faults else "harmless"] += 1
        counts["refused at the start"] += bool(found.refusal)
        counts["crashes stopped at the next start"] += bool(found.deaths)
    return bad, counts


@pytest.mark.proof("T26")
@pytest.mark.timeout(600)
def test_a_flipped_bit_is_found_or_harmless_and_no_result_is_wrong(
    original: Original, tmp_path: Path, counts: Counter[str]
) -> None:
    seed = numbers(1, 1)[0]
    rng = Random(seed)
    bad, found = examine(original, [flipped(original.file, rng) for _ in range(amount(40, 300))], tmp_path)
    counts.update(found)
    assert not bad, (seed, bad)


@pytest.mark.proof("T26")
def test_a_file_that_is_cut_short_is_found_and_not_opened(
    original: Original, tmp_path: Path, counts: Counter[str]
) -> None:
    rng = Random(numbers(1, 1)[0])
    cuts = [original.file[: rng.randrange(1, len(original.file) - 1)] for _ in range(amount(6, 30))]
    bad, found = examine(original, cuts, tmp_path)
    counts.update(found)
    assert not bad, bad
    assert found["named by verify"] == found["refused at the start"] == len(cuts)


@catches("crc_not_checked")
def test_a_harness_that_sees_no_wrong_result_would_be_seen(original: Original, tmp_path: Path, mutant: str) -> None:
    rng = Random(1)
    where = [original.file.index(f"job{number}......".encode()) for number in range(20)]
    files = [flipped(original.file, rng, (at, at + 10)) for at in where]
    bad, _ = examine(original, files, tmp_path, mutant)
    assert any("result is wrong" in each for each in bad), bad
