"""Forked, spawned and ending processes: each has its own connection, and ends without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import os, sys, threading
from tqbroker import App

app = App("tasks", broker=sys.argv[1])

@app.task
def add(x, y):
    return x + y

def work(x):
    for y in range(20):
        add.delay(x, y)
    return add.apply_async((x, -1), task_id=f"last of {{x}}").state

if __name__ == "__main__":
{body}
"""

FORK = """
    add.delay(0, 0)
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [add.delay(9, n) for n in range(50)])
    busy.start()
    children = []
    for x in (1, 2, 3):
        pid = os.fork()
        if pid == 0:
            ok = work(x) == "PENDING"
            sys.exit(0 if ok else 7)
        children.append(pid)
    busy.join()
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert codes == [0, 0, 0], codes
    assert work(4) == "PENDING"
"""

POOL = """
    import multiprocessing
    add.delay(0, 0)
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        assert pool.map(work, [1, 2, 3, 4]) == ["PENDING"] * 4
        pool.close()
        pool.join()
"""

OWN = """
    import signal, grpc
    from tqbroker.exceptions import OperationalError

    def submits():
        try:
            add.delay(0, 0)
        except OperationalError as told:
            assert (told.reason, told.outcome) == ("FORKED", "rejected")
            return False
        return True

    def child():
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            os._exit(0 if submits() else 7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    if sys.argv[2] == "used":
        assert submits()
    own = grpc.insecure_channel(sys.argv[1].removeprefix("tq://"))
    grpc.channel_ready_future(own).result(timeout=20)
    print(child())
    assert submits()
    own.close()
    print(child())
"""

FIRST = """
    import importlib.abc, importlib.util, signal
    from tqbroker.exceptions import OperationalError
    reached, go_on = threading.Event(), threading.Event()

    class Halt(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == sys.argv[2]:
                sys.meta_path.remove(self)
                spec = importlib.util.find_spec(name)
                run, spec.loader.exec_module = spec.loader.exec_module, lambda module: (halt(), run(module))
                return spec

    def halt():
        reached.set()
        go_on.wait(20)

    def child():
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                add.delay(0, 0)
            except OperationalError as told:
                os._exit(7 if (told.reason, told.outcome) == ("FORKED", "rejected") else 8)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    sys.meta_path.insert(0, Halt())
    first = threading.Thread(target=add.delay, args=(1, 1))
    first.start()
    assert reached.wait(20)
    print(child())
    go_on.set()
    first.join()
    print(child())
"""

AT_ONCE = """
    def child(codes):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if add.delay(0, 0) else 7)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    codes = []
    threads = [threading.Thread(target=child, args=(codes,)) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    print(codes.count(0))
"""

END = """
    results = [add.delay(x, x) for x in range(5)]
    try:
        results[0].get(timeout=0.1)
    except TimeoutError:
        pass
    threading.Thread(target=results[1].get, daemon=True).start()
"""

ASYNC_END = """
    import asyncio
    async def main():
        result = await add.adelay(1, 1)
        waiting = asyncio.ensure_future(result.aget())
        try:
            await result.aget(timeout=0.1)
        except TimeoutError:
            pass
    asyncio.run(main())
"""


def run(tmp_path: Path, body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(body=body))
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=60)


def test_forked_children_reopen_while_the_parent_goes_on(wire: Any, tmp_path: Path) -> None:
    done = run(tmp_path, FORK, wire.url)

    assert done.returncode == 0, done.stderr
    assert {f"last of {x}" for x in (1, 2, 3, 4)} <= set(wire.jobs)
    assert len(wire.jobs) == 1 + 50 + 4 * 21


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_process_pools_submit(wire: Any, tmp_path: Path, method: str) -> None:
    done = run(tmp_path, POOL, wire.url, method)

    assert done.returncode == 0, done.stderr
    assert len(wire.jobs) == 1 + 4 * 21


@pytest.mark.parametrize("before", ["used", "not used"])
@pytest.mark.parametrize(("support", "child"), [("0", 7), ("1", 0)])
def test_children_of_a_program_with_a_channel_of_its_own_submit_or_are_told_that_they_cannot(
    wire: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, support: str, child: int
) -> None:
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", support)

    done = run(tmp_path, OWN, wire.url, before)

    assert (done.returncode, done.stdout.split()) == (0, [str(child), "0"]), done.stderr


def test_children_that_many_threads_fork_at_once_before_any_call_submit(wire: Any, tmp_path: Path) -> None:
    done = run(tmp_path, AT_ONCE, wire.url)

    assert (done.returncode, done.stdout.split()) == (0, ["20"]), done.stderr
    assert len(wire.jobs) == 20


@pytest.mark.parametrize("half_loaded", ["tqbroker.shipping", "tqbroker._grpc_connection", "grpc"])
def test_a_child_forked_while_another_thread_makes_the_first_call_is_told_that_it_cannot(
    wire: Any, tmp_path: Path, half_loaded: str
) -> None:
    done = run(tmp_path, FIRST, wire.url, half_loaded)

    assert (done.returncode, done.stdout.split()) == (0, ["7", "0"]), done.stderr


@pytest.mark.parametrize("body", [END, ASYNC_END], ids=["threads", "asyncio"])
def test_a_process_ends_at_once_and_without_a_word(wire: Any, tmp_path: Path, body: str) -> None:
    done = run(tmp_path, body, wire.url)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
