"""The rivals' Python packages: in an environment of their own, so that ours stays what users get."""

from __future__ import annotations

import subprocess
import sys

from .systems import RIVALS_BIN, RIVALS_PACKAGES, System


def lacking(system: System) -> list[str]:
    """What must be installed with `make bench-rivals` before this rival can be measured."""
    return [] if (RIVALS_BIN / system.package).exists() else [f"{system.package} (make bench-rivals)"]


def install() -> int:
    """Makes the environment and says what is needed beside it."""
    subprocess.run([sys.executable, "-m", "venv", str(RIVALS_BIN.parent)], check=True)
    (RIVALS_BIN.parent / ".gitignore").write_text("*\n")
    subprocess.run([str(RIVALS_BIN / "pip"), "install", "--quiet", "--upgrade", *RIVALS_PACKAGES], check=True)
    print("Installed. Their servers come from the system, for example: apt-get install redis-server rabbitmq-server")
    return 0
