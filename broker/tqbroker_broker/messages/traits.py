"""What a plain job does not have: from the wire, checked, and back."""

from __future__ import annotations

from functools import lru_cache

from tqbroker.v1 import job_pb2 as pb
from tqbroker_broker.messages.checks import LATEST_MS, check_name, check_names, check_range
from tqbroker_broker.refusals import Invalid
from tqbroker_broker.rules import PLAIN, Traits, Unique, UniqueConflict, UniqueUntil

MAX_TENANT = 128
MAX_NAME = 255
MAX_LIMITS = 8
MAX_LABELS = 16
MAX_STAMPS = 32
KEY_BYTES = 16
"""Bytes of a unique key."""

_KNOWN = 1024
"""Different traits that are kept as one object each; of more the ones longest unused are made anew."""


def read_traits(batch: pb.JobBatch) -> Traits:
    """The traits of a batch: PLAIN itself when it has none, one object for equal ones. Raises Invalid."""
    if not batch.HasField("traits"):
        _check_keys(batch, None)
        return PLAIN
    wire = batch.traits
    _check_lane(wire)
    _check_rest(wire)
    traits = _interned(
        Traits(
            wire.tenant,
            wire.ordering_key,
            tuple(sorted(set(wire.limits))),
            tuple(sorted(set(wire.requires))),
            tuple(dict.fromkeys(wire.stamps)),
            wire.time_limit_ms,
            wire.soft_time_limit_ms,
            _unique(wire.unique) if wire.HasField("unique") else None,
            wire.shadow,
        )
    )
    _check_keys(batch, traits.unique)
    return traits


@lru_cache(_KNOWN)
def _interned(traits: Traits) -> Traits:
    return PLAIN if traits == PLAIN else traits


def _check_lane(wire: pb.Traits) -> None:
    if wire.tenant:
        check_name("tenant", wire.tenant, MAX_TENANT)
    if wire.ordering_key:
        check_name("ordering_key", wire.ordering_key, MAX_NAME)
    check_names("limits", wire.limits, MAX_LIMITS, MAX_NAME)
    for name in wire.limits:
        if name.endswith("*") or name.startswith(("task:", "queue:")):
            raise Invalid(
                f"one of the limits is {name!r}: a job names limits without a trailing '*', which stands for many, and"
                " without the prefixes task: and queue:, whose limits it has anyway"
            )
    check_names("requires", wire.requires, MAX_LABELS, MAX_NAME)


def _check_rest(wire: pb.Traits) -> None:
    check_names("stamps", wire.stamps, MAX_STAMPS, MAX_NAME)
    for stamp in wire.stamps:
        if stamp.find("=") < 1:
            raise Invalid(f"one of the stamps is {stamp!r}: it must be name=value")
    if wire.shadow:
        check_name("shadow", wire.shadow, MAX_NAME)
    hard, soft = wire.time_limit_ms, wire.soft_time_limit_ms
    check_range("time_limit_ms", hard, 0, LATEST_MS)
    check_range("soft_time_limit_ms", soft, 0, LATEST_MS)
    if hard and soft >= hard:
        raise Invalid(
            f"soft_time_limit_ms is {soft} and time_limit_ms is {hard}: the soft limit must be below the hard one, so"
            " that the job can tidy up"
        )


def _unique(wire: pb.Unique) -> Unique:
    try:
        until, conflict = UniqueUntil(wire.until), UniqueConflict(wire.conflict)
    except ValueError:
        raise Invalid(
            f"unique has until {wire.until} and conflict {wire.conflict}: both must be set, each to one of"
            " QUEUED, STARTED, FINISHED, TIME and REJECT, KEEP, REPLACE"
        ) from None
    check_range("unique.for_ms", wire.for_ms, 1 if until is UniqueUntil.TIME else 0, LATEST_MS)
    return Unique(until, conflict, wire.for_ms)


def _check_keys(batch: pb.JobBatch, unique: Unique | None) -> None:
    if unique is None:
        if batch.unique_keys:
            raise Invalid("unique_keys are given, but traits.unique does not say what they are for: set both or none")
        return
    if len(batch.unique_keys) != len(batch.args):
        raise Invalid(f"there are {len(batch.unique_keys)} unique_keys for {len(batch.args)} jobs: each needs one")
    if any(len(key) != KEY_BYTES for key in batch.unique_keys):
        raise Invalid(f"a unique key must have {KEY_BYTES} bytes: send a digest of what is to be unique")


@lru_cache(_KNOWN)
def write_traits(traits: Traits) -> pb.Traits | None:
    """The traits for the wire; None for a plain job."""
    if traits == PLAIN:
        return None
    unique = traits.unique
    return pb.Traits(
        tenant=traits.tenant,
        ordering_key=traits.ordering_key,
        limits=traits.limits,
        requires=traits.requires,
        stamps=traits.stamps,
        time_limit_ms=traits.time_limit_ms,
        soft_time_limit_ms=traits.soft_time_limit_ms,
        unique=_write_unique(unique) if unique else None,
        shadow=traits.shadow,
    )


def _write_unique(unique: Unique) -> pb.Unique:
    return pb.Unique(
        until=pb.UniqueUntil.ValueType(int(unique.until)),
        conflict=pb.UniqueConflict.ValueType(int(unique.conflict)),
        for_ms=unique.for_ms,
    )
