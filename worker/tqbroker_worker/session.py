"""One worker's conversation with the broker, free of I/O: what to say when, and what each answer changes.

A session outlives streams. On a new stream it introduces itself with every lease it still has, hears which of them are
lost, and sends again what was not acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from tqbroker._daemon import get_logger
from tqbroker._failpoint import hit
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_worker.credit import NOTHING, Credit, Offer
from tqbroker_worker.handover import Handover
from tqbroker_worker.identity import Identity
from tqbroker_worker.ledger import Ledger
from tqbroker_worker.messages import Lease, held, jobs_of, put_annotations, put_outcomes
from tqbroker_worker.misfits import failure, misfit, unfit
from tqbroker_worker.notes import Notes
from tqbroker_worker.refusals import MOST_LOGGED, Refusals

GATHER_MESSAGES = 2
"""With so many messages of outcomes unacknowledged, further ones gather: the broker commits them together anyway."""
GATHER_JOBS = 256
"""So many outcomes are worth a message of their own all the same."""

REPLY_BYTES = 4 << 20
"""Bytes of answers to operators in one message, roughly; the wire takes four times as many."""


class Command(NamedTuple):
    """Something an operator asks: `arguments` is a JSON object."""

    number: int
    name: str
    arguments: bytes


class Session:
    """Builds requests and takes responses in.

    `later(seconds, function)` calls a function after a while; `wake` is called when there is something to send
    that no message brought about.
    """

    def __init__(
        self,
        identity: Identity,
        handover: Handover,
        ledger: Ledger,
        notes: Notes,
        credit: Credit,
        later: Callable[[float, Callable[[], None]], object],
        wake: Callable[[], None],
    ) -> None:
        self.welcome: pb.Welcome | None = None
        """What the broker said at the last contact; None before the first."""
        self.stopping = False
        """Whether the broker has announced its end on this stream."""
        self.identity = identity
        """Who we are to the broker."""
        self.on_terminate: Callable[[int, str], None] = lambda _token, _signal: None
        """Gets each lease whose job is to be stopped by force, and the name of the signal, "" if none was named."""
        self.on_command: Callable[[Command], None] = lambda _command: None
        """Gets what operators ask; the answer goes to `reply`."""
        self.on_beat: Callable[[], None] = lambda: None
        """Called for each heartbeat."""
        self._handover = handover
        self._ledger = ledger
        self._notes = notes
        self._replies: deque[pb.CommandReply] = deque()
        self._consume = False
        self._credit = credit
        self._wake = wake
        self._refusals = Refusals(ledger, notes, later, wake)
        self._log = get_logger("tqbroker.worker")
        self._number = 0
        self._offer: Offer | None = None
        self._open = False
        self._beat_due = False

    # -- up -----------------------------------------------------------------------------------------------------------

    def hello(self) -> pb.WorkRequest:
        """The first message of a new stream."""
        self._open = False
        self._offer = None
        self._beat_due = self.stopping = False
        self._number = 1
        self._ledger.rewind()
        self._notes.rewind()
        self._replies.clear()  # who asked was told that we are away
        self._consume = not self.identity.queues  # no queue in a Hello means the default one
        hello = self.identity.hello()
        if self.welcome is not None:
            hello.store = self.welcome.store
            hello.held.CopyFrom(held(self._leases()))
        return pb.WorkRequest(number=1, hello=hello)

    def request(self) -> pb.WorkRequest | None:
        """The next message, if there is anything to say now. To be asked again after each message and each answer."""
        if not self._open or (self._gathering() and not self._beat_due):
            return None
        offer = self._wanted()
        news = offer.differs(self._offer)
        if not news and not self._anything():
            return None
        message = self._next()
        message.heartbeat, self._beat_due = self._beat_due, False
        message.returned.extend(self._ledger.take_returned())
        if self._notes.waiting:
            put_annotations(message, self._notes.take(message.number))
        # What a job said of itself is stored before it ends: its outcome waits until all of that is sent.
        silent = self._notes.is_silent if self._notes.waiting else None
        if outcomes := self._ledger.take(message.number, silent):
            hit("worker_before_send_outcome")
            put_outcomes(message, outcomes)
        if self._replies:
            self._put_replies(message)
        if self._consume:
            self._consume = False
            message.consume.CopyFrom(pb.Consume(queues=self.identity.queues))
        if news:
            self._offer = offer
            message.credit.CopyFrom(pb.Credit(slots=offer.slots, window=offer.window, fast=sorted(offer.fast)))
        return message

    def _put_replies(self, message: pb.WorkRequest) -> None:
        size = 0
        while self._replies and size < REPLY_BYTES:
            reply = self._replies.popleft()
            message.replies.append(reply)
            size += len(reply.body)

    def consume(self, queues: tuple[str, ...]) -> None:
        """From now on this worker takes jobs from these queues."""
        self.identity = replace(self.identity, queues=queues)
        self._consume = self._open
        self._wake()

    def reply(self, number: int, error: str, body: bytes) -> None:
        """Answers a command; without effect when the stream has broken since."""
        if self._open:
            self._replies.append(pb.CommandReply(command=number, error=error, body=body))
            self._wake()

    def beat(self) -> None:
        """The next message is to be sent even if it says nothing else: the broker answers it."""
        self._beat_due = True
        self.on_beat()

    def leaving(self) -> pb.WorkRequest:
        """The last message of a worker that holds nothing any more."""
        message = self._next()
        message.leaving = True
        self._open = False
        return message

    def state(self) -> str:
        """What this worker has at hand, in words."""
        running, unacknowledged = self._handover.running, len(self._ledger)
        outcomes = f", {unacknowledged} outcomes not acknowledged" if unacknowledged else ""
        return f"{running} running{outcomes}"

    @property
    def window(self) -> int:
        """Most leases that the broker was told to have out to us."""
        return self._offer.window if self._offer is not None else 0

    @property
    def settled(self) -> bool:
        """Whether nothing is left to run or to tell."""
        return self._handover.idle and not len(self._ledger)

    # -- down ---------------------------------------------------------------------------------------------------------

    def received(self, response: pb.WorkResponse) -> None:
        """Takes one message in."""
        if response.HasField("welcome"):
            self._welcomed(response.welcome)
        if response.deliveries:
            hit("worker_after_receive")
            for batch in response.deliveries:
                self._take_delivery(batch)
        if response.refused:
            self._refusals.take(response.refused)
        if response.acked:
            self._ledger.acked(response.acked)
            self._notes.acked(response.acked)
        if response.cancelled or response.terminate:
            self._cancel(response)
        for command in response.commands:
            self.on_command(Command(command.command, command.name, command.arguments))
        self.stopping = self.stopping or response.stopping

    def _take_delivery(self, batch: pb.DeliveryBatch) -> None:
        if wrong := misfit(batch):
            self._handover.fail(unfit(batch), failure(batch, wrong))
        elif batch.tokens:
            for jobs in jobs_of(batch):
                self._handover.offer(jobs)

    def closed(self) -> None:
        """The stream ended: nothing can be said until the next Hello."""
        self._open = False

    def _welcomed(self, welcome: pb.Welcome) -> None:
        before, self.welcome = self.welcome, welcome
        if before is not None and before.store != welcome.store:
            self._drop_everything()
        else:
            self._drop(set(welcome.lost))
        self._notes.keep_only({token for token, _ in self._leases()})
        self._open = True

    def _cancel(self, response: pb.WorkResponse) -> None:
        forced = {each.token: each.signal for each in response.terminate}
        self._handover.cancel(token for token in response.cancelled if token not in forced)
        for token, signal in forced.items():
            self.on_terminate(token, signal)

    def _drop_everything(self) -> None:
        leases = self._leases()
        if leases:
            self._log.warning(
                f"the broker serves another store than before: {len(leases)} jobs of the former one are dropped, "
                "their outcomes cannot be stored any more"
            )
        self._forget({token for token, _ in leases})

    def _drop(self, lost: set[int]) -> None:
        if lost:
            ids = [source.id_of(token) for token, source in self._leases() if token in lost]
            line = f"{len(lost)} leases were lost while the broker was away; their jobs run elsewhere"
            self._log.warning(line, ids=ids[:MOST_LOGGED])
            self._forget(lost)

    def _forget(self, tokens: set[int]) -> None:
        self._ledger.drop(tokens)
        self._notes.drop(tokens)
        self._handover.forget(tokens)

    # -- helpers ------------------------------------------------------------------------------------------------------

    def _next(self) -> pb.WorkRequest:
        self._number += 1
        return pb.WorkRequest(number=self._number)

    def _wanted(self) -> Offer:
        handover = self._handover
        if handover.closed:
            return NOTHING
        return self._credit.offer(handover.slots, handover.blocked, handover.apart)

    def _leases(self) -> list[Lease]:
        return [*self._ledger.leases(), *self._handover.leases()]

    def _anything(self) -> bool:
        """Whether there is something to say besides credit."""
        return bool(self._ledger.waiting or self._notes.waiting or self._beat_due or self._replies or self._consume)

    def _gathering(self) -> bool:
        if self._replies:
            return False
        out = max(self._ledger.messages_out, self._notes.messages_out)
        return out >= GATHER_MESSAGES and self._ledger.waiting < GATHER_JOBS
