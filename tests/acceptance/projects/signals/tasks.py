"""An application that writes down every signal of Celery's that it gets, as its users connect them."""

from __future__ import annotations

import json
import os
from typing import Any

from tqbroker import App, Task, signals

app = App("tasks")
history = os.open(os.environ["TQ_HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
Bound = Task[..., Any]
SIMPLE = (str, int, float, list, dict, type(None))


def note(signal: signals.Signal, sender: Any = None, **named: Any) -> None:
    """One line: the signal, its sender's name, and what came with it as far as it is plain."""
    plain = {name: value for name, value in named.items() if isinstance(value, SIMPLE)}
    plain |= {
        name: f"{type(value).__name__}: {value}" for name, value in named.items() if name in ("exception", "reason")
    }
    name = getattr(sender, "name", sender)
    seen = {"signal": signal.name, "sender": name, "names": sorted(named), "pid": os.getpid(), **plain}
    os.write(history, (json.dumps(seen, default=repr) + "\n").encode())


for known in signals.ALL.values():
    if known.name not in ("heartbeat_sent", "setup_logging"):
        known.connect(note)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def fail() -> None:
    raise KeyError("nothing there")


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def again(self: Bound) -> str:
    if not self.request.retries:
        raise self.retry(exc=ValueError("not yet"))
    return "now"


@app.task(bind=True)
def hold(self: Bound) -> None:
    while not os.path.exists(os.environ["TQ_GATE"]):
        __import__("time").sleep(0.01)
