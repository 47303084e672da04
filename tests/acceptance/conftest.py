"""What every acceptance test can ask for; see harness/fixtures.py."""

from __future__ import annotations

from tests.acceptance.harness.fixtures import folder, pytest_runtest_makereport, site, workshop

__all__ = ["folder", "pytest_runtest_makereport", "site", "workshop"]
