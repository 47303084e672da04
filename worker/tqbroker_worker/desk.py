"""A worker that serves, as commands of operators see it: what they may look at, and what they may change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from tqbroker_worker.asks import Asks
from tqbroker_worker.autoscale import Autoscale
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.credit import Credit
from tqbroker_worker.handover import Handover
from tqbroker_worker.pool import Pool
from tqbroker_worker.protocol import Manifest
from tqbroker_worker.session import Session
from tqbroker_worker.timelimits import LimitTable


@dataclass(slots=True)
class Desk:
    """The parts of one worker. `stop` ends it as the first signal does, `url` is the broker's."""

    config: WorkerConfig
    manifest: Manifest
    url: str
    handover: Handover
    pool: Pool
    session: Session
    credit: Credit
    limits: LimitTable
    asks: Asks
    autoscale: Autoscale | None
    stop: Callable[[], None]
    since: float = field(default_factory=monotonic)
