"""An app with schedules as Celery's users write them; TQ_ENTRIES names those that it declares."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tqbroker import App, Task
from tqbroker.schedules import crontab

app = App("shop", timezone="Europe/Berlin")
history = os.open(os.environ["TQ_HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
entries = os.environ.get("TQ_ENTRIES", "second nightly periodic").split()


@app.task(bind=True)
def step(self: Task[..., Any], label: str) -> str:
    request = self.request
    seen = {"kind": "start", "label": label, "job": request.id, "at": time.time(), "pid": os.getpid()}
    seen |= {"worker": request.hostname, "queue": request.queue, "lost": request.lost_leases}
    os.write(history, (json.dumps(seen) + "\n").encode())
    return label


@app.task
def hold(name: str) -> None:
    """Ends when the gate of this name is open."""
    while not Path(os.environ["TQ_GATE"] + name).exists():
        time.sleep(0.01)


declared: dict[str, Any] = {
    "second": {"task": "tasks.step", "schedule": timedelta(seconds=1), "args": ("second",), "options": {"expires": 60}},
    "nightly": {"task": "tasks.step", "schedule": crontab(hour=3, minute=0), "args": ("nightly",)},
}
app.conf.beat_schedule = {name: entry for name, entry in declared.items() if name in entries}


@app.on_after_configure.connect
def setup_periodic_tasks(sender: App, **_: Any) -> None:
    if "periodic" in entries:
        sender.add_periodic_task(1.0, step, ("periodic",), name="periodic", relative=True)
