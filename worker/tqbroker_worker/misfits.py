"""Deliveries whose columns do not fit together: which job is which nobody can say, so none of them may run.

A broker of ours sends none. One of another version, or what has been put between, must not end the worker: the jobs
fail, with words.
"""

from __future__ import annotations

from tqbroker.failures import FailureData
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_worker.jobs import UUID_BYTES, Head, Jobs

_NOBODY = bytes(UUID_BYTES)


def misfit(batch: pb.DeliveryBatch) -> str:
    """What is wrong with a delivery, in words; empty when all is well."""
    count = len(batch.tokens)
    ids, uuids = batch.ids, len(batch.ids.uuids)
    if uuids % UUID_BYTES or uuids // UUID_BYTES + len(ids.texts) != count:
        return f"ids are {uuids} bytes of UUIDs and {len(ids.texts)} texts"
    if len(batch.args) != count:
        return f"args are {len(batch.args)}"
    if len(set(batch.tokens)) != count:
        return "some tokens are the same"
    optional = (
        ("retries", len(batch.retries)),
        ("lost_leases", len(batch.lost_leases)),
        ("due_unix_ms", len(batch.due_unix_ms)),
        ("expires_unix_ms", len(batch.expires_unix_ms)),
        ("checkpoints", len(batch.checkpoints)),
        ("places", len(batch.places)),
    )
    return next((f"{name} are {length}" for name, length in optional if length not in (0, count)), "")


def unfit(batch: pb.DeliveryBatch) -> Jobs:
    """Its jobs as far as they can be named: under no id where the ids are what does not fit."""
    tokens = list(dict.fromkeys(batch.tokens))
    head = Head(batch.task, batch.queue, batch.priority, batch.format)
    fits = len(batch.ids.uuids) == UUID_BYTES * len(tokens) and not batch.ids.texts
    uuids = batch.ids.uuids if fits else _NOBODY * len(tokens)
    return Jobs(head, uuids, [], tokens, [b""] * len(tokens), [], [])


def failure(batch: pb.DeliveryBatch, wrong: str) -> FailureData:
    """Why they fail."""
    message = (
        f"the broker has delivered {len(batch.tokens)} jobs whose columns do not fit together: {wrong}; "
        "run the same version of tqbroker there and here"
    )
    return FailureData("InvalidTaskError", "tqbroker.exceptions", message)
