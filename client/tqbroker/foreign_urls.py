"""URLs of other brokers, read in full and answered with the one to write here."""

from __future__ import annotations

import difflib
from typing import NamedTuple
from urllib.parse import unquote

from tqbroker.urls import DEFAULT_URL


class _Kind(NamedTuple):
    product: str
    port: int | None


_RABBITMQ = _Kind("RabbitMQ", 5672)
_REDIS = _Kind("Redis", 6379)
_SQS = _Kind("Amazon SQS", None)
_SQL = _Kind("an SQL database", None)

KINDS = {
    "amqp": _RABBITMQ,
    "pyamqp": _RABBITMQ,
    "librabbitmq": _RABBITMQ,
    "amqps": _RABBITMQ._replace(port=5671),
    "redis": _REDIS,
    "rediss": _REDIS,
    "redis+socket": _REDIS._replace(port=None),
    "valkey": _REDIS._replace(product="Valkey"),
    "valkeys": _REDIS._replace(product="Valkey"),
    "sentinel": _REDIS._replace(product="Redis Sentinel", port=26379),
    "sqs": _SQS,
    "gcpubsub": _Kind("Google Pub/Sub", None),
    "azureservicebus": _Kind("Azure Service Bus", None),
    "kafka": _Kind("Kafka", 9092),
    "confluentkafka": _Kind("Kafka", 9092),
    "mongodb": _Kind("MongoDB", 27017),
    "zookeeper": _Kind("ZooKeeper", 2181),
    "consul": _Kind("Consul", 8500),
    "etcd": _Kind("etcd", 2379),
    "nats": _Kind("NATS", 4222),
    "beanstalk": _Kind("beanstalkd", 11300),
    "faktory": _Kind("Faktory", 7419),
    "sqla+postgresql": _SQL,
    "sqlalchemy": _SQL,
    "postgresql": _SQL,
    "postgres": _SQL,
    "filesystem": _Kind("a file system broker", None),
    "memory": _Kind("an in-memory broker", None),
    "http": _Kind("a web address", 80),
    "https": _Kind("a web address", 443),
}


_WRITE = f"write broker={DEFAULT_URL!r} (or tq+unix:///path/to.sock)"


class ForeignUrl(NamedTuple):
    """One URL of another broker. Percent-encoding is undone; `port` has the scheme's default."""

    scheme: str
    user: str
    password: str
    host: str
    port: int | None
    path: str

    def masked(self) -> str:
        """The URL without its password."""
        secret = ":**" if self.password else ""
        login = f"{self.user}{secret}@" if self.user or secret else ""
        port = f":{self.port}" if self.port is not None else ""
        path = f"/{self.path}" if self.path else ""
        return f"{self.scheme}://{login}{self.host}{port}{path}"


def parse(urls: str) -> list[ForeignUrl]:
    """Every URL of a list separated by `;` (Celery's failover list). A URL without scheme has that of the first."""
    found: list[ForeignUrl] = []
    for url in filter(None, (part.strip() for part in urls.split(";"))):
        scheme, separator, rest = url.partition("://")
        if not separator:
            scheme, rest = (found[0].scheme if found else ""), url
        found.append(_parse_one(scheme.lower(), rest))
    return found


def _parse_one(scheme: str, rest: str) -> ForeignUrl:
    login, _, place = rest.rpartition("@")  # the last one: a password may be written with "/", "?" or "@" in it
    user, _, password = login.partition(":")
    authority, _, path = place.partition("?")[0].partition("#")[0].partition("/")
    host, port = _address(authority.split(",")[0])
    kind = KINDS.get(scheme)
    return ForeignUrl(
        scheme=scheme,
        user=unquote(user),
        password=unquote(password),
        host=unquote(host),
        port=port if port is not None else (kind.port if kind else None),
        path=unquote(path),
    )


def _address(text: str) -> tuple[str, int | None]:
    if text.endswith("]") or ":" not in text:
        return text, None
    host, _, port = text.rpartition(":")
    return host, int(port) if port.isascii() and port.isdigit() else None


def explain(urls: str) -> str:
    """One sentence: what this URL is, and the URL to write instead."""
    first = parse(urls)[0] if parse(urls) else ForeignUrl("", "", "", "", None, "")
    kind = KINDS.get(first.scheme)
    if kind is None:
        close = difflib.get_close_matches(first.scheme, ["tq", "tq+unix"], 1, 0.5)
        hint = f"did you mean {close[0]}://? " if close else ""
        return f"broker {first.masked()!r} has the unknown scheme {first.scheme!r}: {hint}{_WRITE}"
    return (
        f"broker {first.masked()!r} is {kind.product}, and tqbroker brings its own broker: "
        f"start `tqbroker serve` on the same machine as this program and {_WRITE}"
    )
