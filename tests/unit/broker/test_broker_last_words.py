"""What a broker writes down when its storage fails, and that it ends whether it can or not."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tqbroker_broker import server
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.server import FAILED, Server
from tqbroker_broker.storage import Fenced


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Codes with which the process would have ended."""
    codes: list[int] = []
    monkeypatch.setattr(server, "_exit", codes.append)
    return codes


@pytest.mark.parametrize("written", [True, False], ids=["a disk", "a disk that takes nothing"])
def test_a_broker_whose_storage_has_failed_ends(tmp_path: Path, exits: list[int], written: bool) -> None:
    words = tmp_path / "words" if written else Path("/dev/full")
    failing = Server(BrokerConfig(storage="memory:"))
    with contextlib.suppress(OSError), words.open("a") as failing._crashes:
        failing._storage_failed(Fenced("no more"))

    assert exits == [FAILED]
    if written:
        assert words.read_text() == "storage has failed: no more\n"
