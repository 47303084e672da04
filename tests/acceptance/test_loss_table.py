"""`make loss-table` sees what is lost, and sees that we lose nothing. The rivals are not needed for that."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.benchmarks.tqbench import servers
from tests.benchmarks.tqbench.losses import kill, power
from tests.benchmarks.tqbench.losses.cases import CASES
from tests.benchmarks.tqbench.losses.drain import Losses, compared
from tests.benchmarks.tqbench.losses.kill import Kill
from tests.benchmarks.tqbench.losses.power import Cut
from tests.benchmarks.tqbench.losses.table import Results, markdown
from tests.benchmarks.tqbench.processes import Process
from tests.benchmarks.tqbench.systems import OUR_BIN, plain_environment
from tests.crash.powercut import disk
from tests.proof.amount import amount

OURS = CASES["tqbroker"].system
SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "loss_table.py"
needs_disk = pytest.mark.skipif(bool(disk.lacking()), reason=f"a power cut {disk.lacking() or 'can be had'}")


def test_the_script_kills_our_broker_and_finds_nothing_lost(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--only", "tqbroker", "--jobs", "100", "--cuts", "0"]
    done = subprocess.run([*command, "--results", str(tmp_path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr

    (path,) = tmp_path.glob("losses-*.json")
    losses = json.loads(path.read_text())["kills"]["tqbroker"]["losses"]
    assert losses == {"acknowledged": 100, "lost": 0, "twice": 0, "oldest": 0.0}
    assert path.with_suffix(".md").read_text() in done.stdout
    assert len(list(tmp_path.iterdir())) == 2, "the data of the run is left behind"


@needs_disk
@pytest.mark.long
@pytest.mark.proof("T2")
def test_no_power_cut_under_our_broker_takes_a_job_that_was_acknowledged(tmp_path: Path, counts: Counter[str]) -> None:
    cuts = power.measure(OURS, amount(200, 1000), amount(2, 8), tmp_path)

    counts.update(images=len(cuts), jobs=sum(cut.losses.acknowledged for cut in cuts))
    assert [cut.failed for cut in cuts] == [""] * len(cuts)
    assert [cut.losses.lost for cut in cuts] == [0] * len(cuts)
    assert all(cut.losses.acknowledged for cut in cuts)


@needs_disk
@pytest.mark.long
@pytest.mark.proof("T2")
def test_a_broker_that_keeps_jobs_in_memory_only_is_seen_to_lose_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(servers.STARTS, "tqbroker", forgetful)

    killed = kill.measure(OURS, 200, tmp_path / "kill").losses
    (cut,) = power.measure(OURS, 100, 1, tmp_path / "power")

    assert killed.lost == killed.acknowledged == 200
    assert cut.losses.lost == cut.losses.acknowledged > 0
    assert not cut.failed


def forgetful(home: Path, stack: ExitStack, port: int) -> servers.Running:
    command = [str(OUR_BIN / "tqbroker"), "serve", "--listen", f"127.0.0.1:{port}", "--storage", "memory:"]
    process = stack.enter_context(Process("tqbroker", command, plain_environment(), home))
    process.wait_listening(port)
    return servers.Running({"TQBROKER_URL": f"tq://127.0.0.1:{port}"}, [process])


def test_what_was_acknowledged_and_did_not_run_is_lost_and_how_long_before_is_known() -> None:
    acknowledged = {1: 10.0, 2: 11.0, 3: 12.0}

    losses = compared(acknowledged, Counter({1: 1, 3: 2, 4: 1}), 12.5)

    assert losses == Losses(acknowledged=3, lost=1, twice=1, oldest=1.5)


def test_the_table_says_for_each_system_what_was_lost_or_why_that_is_not_known() -> None:
    none = Losses(2500, 0, 0)
    cuts = [Cut(replace(none, lost=40, oldest=0.4), 1.0, False), Cut(replace(none, lost=900, oldest=1.2), 2.0, True)]
    results = Results({"cores": 2.0}, 5000, 2)
    results.kills = {
        name: Kill(none, 812.4, hung=name == "rq", starts=1) for name in ("tqbroker", "rq", "celery-redis-aof")
    }
    results.cuts = {"tqbroker": [Cut(none, 1.0, False)], "celery-redis-aof": cuts}
    results.skipped = {"dramatiq-redis": "dramatiq (make bench-rivals) not installed", "celery-redis": "failed: oh"}

    table = markdown(results)

    assert "| tqbroker | 812 | 0 of 2,500 | 0 | 0.0 | 0 |" in table
    assert "| Celery on Redis, AOF every second | 812 | 0 of 2,500 | 40 of 2,500 to 900 of 2,500 | 1.2 | 0 |" in table
    assert "| RQ on Redis, as installed | 812 | 0 of 2,500 | not measured |  | 0 |" in table
    assert "| Dramatiq on Redis, as installed | not installed |" in table
    assert "| Celery on Redis, as installed | not measured |" in table
    assert "RQ on Redis, as installed: a call still waited" in table
