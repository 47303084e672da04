"""What running attempts say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from tqbroker.v1 import job_pb2
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_broker.attempts import Annotation, Progress
from tqbroker_broker.refusals import Invalid, RefusalError, TooLarge

MAX_CHECKPOINT = 1 << 20
"""Bytes of one checkpoint: it is stored beside the job and travels with its next delivery."""

MAX_META = 64 * 1024
"""Bytes of the meta of a progress: it is stored at each call, and shown in lists."""

MAX_STATE, MAX_NOTE, MAX_FORMAT = 255, 1024, 64


class Annotations(NamedTuple):
    """What can be stored, and the tokens of what cannot, with the reason. Their leases go on."""

    good: list[Annotation]
    refused: list[tuple[int, RefusalError]]


def read_annotations(wire: Sequence[pb.Annotation], now_ms: int) -> Annotations:
    """Checks and converts. One that is wrong harms no other."""
    read = Annotations([], [])
    for annotation in wire:
        try:
            read.good.append(_read(annotation, now_ms))
        except RefusalError as error:
            read.refused.append((annotation.token, error))
    return read


def _read(wire: pb.Annotation, now_ms: int) -> Annotation:
    progress = _progress(wire.progress, now_ms) if wire.HasField("progress") else None
    if not wire.HasField("checkpoint"):
        return Annotation(wire.token, progress)
    _check_size("a checkpoint", wire.checkpoint.data, MAX_CHECKPOINT)
    _check_length("format", wire.checkpoint.format, MAX_FORMAT)
    return Annotation(wire.token, progress, wire.checkpoint.data, wire.checkpoint.format)


def _progress(wire: job_pb2.Progress, now_ms: int) -> Progress:
    _check_size("the meta of a progress", wire.meta, MAX_META)
    _check_length("state", wire.state, MAX_STATE)
    _check_length("note", wire.note, MAX_NOTE)
    _check_length("format", wire.format, MAX_FORMAT)
    if not (isfinite(wire.done) and isfinite(wire.total)):
        raise Invalid(f"progress is {wire.done} of {wire.total}: both must be finite numbers")
    return Progress(wire.state, wire.meta, wire.format, wire.done, wire.total, wire.note, wire.at_unix_ms or now_ms)


def _check_size(what: str, data: bytes, limit: int) -> None:
    if len(data) > limit:
        text = f"{what} has {len(data)} bytes and may have {limit}: put large things into a file and store its name"
        raise TooLarge(text, limit_bytes=str(limit))


def _check_length(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise Invalid(f"{what} of an annotation has {len(text)} characters and may have {limit}")
