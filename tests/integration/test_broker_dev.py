"""`tqbroker dev --example`: one command from an empty folder to a job's result, and one Ctrl-C back."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from tests.acceptance.harness.waiting import free_port

SECONDS = 40.0


async def read_until(process: asyncio.subprocess.Process, words: str) -> str:
    """What it printed up to a line with these words."""
    assert process.stdout is not None
    text = ""
    while line := await asyncio.wait_for(process.stdout.readline(), SECONDS):
        text += line.decode()
        if words in text:
            return text
    raise AssertionError(f"{words!r} never came:\n{text}")


async def start(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


async def test_from_an_empty_folder_to_a_result_and_a_clean_end(tmp_path: Path) -> None:
    dev = await start(tmp_path, "-m", "tqbroker", "dev", "--example", "--listen", f"127.0.0.1:{free_port()}")
    try:
        printed = await read_until(dev, "Ctrl-C stops both")
        (suggested,) = [line.strip() for line in printed.splitlines() if "python -c" in line]
        assert (tmp_path / ".tqbroker" / "data.mdb").exists()
        await read_until(dev, " ready")
        code = suggested.removeprefix('python -c "').removesuffix('"')
        assert await read_until(await start(tmp_path, "-c", code), "8")

        with (tmp_path / "tasks.py").open("a") as file:
            file.write("\n\n@app.task\ndef double(x: int) -> int:\n    return 2 * x\n")
        await read_until(dev, "tasks.py changed: the worker starts anew")
        await read_until(dev, " ready")
        assert await read_until(
            await start(tmp_path, "-c", "from tasks import double; print(double.delay(21).get(timeout=10))"), "42"
        )
    finally:
        dev.send_signal(signal.SIGINT)
        output, _ = await asyncio.wait_for(dev.communicate(), SECONDS)
    assert dev.returncode == 0, output.decode()
