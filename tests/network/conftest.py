"""What every test here can ask for; see tests/acceptance/ harness/fixtures.py."""

from __future__ import annotations

from tests.acceptance.harness.fixtures import folder, pytest_runtest_makereport, site

__all__ = ["folder", "pytest_runtest_makereport", "site"]
