"""Broker URLs: ours are understood, those of others are answered with the one to write."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker import App
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.foreign_urls import ForeignUrl, parse
from tqbroker.urls import target_of


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("tq://localhost", "localhost:7730"),
        ("tq://localhost/", "localhost:7730"),
        ("tq://10.0.0.5:9000", "10.0.0.5:9000"),
        ("tq://[::1]", "[::1]:7730"),
        ("tq://[::1]:9000", "[::1]:9000"),
        ("tq+unix:///run/tqbroker.sock", "unix:/run/tqbroker.sock"),
        ("TQ://localhost", "localhost:7730"),
        (" tq://localhost\n", "localhost:7730"),
        ("TQ+unix:///run/Broker.sock", "unix:/run/Broker.sock"),
    ],
)
def test_our_urls_give_what_grpc_connects_to(url: str, target: str) -> None:
    assert target_of(url) == target


@pytest.mark.parametrize(
    "url",
    [
        *["", "localhost", "localhost:7730", "tq://", "tq://:7730", "tq://h:0", "tq://h:99999", "tq://h:x"],
        *["tq://h/vhost", "tq://h?x=1", "tq://a,b", "tq://::1", "tq+unix://sock", "tq+unix:///", "tqs://h"],
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"write tq(\+unix)?://"):
        target_of(url)


def test_a_password_is_never_shown() -> None:
    for address in ("user:secret@host", "user:secret@host//", ":secret@host/0", "u:p/secret@host//", "u:p?secret@host"):
        for scheme in ("tq://", "tqs://", "amqp://", "redis://", "tg://", ""):
            with pytest.raises(ImproperlyConfigured) as caught:
                target_of(scheme + address)
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "product"),
    [
        ("pyamqp://guest@rabbit//", "'pyamqp://guest@rabbit:5672//' is RabbitMQ"),
        ("amqps://u:p@mq.example.org/vh", "'amqps://u:**@mq.example.org:5671/vh' is RabbitMQ"),
        ("amqp://u:p/w@host//", "'amqp://u:**@host:5672//' is RabbitMQ"),
        ("redis://cache:6380/1", "'redis://cache:6380/1' is Redis"),
        ("rediss://[::1]:6380/1", "is Redis"),
        ("redis+socket:///tmp/redis.sock", "'redis+socket:///tmp/redis.sock' is Redis"),
        ("sqs://", "'sqs://' is Amazon SQS"),
        ("sqs://AKIA:key@", "'sqs://AKIA:**@' is Amazon SQS"),
        ("amqp://a;amqp://b:1", "'amqp://a:5672' is RabbitMQ"),
        ("memory://", "'memory://' is an in-memory broker"),
    ],
)
def test_the_url_of_another_broker_is_answered_in_one_sentence(url: str, product: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        target_of(url)

    assert product in str(caught.value)
    assert "on the same machine" in str(caught.value)
    assert "write broker='tq://localhost' (or tq+unix:///path/to.sock)" in str(caught.value)


def test_a_misspelt_scheme_is_answered_with_ours() -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"unknown scheme 'tg': did you mean tq://\? write broker='tq://local"
    ):
        target_of("tg://host")


def test_what_is_no_text_is_no_url() -> None:
    wrong: Any = 5
    with pytest.raises(ImproperlyConfigured, match="broker 5 is not a URL but of type int: write tq://host"):
        App("t", broker=wrong)


def test_a_foreign_url_is_read_in_full() -> None:
    assert parse("amqp://us%40er:p%2Fw@host:5673/v%2Fh?heartbeat=10") == [
        ForeignUrl("amqp", "us@er", "p/w", "host", 5673, "v/h")
    ]
    assert [(url.scheme, url.host, url.port) for url in parse("redis://a; b:7000 ;rediss://c")] == [
        ("redis", "a", 6379),
        ("redis", "b", 7000),
        ("rediss", "c", 6379),
    ]
    assert [url.host for url in parse("mongodb://a,b,c/db")] == ["a"]
