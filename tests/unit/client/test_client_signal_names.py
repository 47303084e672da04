"""Signals of the system by name and number."""

from __future__ import annotations

import signal

import pytest

from tqbroker.signal_names import signal_name


@pytest.mark.parametrize("given", ["SIGTERM", "TERM", "sigterm", "term", 15, signal.SIGTERM])
def test_a_signal_is_known_as_celery_knows_it(given: str | int) -> None:
    assert signal_name(given) == "SIGTERM"


@pytest.mark.parametrize("given", ["SIGFOO", "", "9", 0, 4711, True, None, 15.0])
def test_what_is_no_signal_is_refused(given: str | int) -> None:
    with pytest.raises(ValueError, match="SIGKILL"):
        signal_name(given)
