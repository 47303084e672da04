"""Traits between wire and records: everything checked, equal ones one object, plain jobs untouched."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker.v1 import job_pb2, queue_pb2
from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Extra, Failure, Leased, PastAttempt, Progress, Verdict
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.messages.deliveries import write_deliveries
from tqbroker_broker.messages.intake import Intake, read_request
from tqbroker_broker.messages.status import write_status
from tqbroker_broker.messages.traits import write_traits
from tqbroker_broker.records import Head, NewJobs, State, Time, text_key
from tqbroker_broker.refusals import Invalid
from tqbroker_broker.rules import PLAIN, Traits, Unique, UniqueConflict, UniqueUntil

NOW = Time(1_800_000_000_000, 5.0)
UNIQUE = job_pb2.Unique(until=job_pb2.UNIQUE_UNTIL_FINISHED, conflict=job_pb2.UNIQUE_CONFLICT_REJECT)


def read(count: int = 1, traits: job_pb2.Traits | None = None, **fields: Any) -> Intake:
    ids = job_pb2.Ids(uuids=bytes(range(16)) * count)
    whole: dict[str, Any] = {"task": "t", "format": "json", "ids": ids, "args": [b"[]"] * count, **fields}
    request = queue_pb2.EnqueueRequest(batches=[job_pb2.JobBatch(traits=traits, **whole)])
    return read_request(request, BrokerConfig(max_args_size=1024), NOW)


def jobs(traits: job_pb2.Traits | None = None, **fields: Any) -> NewJobs:
    intake = read(traits=traits, **fields)
    assert intake.refused == []
    return intake.batches[0]


def refusal(traits: job_pb2.Traits, **fields: Any) -> str:
    intake = read(traits=traits, **fields)
    (refused,) = intake.refused
    assert isinstance(refused.error, Invalid)
    return str(refused.error)


def test_a_job_without_traits_is_plain_itself() -> None:
    assert jobs().head.traits is PLAIN
    assert jobs(job_pb2.Traits()).head.traits is PLAIN
    assert jobs().unique == ()


def test_every_trait_is_read_and_written_back() -> None:
    wire = job_pb2.Traits(
        tenant="acme",
        ordering_key="order 7",
        limits=["api", "mail"],
        requires=["gpu", "region=eu"],
        stamps=["customer=12"],
        time_limit_ms=900,
        soft_time_limit_ms=800,
        unique=job_pb2.Unique(until=job_pb2.UNIQUE_UNTIL_TIME, conflict=job_pb2.UNIQUE_CONFLICT_REPLACE, for_ms=60_000),
        shadow="nightly",
    )
    traits = jobs(wire, unique_keys=[b"k" * 16]).head.traits
    assert traits == Traits(
        "acme",
        "order 7",
        ("api", "mail"),
        ("gpu", "region=eu"),
        ("customer=12",),
        900,
        800,
        Unique(UniqueUntil.TIME, UniqueConflict.REPLACE, 60_000),
        "nightly",
    )
    assert write_traits(traits) == wire
    assert write_traits(PLAIN) is None


def test_equal_traits_are_one_object_and_the_order_of_their_names_does_not_matter() -> None:
    one = jobs(job_pb2.Traits(limits=["a", "b", "a"])).head.traits
    two = jobs(job_pb2.Traits(limits=["b", "a"]), task="u").head.traits
    assert one is two


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tenant": "t" * 129}, "tenant"),
        ({"tenant": "a\tb"}, "tenant"),
        ({"ordering_key": "k" * 256}, "ordering_key"),
        ({"ordering_key": "a\nb"}, "ordering_key"),
        ({"limits": [str(n) for n in range(9)]}, "9 limits"),
        ({"limits": [""]}, "limits"),
        ({"limits": ["l" * 256]}, "limits"),
        ({"limits": ["mail*"]}, "trailing '*'"),
        ({"limits": ["task:other"]}, "prefixes"),
        ({"requires": [str(n) for n in range(17)]}, "17 requires"),
        ({"requires": ["\0"]}, "requires"),
        ({"stamps": [f"n={n}" for n in range(33)]}, "33 stamps"),
        ({"stamps": ["no value"]}, "name=value"),
        ({"stamps": ["=value"]}, "name=value"),
        ({"shadow": "s" * 256}, "shadow"),
        ({"time_limit_ms": 1 << 60}, "time_limit_ms"),
        ({"time_limit_ms": 5, "soft_time_limit_ms": 5}, "soft"),
        ({"unique": job_pb2.Unique()}, "unique"),
        ({"unique": job_pb2.Unique(until=9, conflict=1)}, "until 9"),  # type: ignore[arg-type]
        ({"unique": job_pb2.Unique(until=4, conflict=1)}, "for_ms"),  # type: ignore[arg-type]
    ],
)
def test_what_a_trait_may_not_be_is_said_in_words(fields: dict[str, Any], words: str) -> None:
    assert words in refusal(job_pb2.Traits(**fields), unique_keys=[b"k" * 16] if "unique" in fields else [])


@pytest.mark.parametrize("keys", [[], [b"k" * 15], [b"k" * 16] * 2])
def test_each_unique_job_needs_one_key_of_16_bytes(keys: list[bytes]) -> None:
    assert "unique" in refusal(job_pb2.Traits(unique=UNIQUE), unique_keys=keys)


def test_keys_without_a_rule_for_them_are_refused() -> None:
    assert "unique_keys" in refusal(job_pb2.Traits(tenant="a"), unique_keys=[b"k" * 16])
    assert "unique_keys" in str(read(unique_keys=[b"k" * 16]).refused[0].error)


def test_the_keys_of_refused_jobs_go_with_them() -> None:
    intake = read(
        2,
        job_pb2.Traits(unique=UNIQUE),
        args=[b"x" * 2000, b"[]"],
        unique_keys=[b"1" * 16, b"2" * 16],
    )
    assert intake.batches[0].unique == [b"2" * 16]
    assert [refused.job for refused in intake.refused] == [0]


def test_the_digest_tells_jobs_apart_by_every_trait_and_by_their_key() -> None:
    changes: list[job_pb2.Traits] = [
        job_pb2.Traits(),
        job_pb2.Traits(tenant="a"),
        job_pb2.Traits(ordering_key="a"),
        job_pb2.Traits(limits=["a"]),
        job_pb2.Traits(requires=["a"]),
        job_pb2.Traits(stamps=["a=b"]),
        job_pb2.Traits(time_limit_ms=1),
        job_pb2.Traits(soft_time_limit_ms=1),
        job_pb2.Traits(shadow="a"),
    ]
    digests = [jobs(each).digests[0] for each in changes]
    digests += [jobs(job_pb2.Traits(unique=UNIQUE), unique_keys=[key * 16]).digests[0] for key in (b"1", b"2")]
    assert len(set(digests)) == len(changes) + 2
    assert jobs(job_pb2.Traits(limits=["a", "b"])).digests == jobs(job_pb2.Traits(limits=["b", "a"])).digests


def test_a_delivery_carries_traits_times_and_checkpoints_only_where_there_are_some() -> None:
    uuids = [bytes([n]) * 16 for n in range(3)]
    head = Head("t", "q", 0, "json", traits=Traits(tenant="a"))
    columns = [1, 2, 3], [b""] * 3, [0] * 3, [0] * 3
    (plain,) = write_deliveries(Leased(Head("t", "q", 0, "json"), uuids, *columns, {}))
    assert not plain.HasField("traits")
    assert (len(plain.due_unix_ms), len(plain.expires_unix_ms), len(plain.checkpoints)) == (0, 0, 0)
    (batch,) = write_deliveries(Leased(head, uuids, *columns, {1: Extra(5, 0, b"half", "json"), 2: Extra(0, 9)}))
    assert batch.traits.tenant == "a"
    assert list(batch.due_unix_ms) == [0, 5, 0]
    assert list(batch.expires_unix_ms) == [0, 0, 9]
    assert [each.data for each in batch.checkpoints] == [b"", b"half", b""]


def test_extras_stay_with_their_jobs_when_ids_of_both_forms_are_mixed() -> None:
    ids = [b"1" * 16, text_key("a"), text_key("b")]
    leased = Leased(Head("t", "q", 0, "json"), ids, [1, 2, 3], [b""] * 3, [0] * 3, [0] * 3, {2: Extra(7)})
    first, second = write_deliveries(leased)
    assert list(first.due_unix_ms) == []
    assert list(second.due_unix_ms) == [0, 7]


def test_a_status_tells_traits_progress_and_history() -> None:
    job = Job(
        b"1" * 16,
        State.RUNNING,
        head=Head("t", "q", 0, "json", traits=Traits(stamps=("a=b",))),
        progress=Progress("LOADING", b"{}", "json", 3.0, 10.0, "rows", 77),
        attempts=(PastAttempt("w1", 5, Verdict.RETRY, 1, 2, Failure("E", "m", "no"), 9),),
    )
    status = write_status(job)
    assert list(status.traits.stamps) == ["a=b"]
    assert (status.progress.state, status.progress.done, status.progress.at_unix_ms) == ("LOADING", 3.0, 77)
    (attempt,) = status.attempts
    assert (attempt.worker, attempt.verdict, attempt.failure.type, attempt.next_due_unix_ms) == ("w1", "retry", "E", 9)
