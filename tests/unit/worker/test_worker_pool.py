"""What the pool decides without starting anything."""

from __future__ import annotations

import os
import tempfile

import pytest

from tqbroker_worker.pool import BACKOFF, BACKOFF_MOST, pause_after
from tqbroker_worker.progress import Progress, create_page


def test_the_pause_after_failed_starts_grows_to_its_bound_and_stays_there_for_ever() -> None:
    assert pause_after(0) == BACKOFF
    assert pause_after(3) == 8 * BACKOFF
    assert pause_after(1_000_000) == BACKOFF_MOST


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has files in memory")
def test_a_page_needs_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    page = create_page()
    progress = Progress(page)
    progress.started = 7
    assert progress.started == 7
    progress.close()
    os.close(page)
