"""Signals of the system as people write them, and as the wire has them."""

from __future__ import annotations


def signal_name(given: str | int) -> str:
    """The name: "SIGTERM" for "TERM", "sigterm", 15 and signal.SIGTERM. Raises ValueError for what is no signal."""
    import signal

    if isinstance(given, int) and not isinstance(given, bool) and given in set(signal.Signals):
        return signal.Signals(given).name
    if isinstance(given, str):
        name = given.upper() if given.upper().startswith("SIG") else f"SIG{given.upper()}"
        if name in signal.Signals.__members__:
            return name
    raise ValueError(f"signal={given!r:.200} is not allowed: use the name of a signal, for example SIGTERM or SIGKILL")
