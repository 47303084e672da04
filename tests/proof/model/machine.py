"""Any order of verbs: hypothesis leads, both engines follow, the model says what must come of it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace as msgspec_replace
from tests.contracts.harness import EngineUnderTest, head_with, instance, new_jobs
from tests.proof.model.both import CONFIG, Both
from tests.proof.model.plain import FINAL, Body, Model, Times
from tests.proof.model.plain import Job as Known

from tqbroker_broker.answers import Enqueued, Job
from tqbroker_broker.attempts import Ending, Held, Successes, Verdict, Want
from tqbroker_broker.questions import Redrive
from tqbroker_broker.records import Head, State, key_text, text_key
from tqbroker_broker.rules import LimitRule, QueueRule, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.storage import NameTaken

TIMES = Times(
    CONFIG.lease_ttl, CONFIG.grace, CONFIG.result_ttl, CONFIG.dead_ttl, CONFIG.dedup_window, CONFIG.max_lost_leases
)
JOBS = tuple("abcdefgh")
QUEUES = ("q", "r")
WORKERS = ("u", "v")
TASK = "tasks.add"
VERDICTS = ("SUCCEEDED", "SUCCEEDED", "FAILED", "RETRY", "REQUEUED", "REJECTED", "CANCELLED", "LOST")

names = st.lists(st.sampled_from(JOBS), min_size=1, max_size=3, unique=True)
workers = st.sampled_from(WORKERS)
bodies = st.builds(
    Body,
    queue=st.sampled_from(QUEUES),
    priority=st.sampled_from((0, 0, 5)),
    ordering=st.sampled_from(("", "", "k")),
    limited=st.booleans(),
    key=st.sampled_from(("", "", "x", "y")),
    keep=st.booleans(),
    due=st.sampled_from((0, 0, 0, 2000)),
    expires=st.sampled_from((0, 0, 0, 4000)),
    digest=st.sampled_from((0, 0, 0, 1)),
)

SIMPLE = Body("q")
USUAL = (SIMPLE, SIMPLE, Body("q", limited=True), Body("q", ordering="k"))


class Queue(RuleBasedStateMachine):
    """Two workers, two queues, eight jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.both = Both()
        now = self.both.engines[0].now
        self.model = Model(TIMES, now.wall_ms, now.mono)
        self.model.restart()
        self.processes: dict[str, int] = dict.fromkeys(WORKERS, 1)
        self.stored: dict[str, int] = dict.fromkeys(WORKERS, 0)
        """The process of each worker that is on the durable list, 0 for none."""
        self.believed: dict[str, dict[int, str]] = {worker: {} for worker in WORKERS}
        """What each worker believes to hold: it does not hear of everything."""
        self.granted: dict[int, str] = {}
        self.done = 0
        """Steps so far."""

    def teardown(self) -> None:
        self.both.close()

    # -- clients -----------------------------------------------------------------------------------------------------

    @rule(chosen=names, body=bodies)
    def enqueue(self, chosen: list[str], body: Body) -> None:
        body.due += self.model.wall if body.due else 0
        body.expires += self.model.wall if body.expires else 0
        unique = Unique(UniqueUntil.FINISHED, UniqueConflict.KEEP if body.keep else UniqueConflict.REJECT)
        head = head_with(
            queue=body.queue,
            priority=body.priority,
            ordering_key=body.ordering,
            limits=("api",) if body.limited else (),
        )
        if body.key:
            head = with_unique(head, unique)
        batch = new_jobs(chosen, head, due_ms=body.due, expires_ms=body.expires)
        batch = batch._replace(
            digests=[bytes([body.digest]) * 16] * len(chosen),
            unique=[body.key.encode().ljust(16)] * len(chosen) if body.key else (),
        )
        [answer] = self.both.ask(lambda engine: engine.verbs.enqueue([batch], engine.now))
        expected = [self.model._enqueue(name, copy_of(body)) for name in chosen]
        assert told(answer, len(chosen)) == expected, f"told {told(answer, len(chosen))}, not {expected}"
        self.forget_leases({name for name, what in zip(chosen, expected, strict=True) if what == "stored"})

    def forget_leases(self, names: set[str]) -> None:
        """Of jobs whose ids were forgotten and are new again: nobody works for as long as ids are remembered."""
        for worker, held in self.believed.items():
            self.believed[worker] = {token: name for token, name in held.items() if name not in names}

    @rule(chosen=names)
    def cancel(self, chosen: list[str]) -> None:
        answer = self.both.ask(lambda engine: engine.cancel(*chosen))
        expected = [self.model.cancel(name) for name in chosen]
        assert [effect.name for effect in answer.effects] == expected

    # -- operators ---------------------------------------------------------------------------------------------------

    @rule(chosen=names)
    def redrive(self, chosen: list[str]) -> None:
        ids = [text_key(name) for name in chosen]
        answer = self.both.ask(lambda engine: engine.verbs.edit(ids, Redrive(), engine.now))
        assert [effect.name for effect in answer.effects] == [self.model.redrive(name) for name in chosen]

    @rule(chosen=names)
    def forget(self, chosen: list[str]) -> None:
        assert self.both.ask(lambda engine: engine.forget(*chosen)) == self.model.forget(chosen)

    @rule(queue=st.sampled_from(QUEUES), paused=st.booleans(), longest=st.sampled_from((0, 0, 2)))
    def put_queue(self, queue: str, paused: bool, longest: int) -> None:
        self.both.ask(
            lambda engine: engine.verbs.put_queue(queue, QueueRule(paused=paused, max_length=longest), engine.now)
        )
        self.model.paused = self.model.paused - {queue} | ({queue} if paused else set())
        self.model.longest[queue] = longest

    @rule(limit=st.integers(0, 2))
    def put_limit(self, limit: int) -> None:
        self.both.ask(lambda engine: engine.verbs.put_limits([LimitRule("api", limit)], [], engine.now))
        self.model.limit = limit

    # -- workers -----------------------------------------------------------------------------------------------------

    @rule(worker=workers, anew=st.sampled_from((False, False, False, True)))
    def join_twice(self, worker: str, anew: bool) -> None:
        """A worker that hears no answer breaks off and comes again, with what it said it had."""
        believed = dict(self.believed[worker])
        self.join(worker, anew)
        if not anew:
            self.believed[worker] = believed
        self.part(worker)
        self.join(worker, anew=False)

    @rule(worker=workers, anew=st.sampled_from((False, False, False, True)))
    def join(self, worker: str, anew: bool) -> None:
        """The same process comes back, or another one under its name, which holds nothing."""
        process = self.processes[worker] + anew
        held = {} if anew else dict(self.believed[worker])
        pairs = [Held(text_key(name), token) for token, name in held.items()]
        lost = self.both.ask(lambda engine: joined(engine, worker, process, pairs))
        expected = self.model.join(worker, process, held)
        assert lost == expected, f"{worker} has lost {lost}, not {expected}"
        if expected is not None:
            self.processes[worker] = self.stored[worker] = process
            self.believed[worker] = {token: name for token, name in held.items() if token not in expected}

    @rule(worker=workers)
    def part(self, worker: str) -> None:
        process = self.processes[worker]
        self.both.tell(lambda engine: engine.part(worker, process))
        self.model.part(worker, process)

    @rule(worker=workers)
    def leave_twice(self, worker: str) -> None:
        """Who hears no answer says it again."""
        self.leave(worker)
        self.leave(worker)

    @rule(worker=workers)
    def leave(self, worker: str) -> None:
        process = self.processes[worker]
        self.both.ask(lambda engine: engine.leave(worker, process))
        self.model.leave(worker, process, self.stored[worker])
        if self.stored[worker] == process:
            self.stored[worker] = 0
            self.believed[worker] = {}

    @rule(worker=workers, queues=st.sampled_from((QUEUES, QUEUES, ("q",))), most=st.integers(1, 3), heard=st.booleans())
    def lease(self, worker: str, queues: tuple[str, ...], most: int, heard: bool) -> None:
        """A worker is handed jobs; it may never hear of them."""
        want = Want(worker, queues, frozenset({TASK}), most, most)
        batches = self.both.ask(lambda engine: engine.lease(want))
        given = [(key_text(job), token) for each in batches for job, token in zip(each.ids, each.tokens, strict=True)]
        assert not (why := self.model.hand_out(worker, queues, most, given)), why
        for name, token in given:
            self.granted[token] = name
            if heard:
                self.believed[worker][token] = name

    @rule(chosen=names, body=st.sampled_from(USUAL), worker=workers, most=st.integers(1, 3))
    def jobs_come_and_go_to_a_worker(self, chosen: list[str], body: Body, worker: str, most: int) -> None:
        """What happens all day."""
        self.enqueue(chosen, copy_of(body))
        if worker not in self.model.workers or not self.model.workers[worker].connected:
            self.join(worker, anew=False)
        self.lease(worker, QUEUES, most, heard=True)

    def see_to_work(self, worker: str, body: Body = SIMPLE) -> None:
        """So that the worker holds something, if there is an id left for it."""
        held = [job for job in self.model.running() if job.worker == worker and job.token in self.believed[worker]]
        fresh = [name for name in JOBS if name not in self.model.jobs and name not in self.model.remembered]
        if fresh and not held:
            self.jobs_come_and_go_to_a_worker(fresh[:1], body, worker, len(JOBS))

    def some_token(self, data: st.DataObject, worker: str) -> int | None:
        """Mostly one that the worker holds, sometimes any that was ever given."""
        tokens = [*self.believed[worker], *self.believed[worker], *self.granted]
        return data.draw(st.sampled_from(tokens), "token") if tokens else None

    @precondition(lambda self: self.granted)
    @rule(
        data=st.data(),
        worker=workers,
        verdict=st.sampled_from(VERDICTS),
        delay=st.sampled_from((0, 0, 3000)),
        heard=st.sampled_from((True, True, False)),
    )
    def finish(self, data: st.DataObject, worker: str, verdict: str, delay: int, heard: bool) -> None:
        """An outcome, perhaps once more, perhaps of a lease that is lost. Who hears no answer holds the job still."""
        token = self.some_token(data, worker)
        if token is not None:
            self.tell(worker, token, verdict, delay, heard)

    @rule(worker=workers, verdict=st.sampled_from(("SUCCEEDED", "RETRY", "REQUEUED")))
    def the_broker_dies_before_it_answers(self, worker: str, verdict: str) -> None:
        """An outcome is stored, and its worker comes back as if it were not."""
        for token in [*self.believed[worker]][:1]:
            self.tell(worker, token, verdict, 0, heard=False)
        self.restart()
        self.join(worker, anew=False)

    def tell(self, worker: str, token: int, verdict: str, delay: int, heard: bool) -> None:
        """What became of a job."""
        job, result = text_key(self.granted[token]), b"result %d" % token
        successes = [Successes([token], [result], "json", [1], [1], [job])] if verdict == "SUCCEEDED" else []
        endings = [] if successes else [Ending(token, Verdict[verdict], None, delay, 1, 1, job)]
        answer = self.both.ask(lambda engine: engine.verbs.finish(worker, successes, endings, engine.now))
        said = answer.refused[token].name if token in answer.refused else "accepted"
        expected = self.model.end(worker, token, verdict, delay, result)
        assert said == expected, f"the outcome under {token:x} was {said}, not {expected}"
        if heard:
            self.believed[worker].pop(token, None)

    @rule(worker=workers, redriven=st.booleans(), heard=st.booleans())
    def a_job_fails_and_begins_anew(self, worker: str, redriven: bool, heard: bool) -> None:
        self.see_to_work(worker)
        for token in [*self.believed[worker]][:1]:
            self.tell(worker, token, "FAILED", 0, heard)
            if redriven:
                self.redrive([self.granted[token]])

    @rule(worker=workers, again=st.booleans())
    def what_runs_is_cancelled(self, worker: str, again: bool) -> None:
        """Somebody who hears no answer says it again."""
        self.see_to_work(worker)
        for name in [*self.believed[worker].values()][:1]:
            for _ in range(1 + again):
                self.cancel([name])

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), worker=workers, heard=st.sampled_from((True, True, False)))
    def release(self, data: st.DataObject, worker: str, heard: bool) -> None:
        """Who hears no answer says it again: it holds the job no more."""
        token = self.some_token(data, worker)
        if token is not None:
            for _ in range(2 - heard):
                self.give_back(worker, token)

    @rule(worker=workers)
    def the_first_goes_back_and_all_are_taken(self, worker: str) -> None:
        """What goes back stands before what waited behind it."""
        self.the_first_goes_back(worker)
        self.lease(worker, QUEUES, len(JOBS), heard=True)

    def the_first_goes_back(self, worker: str) -> None:
        for token in [*self.believed[worker]][:1]:
            self.give_back(worker, token)

    def give_back(self, worker: str, token: int) -> None:
        """A job that was handed out and not begun."""
        self.both.ask(lambda engine: engine.verbs.release(worker, [token], engine.now))
        self.model.release(worker, token)
        self.believed[worker].pop(token, None)

    # -- time --------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((1, 1, 4, 20, 31)), silent=st.sets(workers))
    def pass_time(self, seconds: int, silent: set[str]) -> None:
        """As it should: a beat each second, and signs of life of those who are not silent."""
        for _ in range(seconds):
            self.move(1.0, 1000)
            for worker in sorted(set(WORKERS) - silent):
                process = self.processes[worker]
                self.both.tell(lambda engine, it=worker, at=process: engine.extend(it, at))  # type: ignore[misc]
                self.model.extend(worker, process)

    @rule(worker=workers, times=st.integers(1, 2), back=st.booleans())
    def a_worker_is_given_up(self, worker: str, times: int, back: bool) -> None:
        """With all it has, perhaps again. When it is back it believes to have it still."""
        for _ in range(times):
            self.see_to_work(worker)
            self.pass_time(31, {worker})
            self.expire()
            if back:
                self.join(worker, anew=False)
                self.lease(worker, QUEUES, len(JOBS), heard=True)

    @rule(worker=workers, body=st.sampled_from(USUAL), most=st.integers(0, 3), ended=st.booleans())
    def a_worker_comes_back_late(self, worker: str, body: Body, most: int, ended: bool) -> None:
        """After the recovery, when another one has had its jobs, or some of them."""
        self.see_to_work(worker, body)
        self.nobody_comes_back()
        [other] = set(WORKERS) - {worker}
        if most:
            self.join(other, anew=False)
            self.lease(other, QUEUES, most, heard=True)
        if ended:
            self.the_first_goes_back(other)
        self.join(worker, anew=False)

    @rule(chosen=names, body=bodies, seconds=st.sampled_from((4, 20)))
    def some_wait_for_their_time(self, chosen: list[str], body: Body, seconds: int) -> None:
        """It comes, or it is over."""
        self.enqueue(chosen, copy_of(body))
        self.pass_time(seconds, set())
        self.due()
        self.expire()

    @rule(times=st.integers(2, 5))
    def what_is_kept_is_dropped(self, times: int) -> None:
        """Results, and then ids: after 60, 90 and 150 seconds."""
        for _ in range(times):
            self.pass_time(31, set())
        self.expire()

    @rule(worker=workers)
    def a_limit_is_full_when_a_worker_comes_back_late(self, worker: str) -> None:
        """Of a job that nobody else has had."""
        self.put_limit(1)
        self.see_to_work(worker, Body("q", limited=True))
        self.nobody_comes_back()
        [other] = set(WORKERS) - {worker}
        self.enqueue([*JOBS[-1:]], Body("r", limited=True))
        self.join(other, anew=False)
        self.lease(other, ("r",), 1, heard=True)
        self.join(worker, anew=False)

    @rule(worker=workers, seconds=st.sampled_from((2.5, 10.25, 70.0)))
    def the_broker_starts_and_stands_still(self, worker: str, seconds: float) -> None:
        """Workers it awaits have longer for that."""
        self.see_to_work(worker)
        self.restart()
        self.move(1.0, 1000)
        self.stall(seconds)
        self.expire()
        self.join(worker, anew=False)

    @rule(seconds=st.sampled_from((2.5, 10.25, 70.0)))
    def stall(self, seconds: float) -> None:
        """The broker stands still."""
        self.move(seconds, int(seconds * 1000))

    @rule(seconds=st.sampled_from((-100, -3, 3, 50)))
    def set_clock(self, seconds: int) -> None:
        """By less than what is held back (aging.LEAST_MS), which has contracts of its own; upkeep sees it at once."""
        self.both.tell(lambda engine: engine.advance(0, wall=seconds))
        self.model.wall += seconds * 1000
        self.expire()

    def move(self, seconds: float, wall_ms: int) -> None:
        self.both.tell(lambda engine: engine.advance(seconds))
        self.model.wall += wall_ms
        self.model.mono += seconds
        stalled = self.both.tell(lambda engine: engine.verbs.beat(engine.now))
        assert stalled == self.model.beat()

    @rule()
    def due(self) -> None:
        self.both.ask(lambda engine: engine.verbs.due(engine.now, 1000))
        self.model.due()

    @rule()
    def expire(self) -> None:
        answer = self.both.ask(lambda engine: engine.expire_all(1000))
        ended, silent = self.model.expire()
        assert {key_text(job) for job in answer.final} == ended
        assert set(answer.lost_workers) == silent
        for worker in silent:
            self.stored[worker] = 0

    @rule()
    def nobody_comes_back(self) -> None:
        """A start after which no worker is heard of."""
        self.restart()
        self.pass_time(31, set(WORKERS))
        self.expire()

    @rule()
    def restart(self) -> None:
        opened = self.both.ask(lambda engine: opened_again(engine))
        self.model.restart()
        assert set(opened) == self.model.awaited, f"awaits {opened}, not {self.model.awaited}"

    # -- always ------------------------------------------------------------------------------------------------------

    @invariant()
    def a_step_is_done(self) -> None:
        self.done += 1

    @invariant()
    def every_job_is_where_it_should_be(self) -> None:
        for engine in self.both.engines:
            for job in self.both.loop.run_until_complete(engine.verbs.get([text_key(name) for name in JOBS])):
                name = key_text(job.id)
                seen, wanted = seen_of(job), wanted_of(self.model.jobs.get(name), name in self.model.remembered)
                assert seen == wanted, f"{engine.kind}: {name} is {seen}, not {wanted}"

    @invariant()
    def the_counts_are_right(self) -> None:
        for engine in self.both.engines:
            stats = self.both.loop.run_until_complete(engine.verbs.stats())
            for queue in QUEUES:
                mine = [job.state for job in self.model.jobs.values() if job.body.queue == queue]
                counts = stats.queues.get(queue)
                for state in ("QUEUED", "RUNNING", "SCHEDULED", *FINAL):
                    counted = getattr(counts, state.lower()) if counts else 0
                    assert counted == mine.count(state), f"{engine.kind}: {counted} jobs of {queue} are {state}: {mine}"


