"""A worker started on a folder of the test, and a broker's end of its stream."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from tests.integration.worker_harness import TASKS, Broker, Start, Worker

from tqbroker.v1 import worker_pb2_grpc


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """Listens on a socket in the test's folder."""
    broker = Broker()
    server = grpc.aio.server()
    worker_pb2_grpc.add_WorkerServicer_to_server(broker, server)
    server.add_insecure_port(f"unix:{tmp_path}/tq.sock")
    await server.start()
    yield broker
    await server.stop(None)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a worker on tasks.py in the test's folder; arguments are those of the command line."""
    (tmp_path / "tasks.py").write_text(TASKS)
    workers: list[Worker] = []

    async def start(*arguments: str, app: str = "tasks") -> Worker:
        command = [sys.executable, "-m", "tqbroker", "worker", "-A", app, "-b", f"tq+unix://{tmp_path}/tq.sock"]
        process = await asyncio.create_subprocess_exec(
            *command,
            *("-l", "info", "-n", "w@test", *arguments),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        workers.append(Worker(process))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.returncode is None:
            worker.process.kill()
            await worker.process.wait()
        transport = getattr(worker.process, "_transport", None)
        if transport is not None:
            transport.close()
