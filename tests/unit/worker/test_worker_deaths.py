from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tqbroker_worker.deaths import Death, look


@pytest.mark.parametrize(
    ("code", "killed", "words"),
    [
        (3, False, "ended with exit code 3"),
        (-signal.SIGSEGV, False, "was killed by signal 11 (SIGSEGV)"),
        (-signal.SIGKILL, False, "was killed by signal 9 (SIGKILL), probably by the kernel's out-of-memory killer"),
        (-signal.SIGKILL, True, "was killed by signal 9 (SIGKILL)"),
        (-40, False, "was killed by signal 40 (without a name)"),
    ],
)
def test_a_death_is_told_with_signal_or_code_and_peak_memory(code: int, killed: bool, words: str) -> None:
    death = Death(7, code, 812 << 20, killed)
    assert death.words() == f"child process 7 {words}; its peak memory was 812 MiB"
    failure = death.failure()
    assert (failure.module, failure.type) == ("tqbroker.exceptions", "WorkerLostError")
    assert failure.message.endswith("while it had this job")


def test_the_peak_of_a_process_is_what_it_once_had() -> None:
    code = "import os; data = b'x' * (300 << 20); del data; os.kill(os.getpid(), 11)"
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while (death := look(process.pid, killed=False)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.returncode = death.code
    assert death.code == -signal.SIGSEGV
    assert 300 << 20 < death.peak_bytes < 1 << 30