def seen_of(job: Job) -> tuple[object, ...]:
    """What an engine says of a job: state, worker, token, leases lost, retries, result, and whether it is forgotten."""
    running, final = job.state is State.RUNNING, job.state.name in FINAL
    worker, token = job.worker if running else "", job.token if running or final else 0
    return job.state.name, worker, token, job.lost, job.retries, job.result, job.forgotten


def wanted_of(job: Known | None, remembered: bool) -> tuple[object, ...]:
    """What it should say."""
    if job is None:
        return "UNKNOWN", "", 0, 0, 0, b"", remembered
    return job.state, job.worker, job.token or job.ended_by, job.lost, job.retries, job.result, False


def with_unique(head: Head, unique: Unique) -> Head:
    return msgspec_replace(head, traits=msgspec_replace(head.traits, unique=unique))


def copy_of(body: Body) -> Body:
    return Body(**vars(body))


def told(answer: Enqueued, count: int) -> list[str]:
    """What became of each job, in the words of the model."""
    said = ["stored"] * count
    for index, what in answer.exceptions.items():
        holder = answer.holders.get(index)
        said[index] = what.name if holder is None else f"{what.name} {key_text(holder)}"
    return said


async def joined(engine: EngineUnderTest, worker: str, process: int, held: Sequence[Held]) -> set[int] | None:
    """The tokens that are lost; None when another process has the name."""
    try:
        return set((await engine.verbs.join(worker, instance(process), held, engine.now)).lost)
    except NameTaken:
        return None


async def opened_again(engine: EngineUnderTest) -> list[str]:
    return (await engine.restart()).awaited
