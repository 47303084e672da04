"""What running jobs say of themselves, on its way to the broker: kept until it is on the disk there.

Of each job only the newest progress and checkpoint are kept. A job that waits for its checkpoint is told when the
message that carried it is acknowledged, or why it never will be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from tqbroker_worker.protocol import Annotate, Note, Noted

MESSAGE_BYTES = 2 << 20
"""Bytes of annotations in one message, roughly: two checkpoints of the largest size."""
LOST = "the broker has given this job to another worker: its checkpoint is not stored"

Tell = Callable[[Noted], None]


@dataclass(slots=True)
class Annotation:
    """The newest words of one job, and who waits to hear that they are durable."""

    token: int
    note: Note | None = None
    checkpoint: bytes | None = None
    format: str = ""
    waiting: list[tuple[int, Tell]] = field(default_factory=list)

    def merge(self, newer: Annotation) -> None:
        """Takes over what the newer one says."""
        self.note = newer.note or self.note
        if newer.checkpoint is not None:
            self.checkpoint, self.format = newer.checkpoint, newer.format
        self.waiting += newer.waiting

    def outdate(self, newer: Annotation) -> None:
        """Leaves out what the newer one, which is durable, says in its place."""
        if newer.note is not None:
            self.note = None
        if newer.checkpoint is not None:
            self.checkpoint = None

    def size(self) -> int:
        """Bytes, roughly."""
        return len(self.checkpoint or b"") + (len(self.note.meta) if self.note else 0)

    def tell(self, error: str = "") -> None:
        """Says to all who wait what became of it."""
        for number, tell in self.waiting:
            tell(Noted(number, error))


class Notes:
    """Every annotation that is not yet known to be durable."""

    def __init__(self) -> None:
        self._pending: dict[int, Annotation] = {}
        self._sent: deque[tuple[int, list[Annotation]]] = deque()
        self._later: list[Annotation] = []

    @property
    def waiting(self) -> int:
        """Annotations to send."""
        return len(self._pending)

    @property
    def messages_out(self) -> int:
        """Messages with annotations that are not acknowledged."""
        return len(self._sent)

    def add(self, message: Annotate, tell: Tell) -> None:
        """A child says something of a job. `tell` passes the answer back to it."""
        waiting = [(message.number, tell)] if message.number else []
        self._put(Annotation(message.token, message.note, message.checkpoint, message.format, waiting))

    def take(self, number: int) -> list[Annotation]:
        """Annotations for the message with this number, as many as it should carry."""
        taken: list[Annotation] = []
        size = 0
        for token in list(self._pending):
            annotation = self._pending[token]
            if taken and size + annotation.size() > MESSAGE_BYTES:
                break
            del self._pending[token]
            taken.append(annotation)
            size += annotation.size()
        if taken:
            self._sent.append((number, taken))
        return taken

    def acked(self, number: int) -> None:
        """Everything up to this message is durable, but for what was refused before."""
        while self._sent and self._sent[0][0] <= number:
            for annotation in self._sent.popleft()[1]:
                annotation.tell()
                for older in self._later:
                    if older.token == annotation.token:
                        older.outdate(annotation)

    def is_silent(self, tokens: Collection[int]) -> bool:
        """Whether nothing that these jobs said is still to be sent."""
        return self._pending.keys().isdisjoint(tokens)

    def refused(self, final: Mapping[int, str], later: Collection[int]) -> set[int]:
        """The broker did not store what these jobs said: for this reason for good, or for the time being.

        Gives those of them that had said something: of the others it did not store the outcome.
        """
        said: set[int] = set()
        for at, (number, sent) in enumerate(self._sent):
            if not any(annotation.token in final or annotation.token in later for annotation in sent):
                continue
            kept: list[Annotation] = []
            for annotation in sent:
                if annotation.token in later:
                    self._later.append(annotation)
                    said.add(annotation.token)
                elif (why := final.get(annotation.token)) is not None:
                    annotation.tell(why)
                    said.add(annotation.token)
                else:
                    kept.append(annotation)
            self._sent[at] = (number, kept)
        return said

    def retry(self) -> None:
        """What waited because the broker could not store it is pending again, behind what was said since."""
        older, self._later = self._later, []
        self._before(older)

    def rewind(self) -> None:
        """The stream broke: everything that was sent on it is pending again."""
        older = [*self._later, *(annotation for _, sent in self._sent for annotation in sent)]
        self._later = []
        self._sent.clear()
        self._before(older)

    def drop(self, tokens: Collection[int]) -> None:
        """Forgets what jobs said whose leases are not ours any more."""
        for token in tokens:
            if (annotation := self._pending.pop(token, None)) is not None:
                annotation.tell(LOST)

    def keep_only(self, tokens: Collection[int]) -> None:
        """Forgets what was said by any other job: they have ended, and the broker knows."""
        self.drop([token for token in self._pending if token not in tokens])

    def _before(self, older: list[Annotation]) -> None:
        newer, self._pending = self._pending, {}
        for annotation in (*older, *newer.values()):
            self._put(annotation)

    def _put(self, annotation: Annotation) -> None:
        if (known := self._pending.get(annotation.token)) is None:
            self._pending[annotation.token] = annotation
        else:
            known.merge(annotation)
