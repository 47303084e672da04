"""Who is measured, with which settings: each as its documentation describes that row."""

from __future__ import annotations

from dataclasses import dataclass

from ..systems import OUR_BIN, OURS, RIVALS_BIN, System

LATE = "task_acks_late, task_reject_on_worker_lost"
CONFIRMED = 'broker_transport_options = {"confirm_publish": True}'
QUORUM = 'task_default_queue_type = "quorum"'


@dataclass(frozen=True)
class Case:
    """A row. `title` names it here and in docs/durability.md."""

    title: str
    system: System


def _celery(server: str, settings: str, variant: str = "default") -> System:
    worker = ("celery", "-A", "tqbench.apps.celery_app", "worker", "--loglevel=warning", "-c", "2")
    return System("celery", "celery_app", (server,), (worker,), f"{settings}{LATE}", "celery", RIVALS_BIN, variant)


def _dramatiq(server: str, settings: str, variant: str = "default") -> System:
    worker = ("dramatiq", "tqbench.apps.dramatiq_app", "--processes", "2")
    return System("dramatiq", "dramatiq_app", (server,), (worker,), settings, "dramatiq", RIVALS_BIN, variant)


CASES: dict[str, Case] = {
    "tqbroker": Case(
        "tqbroker",
        System(
            OURS,
            "tq_app",
            ("tqbroker",),
            (("tqbroker", "worker", "-A", "tqbench.apps.tq_app", "--loglevel=warning", "-c", "2"),),
            "none",
            "tqbroker",
            OUR_BIN,
        ),
    ),
    "celery-redis": Case("Celery on Redis, as installed", _celery("redis", "")),
    "celery-redis-aof": Case("Celery on Redis, AOF every second", _celery("redis-aof", "appendonly yes; ")),
    "celery-redis-always": Case(
        "Celery on Redis, AOF always", _celery("redis-durable", "appendonly yes, appendfsync always; ")
    ),
    "celery-rabbitmq": Case("Celery on RabbitMQ, as installed", _celery("rabbitmq", "")),
    "celery-rabbitmq-confirms": Case(
        "Celery on RabbitMQ, confirms", _celery("rabbitmq", f"{CONFIRMED}, ", "confirmed")
    ),
    "celery-rabbitmq-quorum": Case(
        "Celery on RabbitMQ, confirms and quorum queue", _celery("rabbitmq", f"{CONFIRMED}, {QUORUM}, ", "durable")
    ),
    "rq": Case(
        "RQ on Redis, as installed",
        System(
            "rq",
            "rq_app",
            ("redis",),
            (("rq", "worker", "--quiet", "--worker-class", "rq.worker.SimpleWorker", "bench"),) * 2,
            "SimpleWorker, the faster one",
            "rq",
        ),
    ),
    "dramatiq-redis": Case("Dramatiq on Redis, as installed", _dramatiq("redis", "none")),
    "dramatiq-rabbitmq": Case("Dramatiq on RabbitMQ, as installed", _dramatiq("rabbitmq", "none")),
    "dramatiq-rabbitmq-confirms": Case(
        "Dramatiq on RabbitMQ, confirms", _dramatiq("rabbitmq", "confirm_delivery=True", "confirmed")
    ),
}
"""By the name that --only knows."""
