from __future__ import annotations

from typing import Any

from tqbroker import codec
from tqbroker.call import Batch, Head
from tqbroker.ids import key_of
from tqbroker.publish_signals import after, before
from tqbroker.signals import after_task_publish, before_task_publish


def batch(*names: str, headers: bytes = b"") -> Batch:
    head = Head("tasks.add", "mail", 3, "json", headers=headers)
    return Batch(head, [key_of(name) for name in names], [codec.encode_call((name,), {"y": 1}) for name in names])


def test_receivers_get_each_job_with_celerys_arguments() -> None:
    seen: list[Any] = []

    @before_task_publish.connect(sender="tasks.add")
    def tell(sender: str, body: Any, routing_key: str, headers: Any, properties: Any, **others: Any) -> None:
        seen.append((sender, body, routing_key, headers["id"], headers["task"], properties["correlation_id"]))
        assert {"exchange", "declare", "retry_policy", "signal"} <= others.keys()

    sent = batch("one", "two")
    assert before(sent) == [sent]
    assert seen[0] == ("tasks.add", (("one",), {"y": 1}, {}), "mail", "one", "tasks.add", "one")
    assert [row[3] for row in seen] == ["one", "two"]


def test_headers_that_a_receiver_adds_travel_with_the_job() -> None:
    @before_task_publish.connect
    def trace(headers: Any, **_: Any) -> None:
        headers["trace"] = f"of {headers['id']}"
        headers["retries"] = 7  # what is ours stays ours

    first, second = before(batch("one", "two", headers=b'{"lang":"de"}'))
    assert codec.decode(first.head.headers, "json") == {"lang": "de", "trace": "of one"}
    assert (first.keys, second.keys) == (["one"], ["two"])
    assert second.head == first.head._replace(headers=second.head.headers)


def test_after_the_publish_only_durable_jobs_are_told() -> None:
    seen: list[str] = []

    @after_task_publish.connect
    def tell(headers: Any, body: Any, exchange: str, routing_key: str, **_: Any) -> None:
        seen.append(headers["id"])

    after([batch("one", "two", "three")], [key_of("two")])
    assert seen == ["one", "three"]
