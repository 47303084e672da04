"""How many files and sockets this process may have open."""

from __future__ import annotations

import contextlib
import resource

RESERVED = 64
"""Those that are no connections: the store, the log, the event loop, and what gRPC needs for itself."""


def allowed() -> int:
    """As many as the system lets this process have, at least RESERVED + 1.

    What a shell gives is often 1024, with much more for the asking: that is asked for here.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS says "unlimited" and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    return 1 << 20 if unlimited else max(soft, RESERVED + 1)
