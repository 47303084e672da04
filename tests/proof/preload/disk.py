"""The data file of a daemon, recorded and broken on demand; crashlog.c says how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.proof.preload import built


def disk(data: Path, faults: Sequence[str] = (), *, log: Path | None = None, seed: int = 1) -> dict[str, str]:
    """What a broker's environment must have so that the data file in its directory is recorded to `log` and broken.

    Each fault reads CALL:WHICH:WHAT[:WHILE], as crashlog.c says: "fdatasync:7:eio", "grow:1+:enospc:/tmp/full".
    """
    variables = {
        "LD_PRELOAD": str(built("crashlog")),
        "CRASHLOG_FILE": str(data.resolve() / "data.mdb"),
        "CRASHLOG_FAULTS": ";".join(faults),
        "CRASHLOG_SEED": str(seed),
    }
    return variables | ({"CRASHLOG": str(log)} if log is not None else {})
