"""All children of a worker: as many as are wanted, watched, replaced when they die or have done enough."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from tqbroker._daemon import get_logger
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker_worker.children import Child
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.deaths import Death
from tqbroker_worker.handover import Handover
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.protocol import Annotate, Answered, Broken, Done, Down, Ended, Failed, Manifest, Unstarted, Up
from tqbroker_worker.seats import Seat

BACKOFF = 0.1
BACKOFF_MOST = 10.0
_MOST_DOUBLINGS = 16
STOP_SECONDS = 3.0
"""How long a child may take to exit when it has nothing to run any more."""
_MAX_HOOKS = 1000


class AppBrokenError(Exception):
    """The app could not be loaded by the first child. `exit_code` is what the worker ends with."""

    def __init__(self, message: str, traceback: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.traceback = traceback
        self.exit_code = exit_code


class Pool:
    """The children. `loaded` is done when all of them are ready for the first time, with what the app contains.

    Unless the command line says how many there are to be, the first is alone until it has told the app's settings.
    `said` gets what children say of jobs that run and what they answer, `joined` is called for each child that is given
    jobs from then on.
    """

    def __init__(self, config: WorkerConfig, handover: Handover) -> None:
        self.loaded: asyncio.Future[Manifest] = asyncio.get_running_loop().create_future()
        self.config = config
        self.wanted = config.children if config.concurrency is not None and config.autoscale is None else 1
        """How many children there are to be."""
        self.said: Callable[[Child, Annotate | Answered], None] = lambda _child, _message: None
        self.joined: Callable[[Child], None] = lambda _child: None
        self._manifest: Manifest | None = None
        self._handover = handover
        self._handover.feeder.on_full = self._on_full
        self._children: list[Child] = []
        self._hooks: deque[Failed] = deque(maxlen=_MAX_HOOKS)
        self._log = get_logger("tqbroker.worker")
        self._failures = 0
        self._pausing = False
        self._ending = False
        self._empty = asyncio.Event()

    @property
    def children(self) -> list[Child]:
        """Those that have loaded the app and are given jobs, or finish their last ones."""
        return [child for child in self._children if child.seat in self._handover.seats]

    # -- begin and end ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the first children; the others follow when one has loaded the app."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        self._fill()

    async def stop(self) -> None:
        """Ends children that have nothing to run; those that do not go are killed."""
        self._ending = True
        self._share_hooks(self.children)
        for child in list(self._children):
            child.abandoned = True
            if child.ready:
                child.stop()
            else:
                child.kill()
        try:
            await asyncio.wait_for(self._gone(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    async def kill(self) -> None:
        """Ends every child at once; what they ran goes back to the broker."""
        self._ending = True
        for child in list(self._children):
            self._kill(child)
        await self._gone()

    async def _gone(self) -> None:
        self._reap()
        while self._children:
            self._empty.clear()
            await self._empty.wait()

    # -- how many -----------------------------------------------------------------------------------------------------

    def resize(self, wanted: int) -> None:
        """From now on there are to be so many children; those that go finish what they run."""
        self.wanted = wanted
        staying = self._staying()
        too_many = max(0, len(staying) - wanted)
        for child in sorted(staying, key=lambda child: (child.ready, len(child.seat.jobs)))[:too_many]:
            self._retire(child)
        self._take_in()
        self._fill()

    def restart(self) -> None:
        """Replaces every child by a new one, which loads the app anew; those that go finish what they run."""
        for child in self._staying():
            self._retire(child)
        self._fill()

    def kill_for(self, seat: Seat, fates: Iterable[Ended]) -> None:
        """Kills the child that sits there; these of its jobs end so, all others go on elsewhere."""
        seat.doomed.update((ended.token, ended) for ended in fates)
        seat.leaving = seat.condemned = True
        for child in self._children:
            if child.seat is seat:
                child.kill()
                return

    def tell(self, message: Down) -> None:
        """Tells every child something."""
        for child in self.children:
            child.send(message)

    def tell_one(self, message: Down) -> None:
        """Tells it to one child that stays, if there is one."""
        for child in self.children:
            if not child.seat.leaving:
                child.send(message)
                return

    def _staying(self) -> list[Child]:
        return [child for child in self._children if not child.seat.leaving and not child.abandoned]

    def _retire(self, child: Child) -> None:
        if child.seat in self._handover.seats:
            self._handover.leave(child.seat)
            self._let_go(child)
        else:
            self._kill(child)

    def _let_go(self, child: Child) -> None:
        """Asks it to exit after its last job: what a job has left behind there must not keep its slot for ever."""
        child.stop()
        self._look_later(child, over=False)

    def _look_later(self, child: Child, *, over: bool) -> None:
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._see_off, child, over)

    def _see_off(self, child: Child, was_over: bool) -> None:
        """Kills a child that leaves and had nothing to run at the last look either."""
        if child not in self._children or child.abandoned:
            return
        over = self._handover.is_over(child.seat)
        if over and was_over:
            line = f"child process {child.pid} has run its last job and does not exit: it is killed"
            self._log.warning(line, pid=child.pid)
            self._kill(child)
        else:
            self._look_later(child, over=over)

    def _kill(self, child: Child) -> None:
        child.abandoned = True
        child.kill()

    def _on_full(self, seat: Seat) -> None:
        """This child has had as many jobs as it may: it runs them and goes, and another is loaded meanwhile."""
        for child in self._children:
            if child.seat is seat:
                self._let_go(child)
        asyncio.get_running_loop().call_soon(self._fill)

    def _fill(self) -> None:
        while not self._ending and not self._pausing and len(self._staying()) < self.wanted:
            try:
                child = Child(self.config, self._on_message, self._on_exit)
            except OSError as error:  # no memory, descriptors or processes left: that may pass
                self._cannot_start(error)
                return
            self._children.append(child)
            if self._manifest is not None and (load_ms := self._manifest.settings.load_ms):
                asyncio.get_running_loop().call_later(load_ms / 1000, self._give_up, child)

    def _cannot_start(self, error: OSError) -> None:
        if self._manifest is None and not self.loaded.done():
            self.loaded.set_exception(AppBrokenError(f"a child process cannot be started: {error}"))
            return
        self._log.error(f"a child process cannot be started: {error}; trying again")
        self._fill_later()

    def _give_up(self, child: Child) -> None:
        """A child that has not loaded the app by now is taken to hang."""
        if child in self._children and not child.ready:
            assert self._manifest is not None
            limit = self._manifest.settings.load_ms / 1000
            self._log.error(f"child process {child.pid} has not loaded the app within {limit:g}s: starting another")
            child.kill()

    def _fill_later(self) -> None:
        """Pauses, longer each time, while children die before they are of use."""
        pause = pause_after(self._failures)
        self._failures += 1
        self._pausing = True
        asyncio.get_running_loop().call_later(pause, self._fill_now)

    def _fill_now(self) -> None:
        self._pausing = False
        self._fill()

    def _take_in(self) -> None:
        """Gives jobs to children that wait for the place of another, as far as there are places."""
        for child in self._staying():
            if len(self._handover.seats) >= self.wanted:
                break
            if child.ready and child.seat not in self._handover.seats:
                self.joined(child)
                self._share_hooks([child])
                self._handover.add(child.seat)
        if not self.loaded.done() and self._manifest is not None and len(self._handover.seats) == self.wanted:
            self.loaded.set_result(self._manifest)

    # -- what children say --------------------------------------------------------------------------------------------

    def _on_message(self, child: Child, message: Up) -> None:
        if isinstance(message, Done):
            self._handover.done(child.seat, message)
            self._weigh(child)
        elif isinstance(message, Ended):
            self._handover.ended(child.seat, message)
            self._weigh(child)
        elif isinstance(message, Unstarted):
            self._handover.unstarted(child.seat, message)
        elif isinstance(message, Annotate | Answered):
            self.said(child, message)
        elif isinstance(message, Manifest):
            self._on_ready(child, message)
        else:
            self._on_broken(message)

    def _weigh(self, child: Child) -> None:
        """After a job: a child that has grown too large is replaced, and one that is idle runs the hooks that wait."""
        if self._hooks:
            self._share_hooks(self._idle())
        most = self.config.max_memory_per_child
        if most is None or child.seat.leaving or (kib := child.memory_kib()) <= most:
            return
        self._log.info(f"child process {child.pid} has {kib} KiB, more than {most}: starting another", pid=child.pid)
        self._retire(child)
        self._fill()

    def _on_ready(self, child: Child, manifest: Manifest) -> None:
        child.ready = True
        self._failures = 0
        if self._manifest is None:
            self._decide(manifest)
        self._take_in()

    def _decide(self, manifest: Manifest) -> None:
        """The first child is ready: how many there are to be, and whether those that were started are of them."""
        try:
            config = self.config.resolved(manifest.settings)
        except ImproperlyConfigured as error:
            self.loaded.set_exception(error)
            return
        before, self.config, self._manifest = self.config, config, manifest
        self._handover.at_most_once = frozenset(manifest.at_most_once)
        self.wanted = config.autoscale[1] if config.autoscale else config.children
        for child in list(self._children):
            child.seat.most = config.max_tasks_per_child or 0
            if (before.kind, before.slots_each) != (config.kind, config.slots_each):
                self._kill(child)
        self._fill()

    def _on_broken(self, broken: Broken) -> None:
        if not self.loaded.done():
            self.loaded.set_exception(AppBrokenError(broken.message, broken.traceback, 2 if broken.usage else 1))
        elif self.loaded.exception() is None:
            self._log.error(f"a new child cannot load the app: {broken.message}", exception=broken.traceback)

    # -- how they end -------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        for child in list(self._children):
            child.reap()

    def _on_exit(self, child: Child, death: Death) -> None:
        self._children.remove(child)
        self._empty.set()
        seated = child.seat in self._handover.seats
        if seated and child.abandoned:
            self._handover.abandon(child.seat, death.failure())
        elif seated:
            self._died(child, death)
        elif not child.abandoned:
            if not self.loaded.done():
                why = f"{death.words()} while it loaded the app {self.config.app!r}"
                self.loaded.set_exception(AppBrokenError(why))
            self._fill_later()
        self._take_in()
        self._fill()

    def _died(self, child: Child, death: Death) -> None:
        seat = child.seat
        if not (seat.doomed or seat.condemned or (seat.leaving and not seat.jobs and death.code == 0)):
            self._log.error(f"{death.words()}: starting another", pid=child.pid)
        for ending in self._handover.crashed(seat, death.failure()):
            self._run_hooks(ending.ended, ending.source.pick(ending.tokens()))

    def _run_hooks(self, ended: Ended, jobs: Jobs) -> None:
        """Another child runs the hooks of a job whose own child was killed: one that is idle, or the next that is.

        In one that is busy they would wait for its job, and be lost if that one is killed as well.
        """
        assert ended.failure is not None
        self._hooks.append(Failed(jobs, ended.failure, ended.verdict, ended.started_ms))
        self._share_hooks(self._idle())

    def _share_hooks(self, children: Sequence[Child]) -> None:
        while self._hooks and children:
            children[-1].send(self._hooks.popleft())

    def _idle(self) -> list[Child]:
        return [child for child in self.children if not child.seat.jobs and not child.seat.leaving]


def pause_after(failures: int) -> float:
    """Seconds to wait for the next start after so many that failed."""
    return min(BACKOFF_MOST, BACKOFF * 2.0 ** min(failures, _MOST_DOUBLINGS))
