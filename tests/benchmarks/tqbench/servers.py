"""Brokers as private processes: own ports, own directories, nothing left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from .processes import Process, free_port
from .systems import OUR_BIN, plain_environment

RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The script itself: the one on the PATH insists on another user and on /var/lib."""


class Running(NamedTuple):
    """Servers that are up: how clients find them (as environment), and their processes, the broker first."""

    urls: dict[str, str]
    processes: list[Process]

    def kill(self) -> None:
        """SIGKILL to all of them, as far as one call after the other can be at once."""
        for process in self.processes:
            process.kill()


def missing(servers: tuple[str, ...]) -> list[str]:
    """Which of these servers are not installed."""
    there = {
        "tqbroker": True,
        "redis": shutil.which("redis-server") is not None,
        "rabbitmq": RABBITMQ_SERVER.exists() and shutil.which("epmd") is not None,
    }
    return [kind for kind in (name.partition("-")[0] for name in servers) if not there[kind]]


@contextmanager
def running(servers: tuple[str, ...], folder: Path, ports: dict[str, int] | None = None) -> Iterator[Running]:
    """Starts these servers, on what a run before has left in the folder; they are stopped at the end of the block.

    `ports` is filled with the port of each. Given again, each listens where it did, and so RabbitMQ finds its data.
    """
    with ExitStack() as stack:
        up = Running({}, [])
        for server in servers:
            home = folder / server
            home.mkdir(parents=True, exist_ok=True)
            port = (ports if ports is not None else {}).setdefault(server, free_port())
            started = STARTS[server](home, stack, port)
            up.urls.update(started.urls)
            up.processes.extend(started.processes)
        yield up


def start_tqbroker(home: Path, port: int = 0) -> tuple[Process, int]:
    """`tqbroker serve` on this or a free port, with its data in `home`/data; it may not listen yet."""
    port = port or free_port()
    command = [str(OUR_BIN / "tqbroker"), "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", str(home / "data")]
    return Process("tqbroker", command, plain_environment(), home), port


def _tqbroker(home: Path, stack: ExitStack, port: int) -> Running:
    process, _ = start_tqbroker(home, port)
    stack.enter_context(process).wait_listening(port)
    return Running({"TQBROKER_URL": f"tq://127.0.0.1:{port}"}, [process])


def _redis(home: Path, stack: ExitStack, port: int, *options: str) -> Running:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), *options]
    process = stack.enter_context(Process("redis", command, plain_environment(), home))
    process.wait_listening(port)
    url = f"redis://127.0.0.1:{port}"
    return Running({"BENCH_REDIS": url, "RQ_REDIS_URL": url}, [process])


def _aof_redis(home: Path, stack: ExitStack, port: int) -> Running:
    return _redis(home, stack, port, "--appendonly", "yes")


def _durable_redis(home: Path, stack: ExitStack, port: int) -> Running:
    return _redis(home, stack, port, "--appendonly", "yes", "--appendfsync", "always")


def _rabbitmq(home: Path, stack: ExitStack, port: int) -> Running:
    environment = _rabbitmq_environment(home, port)
    names = environment["ERL_EPMD_PORT"]
    epmd = stack.enter_context(
        Process("epmd", ["epmd", "-port", names, "-address", "127.0.0.1"], plain_environment(), home)
    )
    epmd.wait_listening(int(names))
    server = stack.enter_context(Process("rabbitmq", [str(RABBITMQ_SERVER)], environment, home))
    server.wait_until(lambda: "completed with" in server.output(), "up")
    return Running({"BENCH_RABBITMQ": f"amqp://guest:guest@127.0.0.1:{port}/%2F"}, [server, epmd])


def _rabbitmq_environment(home: Path, port: int) -> Mapping[str, str]:
    """Everything a node would otherwise look for, or write to, in the places of the installed one."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ERL_EPMD_PORT": str(free_port()),
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
        "RABBITMQ_CONFIG_FILE": str(home / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
    }


STARTS: dict[str, Callable[[Path, ExitStack, int], Running]] = {
    "tqbroker": _tqbroker,
    "redis": _redis,
    "redis-aof": _aof_redis,
    "redis-durable": _durable_redis,
    "rabbitmq": _rabbitmq,
}
