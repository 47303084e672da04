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
    """Seconds without a sign of life after which a worker's jobs go to others. Heartbeats come at a third of it."""

    grace: float = 5.0
    """Seconds a worker whose stream broke may stay away before its jobs go to others: a reconnect takes about 1."""

    max_lost_leases: int = 3
    """Leases a job may lose before it is quarantined: a job that kills three workers would kill the fourth."""

    result_ttl: float = DAY
    """Seconds a finished job and its result are kept, unless the job says otherwise. Celery's `result_expires`."""

    dead_ttl: float = 30 * DAY
    """Seconds a FAILED job is kept whole as a dead letter, at least: time to find out why, and to redrive it."""

    dedup_window: float = DAY
    """Seconds an id is remembered after its submit, so that a late resend is recognised."""

    dedup_share: float = 0.1
    """Share of the map that remembered ids of dropped jobs may use; the oldest go first, never before 10 minutes."""

    max_result_size: int = 1 * MIB
    """Bytes one result may have; the reserve above the high-water mark is counted in it."""

    max_attempts_kept: int = 50
    """Earlier attempts of one job that are kept with their tracebacks; of more the oldest but the first are dropped."""

    event_ttl: float = DAY
    """Seconds an event stays in the log, at most: longer than a monitor should be away."""

    event_bytes: int = 256 * MIB
    """Bytes the event log may take, and never more than a tenth of the map; about 20 an event. The oldest go first."""

    max_workflow_jobs: int = 250_000
    """Jobs one workflow may have: its graph is kept whole, and listed, cancelled and dropped as one."""

    max_inputs_size: int = 64 * MIB
    """Bytes of results that one job of a workflow may be handed: its worker holds them in memory, decoded."""

    upload_ttl: float = 3600.0
    """Seconds after its last part that a workflow which is not complete, or not live, is dropped."""

    group_limit: int = 5000
    """Jobs and outcomes in one commit: more only adds latency, the cost of the flush is shared well before that."""


@dataclass(frozen=True, slots=True)
class BrokerConfig(StorageConfig):
    """Everything `tqbroker serve` can be told."""

    listen: tuple[str, ...] = ("127.0.0.1:7730",)
    """Addresses to serve gRPC on: HOST:PORT with a loopback host, or unix:/PATH. Port 0 takes any free one."""

    data_dir: str = "tqbroker-data"
    """Directory of the store, created with mode 0700. On a local disk: not NFS, not tmpfs."""

    storage: str = ""
    """Storage URL: lmdb:PATH or memory: (forgets everything at the end, for tests). Empty means lmdb: in data_dir."""

    loglevel: str = "info"
    """How much to log: debug, info, warning, error or critical."""

    drain: float = 10.0
    """Seconds a stop may take at most; what is in flight needs a fraction of one. Then the process ends anyway."""

    backup_timeout: float = 3600.0
    """Seconds one backup may take from the order to its last byte: for so long its copy lies beside the store."""

    max_args_size: int = 1 * MIB
    """Bytes the arguments of one job may have: larger things belong into a file, with its name as the argument."""

    max_headers_size: int = 64 * KIB
    """Bytes the headers of one job may have: they are for trace ids and the like."""

    max_request_jobs: int = 10_000
    """Jobs or ids in one request: a larger one would keep the loop, and with it everybody else, waiting."""

    max_request_batches: int = 2000
    """Batches in one request."""

    max_request_bytes: int = 4 * MIB
    """Bytes of arguments and headers in one request."""

    max_inflight_bytes: int = 256 * MIB
    """Bytes of jobs waiting for their commit, over all clients, above which requests are refused as BUSY."""

    max_connections: int = 12_000
    """Connections at a time on each address; further ones are closed at once. Room for 10,000; each takes 40 KB."""

    handshake_timeout: float = 10.0
    """Seconds in which a connection must have begun to speak HTTP/2, or it is closed: a client needs milliseconds."""

    max_watched: int = 100_000
    """Ids that one Wait call may watch at a time."""
