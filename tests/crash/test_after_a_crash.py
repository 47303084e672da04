"""A broker that its store kills does not die again and again: the next one looks first, and says what is damaged."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests.acceptance.harness.daemon import TQBROKER
from tests.acceptance.harness.site import Site
from tests.contracts.harness import EngineUnderTest
from tests.proof.everything import fill

from tqbroker_broker.storage.lmdb import opening

PAGE = 4096


@pytest.fixture
def place(site: Site, tmp_path: Path) -> Site:
    """A site whose broker has a store with every kind of row."""
    asyncio.run(_fill(tmp_path))
    (tmp_path / "data").rename(site.data)
    return site


async def _fill(directory: Path) -> None:
    engine = EngineUnderTest("lmdb", directory)
    await engine.open()
    await fill(engine)
    await engine.verbs.close()


def serve(place: Site) -> subprocess.CompletedProcess[str]:
    """Starts a broker that does not start."""
    return place.run(TQBROKER, "serve", "--listen", place.address, "--data-dir", place.data)


def flip_a_page(file: Path) -> None:
    """Damages the number of a page in use, or repairs it."""
    content = bytearray(file.read_bytes())
    for at in range(2 * PAGE, len(content), PAGE):
        if content[at : at + 8] == (at // PAGE).to_bytes(8, "little") and content[at + 10] == 2:  # a leaf
            content[at + 7] ^= 1
            break
        if content[at + 7] == 1:
            content[at + 7] = 0
            break
    file.write_bytes(content)


@pytest.mark.proof("T26")
def test_after_a_crash_the_pages_are_looked_at_before_they_are_opened(place: Site, counts: Counter[str]) -> None:
    broker = place.broker()
    broker.signal(signal.SIGSEGV)
    assert broker.wait() == -signal.SIGSEGV
    assert "Segmentation fault" in (place.data / "CRASH").read_text()
    flip_a_page(place.data / "data.mdb")
    for _ in range(2):
        started = serve(place)
        assert started.returncode == 1
        assert f"{place.data / 'data.mdb'} is damaged: pages: " in started.stderr
        assert "Traceback" not in started.stderr
        counts["refused at the start"] += 1

    flip_a_page(place.data / "data.mdb")
    place.started(broker)

    assert (place.data / "CRASH").read_text() == ""
    broker.stop()


def test_a_crash_is_told_once_where_the_store_is_too_large_to_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opening, "MOST_CHECKED", 0)
    (tmp_path / "data.mdb").write_bytes(b"large")
    (tmp_path / "CRASH").write_text("Segmentation fault")
    for _ in range(2):
        opening.check_after_crash(tmp_path)
    (told,) = caplog.messages
    assert "tqbroker verify" in told
    assert "Segmentation fault" in told


@pytest.mark.proof("T26")
def test_a_store_that_cannot_be_opened_is_refused_in_words(place: Site, counts: Counter[str]) -> None:
    file = place.data / "data.mdb"
    whole = file.read_bytes()
    damages = {
        "cut short": whole[: len(whole) // 2],
        "not a store of this version": b"x" * len(whole),
    }
    for words, content in damages.items():
        file.write_bytes(content)
        started = serve(place)
        assert started.returncode == 1, words
        assert words in started.stderr
        assert "Traceback" not in started.stderr
        counts["refused at the start"] += 1
    file.write_bytes(whole)
