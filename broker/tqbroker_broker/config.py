"""Broker settings: one field is one flag, one environment name, one key of the file, one line of the example.

`--lease-ttl 30`, `TQBROKER_LEASE_TTL=30` and `lease_ttl = 30` in the TOML file mean the same; a flag wins over the
environment, the environment over the file, the file over the default.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """What an engine needs to know. Seconds and bytes; each default with its reason."""

    map_size: int = 64 * GIB
    """Bytes of address space for the store, reserved once and sparse on disk: it can never be resized while serving."""

    high_water: float = 0.85
    """Share of the map or of the disk above which new work is refused, so that outcomes still fit."""

    lease_ttl: float = 30.0
    """Seconds without a sign of life after which a worker's jobs are given to others. Heartbeats come at a third of it."""

    grace: float = 5.0
    """Seconds a worker whose stream broke may stay away before its jobs are given to others: a reconnect takes about 1."""

    max_lost_leases: int = 3
    """Leases a job may lose before it is quarantined: a job that kills three workers would kill the fourth."""

    result_ttl: float = DAY
    """Seconds a finished job and its result are kept, unless the job says otherwise. Celery's `result_expires`."""

    dedup_window: float = DAY
    """Seconds an id is remembered after its submit, so that a late resend is recognised."""

    dedup_share: float = 0.1
    """Share of the map that remembered ids of dropped jobs may use; the oldest go first, never before 10 minutes."""

    max_result_size: int = 1 * MIB
    """Bytes one result may have; the reserve above the high-water mark is counted in it."""

    group_limit: int = 5000
    """Jobs and outcomes in one commit: more only adds latency, the cost of the flush is shared well before that."""
