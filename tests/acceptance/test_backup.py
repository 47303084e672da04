"""`tqbroker backup` as an operator uses it: a file that is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest
from tests.acceptance.harness.load import submit_many
from tests.acceptance.harness.site import Site


@pytest.fixture
def file(site: Site) -> Path:
    """Where the backup goes."""
    return site.folder / "monday.tq"


def test_a_backup_says_what_it_has_saved(site: Site, file: Path) -> None:
    site.broker()
    submit_many(site.calls.mark, site.history, 20)

    done = site.tqbroker("backup", file, "--json")

    assert done.returncode == 0, done.stderr
    saved = json.loads(done.stdout)
    assert saved["jobs"] == {"queued": 20}
    assert saved["store"] == site.wire.broker().store.hex()
    assert (saved["size"], saved["sha256"]) == (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not partial(file).exists()
    assert "ago" in site.tqbroker("status").stdout


def partial(file: Path) -> Path:
    """The name that a backup has until it is whole."""
    return file.with_name(file.name + ".partial")


def test_without_a_broker_there_is_no_file(site: Site, file: Path) -> None:
    done = site.tqbroker("backup", file)

    assert done.returncode == 4
    assert not file.exists()
    assert not partial(file).exists()
