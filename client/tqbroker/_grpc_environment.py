"""What gRPC reads when it is loaded. So this module is imported before: by `app`, which loads gRPC with the first call.

What a program has set stays as it is.
"""

from __future__ import annotations

import os

from tqbroker import _grpc_forks  # noqa: F401 (it looks at gRPC's threads before each fork from now on)

# gRPC's documented default. Without it every restart of the broker is reported on the application's stderr.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# The client is ready for forks by itself. What gRPC does about them kills children of a process with an event loop.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
