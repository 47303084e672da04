"""Our values to wire messages and back; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tqbroker.v1 import job_pb2, workflow_pb2
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_worker.jobs import UUID_BYTES, Extra, Head, Jobs, Traits
from tqbroker_worker.ledger import Ending, Outcome, Successes
from tqbroker_worker.notes import Annotation
from tqbroker_worker.places import Trail
from tqbroker_worker.placing import place_of

LONGEST_US = (1 << 32) - 1
"""Microseconds of a run that the column of run times can tell."""

Lease = tuple[int, Jobs]
_PLAIN = Traits()
_NO_EXTRA = Extra()
_NO_CHECKPOINT, _NOWHERE = pb.Checkpoint(), workflow_pb2.Place()


def jobs_of(batch: pb.DeliveryBatch) -> Iterator[Jobs]:
    """The jobs of a delivery, UUIDs and texts apart."""
    traits = _traits(batch) if batch.HasField("traits") or batch.root else None
    head = Head(batch.task, batch.queue, batch.priority, batch.format, batch.headers, batch.ignore_result, traits)
    jobs = Jobs(
        head,
        batch.ids.uuids,
        list(batch.ids.texts),
        list(batch.tokens),
        list(batch.args),
        list(batch.retries),
        list(batch.lost_leases),
        _extras(batch) if _has_extras(batch) else {},
    )
    if not jobs.uuids or not jobs.texts:
        yield jobs
        return
    texts = jobs.texts
    count = len(jobs.uuids) // UUID_BYTES
    jobs.texts = []
    yield jobs.part(0, count)
    rest = jobs.part(count, len(jobs))
    rest.texts = texts
    yield rest


def _traits(batch: pb.DeliveryBatch) -> Traits | None:
    """What of them a child needs; None when it is nothing."""
    traits = batch.traits
    ours = Traits(
        traits.soft_time_limit_ms,
        traits.time_limit_ms,
        traits.shadow,
        tuple(traits.stamps),
        traits.tenant,
        traits.ordering_key,
        batch.parent,
        batch.root,
    )
    return ours if ours != _PLAIN else None


def _has_extras(batch: pb.DeliveryBatch) -> bool:
    return bool(batch.due_unix_ms or batch.expires_unix_ms or batch.checkpoints or batch.places)


def _extras(batch: pb.DeliveryBatch) -> dict[int, Extra]:
    extras: dict[int, Extra] = {}
    count = len(batch.tokens)
    columns = zip(
        batch.due_unix_ms or [0] * count,
        batch.expires_unix_ms or [0] * count,
        batch.checkpoints or [_NO_CHECKPOINT] * count,
        batch.places or [_NOWHERE] * count,
        strict=True,
    )
    for at, (due_ms, expires_ms, checkpoint, place) in enumerate(columns):
        left, form = (checkpoint.data, checkpoint.format) if checkpoint.format else (None, "")
        extra = Extra(due_ms, expires_ms, left, form, place_of(place) if place.workflow else None)
        if extra != _NO_EXTRA:
            extras[at] = extra
    return extras


def put_annotations(request: pb.WorkRequest, annotations: Iterable[Annotation]) -> None:
    """Adds what running jobs say of themselves."""
    for annotation in annotations:
        message = request.annotations.add(token=annotation.token)
        if (note := annotation.note) is not None:
            message.progress.CopyFrom(
                job_pb2.Progress(
                    state=note.state,
                    meta=note.meta,
                    format=note.format,
                    done=note.done,
                    total=note.total,
                    note=note.note,
                    at_unix_ms=note.at_ms,
                )
            )
        if annotation.checkpoint is not None:
            message.checkpoint.CopyFrom(pb.Checkpoint(data=annotation.checkpoint, format=annotation.format))


def held(leases: Iterable[Lease]) -> pb.Held:
    """Leases with their ids, UUIDs first as the wire wants it."""
    by_uuid, by_text = _by_kind(leases)
    ids = job_pb2.Ids(
        uuids=b"".join(source.uuid_of(token) or b"" for token, source in by_uuid),
        texts=[source.id_of(token) for token, source in by_text],
    )
    return pb.Held(ids=ids, tokens=[token for token, _ in (*by_uuid, *by_text)])


def put_outcomes(request: pb.WorkRequest, outcomes: list[Outcome]) -> None:
    """Adds outcomes to a message: first-time successes of one format share their columns."""
    fresh: dict[str, pb.Successes] = {}
    for outcome in outcomes:
        if isinstance(outcome, Ending):
            request.endings.append(_ending(outcome))
        elif outcome.again:
            for part in _kinds(outcome):
                columns = _extend(request.successes.add(format=part.done.format), part)
                columns.ids.CopyFrom(held(part.leases()).ids)
        else:
            name = outcome.done.format
            if name not in fresh:
                fresh[name] = request.successes.add(format=name)
            _extend(fresh[name], outcome)


def _extend(columns: pb.Successes, part: Successes) -> pb.Successes:
    done, before = part.done, len(columns.tokens)
    columns.tokens.extend(done.tokens)
    columns.results.extend(done.results)
    columns.started_unix_ms.extend(done.started_ms)
    columns.runtime_us.extend([min(us, LONGEST_US) for us in done.runtime_us])
    for index, trail in done.trails.items():
        columns.trails.add(index=before + index, children=_children(trail))
    return columns


def _children(trail: Trail) -> job_pb2.Ids:
    return job_pb2.Ids(uuids=trail.uuids, texts=trail.texts)


def _kinds(outcome: Successes) -> list[Successes]:
    """Those with UUIDs and those with texts apart, so that ids and the other columns keep the same order."""
    by_uuid, by_text = _by_kind(outcome.leases())
    parts = [outcome.only({token for token, _ in leases}.__contains__) for leases in (by_uuid, by_text)]
    return [part for part in parts if part is not None]


def _by_kind(leases: Iterable[Lease]) -> tuple[list[Lease], list[Lease]]:
    by_uuid: list[Lease] = []
    by_text: list[Lease] = []
    for lease in leases:
        (by_text if lease[1].texts else by_uuid).append(lease)
    return by_uuid, by_text


def _ending(outcome: Ending) -> pb.Ending:
    ended = outcome.ended
    message = pb.Ending(
        token=ended.token,
        verdict=pb.Verdict.ValueType(ended.verdict),
        retry_in_ms=ended.retry_in_ms,
        started_unix_ms=ended.started_ms,
        runtime_us=ended.runtime_us,
        args=ended.args,
        workflow=ended.workflow,
    )
    if (failure := ended.failure) is not None:
        message.failure.CopyFrom(job_pb2.Failure(**failure._asdict()))
    if ended.trail is not None:
        message.children.CopyFrom(_children(ended.trail))
    if outcome.again:
        message.ids.CopyFrom(held(outcome.leases()).ids)
    return message
