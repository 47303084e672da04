"""What every test can ask for; see tests/proof/plugin.py."""

from __future__ import annotations

from tests.proof.plugin import (
    counts,
    pytest_addoption,
    pytest_configure,
    pytest_itemcollected,
)

__all__ = ["counts", "pytest_addoption", "pytest_configure", "pytest_itemcollected"]
