"""What every test can ask for; see tests/proof/plugin.py."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from tests.proof.plugin import (
    counts,
    pytest_addoption,
    pytest_configure,
    pytest_itemcollected,
)

__all__ = ["counts", "pytest_addoption", "pytest_configure", "pytest_itemcollected"]

# A loaded machine draws slowly and runs slowly, which is no fault of the test.
settings.register_profile("tqbroker", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tqbroker")
