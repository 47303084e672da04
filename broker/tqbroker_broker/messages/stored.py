"""Why a job was not stored, in words."""

from __future__ import annotations

from tqbroker_broker.answers import Stored
from tqbroker_broker.messages.ids import show
from tqbroker_broker.records import JobId
from tqbroker_broker.refusals import IdConflict, NotUnique, QueueFull, RefusalError


def refusal(what: Stored, job: JobId, holder: JobId = b"") -> RefusalError:
    """Why this job was not stored; a full queue says `full`. `holder` has its unique key."""
    if what is Stored.NOT_UNIQUE:
        who = show(holder)
        return NotUnique(f"job {who} has the same unique key: wait for its end, or submit with another key", holder=who)
    return IdConflict(f"the id {show(job)} belongs to a different job already: use a new id for another job")


def full(queue: str, max_length: int) -> QueueFull:
    """Why no job of this queue was stored."""
    text = f"queue {queue} holds its max_length of {max_length} jobs: try again when some of them have been started"
    return QueueFull(text, queue=queue)
