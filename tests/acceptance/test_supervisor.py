"""Both daemons under a real supervisord, with the file that is shipped: only paths, user and ports are changed."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import children_of, gone, until

BIN = Path(sys.executable).parent
SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "supervisor" / "tqbroker.conf"
BROKER, WORKER = "tqbroker", "tqbroker-worker"

AROUND = """\
[unix_http_server]
file={folder}/supervisor.sock
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
nodaemon=true
environment={environment}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/supervisor.sock
"""


class Supervised:
    """A supervisord that has started the broker and the worker of a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.conf = site.folder / "supervisord.conf"
        self.log = site.folder / "supervisord.log"
        self.conf.write_text(around(site) + adapted(site))
        self.daemon = Daemon("supervisord", [BIN / "supervisord", "-c", self.conf], site.folder, site.environment)
        site.daemons.append(self.daemon)
        self.daemon.start()
        self.reach(BROKER, "RUNNING")
        self.reach(WORKER, "RUNNING")

    def ctl(self, *command: str) -> str:
        """What `supervisorctl COMMAND` prints."""
        done = self.site.run(BIN / "supervisorctl", "-c", self.conf, *command, timeout=60)
        assert not done.stderr, done.stderr
        return done.stdout

    def state(self, program: str) -> str:
        """RUNNING, STOPPED, ...; empty before supervisord answers."""
        match = re.search(rf"^{program} +([A-Z]+)", self.ctl("status"), re.MULTILINE)
        return match[1] if match else ""

    def reach(self, program: str, state: str) -> None:
        """Returns when the program is in this state."""
        until(lambda: self.state(program) == state, f"{program} to be {state}", pause=0.1)

    def pid(self, program: str) -> int:
        """Its process id; 0 while it is down."""
        answer = self.ctl("pid", program).strip()
        return int(answer) if answer.isdigit() else 0

    def kill(self, program: str) -> int:
        """kill -9; the process id that was killed."""
        pid = self.pid(program)
        os.kill(pid, signal.SIGKILL)
        return pid

    def back(self, program: str, former: int) -> int:
        """The process id of the program once it runs again."""
        return until(lambda: (pid := self.pid(program)) not in (0, former) and pid, f"{program} to be back", pause=0.1)


def around(site: Site) -> str:
    """The rest of supervisord.conf, which every installation has already."""
    ours = {name: site.environment[name] for name in ("TQ_HISTORY", "TQ_GATE", "PYTHONDONTWRITEBYTECODE")}
    listen = {"TQBROKER_LISTEN": site.address}  # the broker's port, which the shipped file leaves at its default
    environment = ",".join(f'{name}="{value}"' for name, value in {**ours, **listen}.items())
    return AROUND.format(folder=site.folder, environment=environment)


def adapted(site: Site) -> str:
    """The shipped file for this site."""
    text = SHIPPED.read_text().replace("user=tqbroker\n", "")
    for former, here in {
        "/opt/tqbroker/bin/": f"{BIN}/",
        "/var/lib/tqbroker": str(site.data),
        "/srv/app": str(site.project),
        "tq://127.0.0.1:7730": site.url,
    }.items():
        assert former in text
        text = text.replace(former, here)
    return text


@pytest.fixture
def supervised(site: Site) -> Iterator[Supervised]:
    place = Supervised(site)
    yield place
    place.daemon.stop(60)


def test_supervisord_starts_restarts_stops_and_revives_both_programs(supervised: Supervised) -> None:
    site = supervised.site
    submit_many(site.calls.mark, site.history, 1)[0].get(timeout=10)

    log = supervised.ctl("tail", "-100000", WORKER, "stderr")
    assert "Task tasks.mark[" in log
    assert "succeeded in" in log
    assert '"event": "ready"' in supervised.ctl("tail", "-100000", BROKER, "stderr")

    restart_under_load(supervised)
    revive(supervised)
    stop(supervised)


def restart_under_load(supervised: Supervised) -> None:
    """No job is lost, none fails, none runs twice, and no caller sees an error."""
    site = supervised.site
    with Load(site.calls.mark, site.history, 10**6, threads=2) as load:
        for number, program in enumerate((BROKER, WORKER), 1):
            load.after(200 * number)
            assert f"{program}: started" in supervised.ctl("restart", program)
        load.after(load.answered + 200)
        load.stop()
    ours = site.history.read()
    site.check(lost=0)
    assert len(ours.acknowledged) == len(ours.invoked)


def revive(supervised: Supervised) -> None:
    """kill -9 of each program: it runs again, and jobs are done again."""
    site = supervised.site
    for program in (BROKER, WORKER):
        children = children_of(supervised.pid(program))
        former = supervised.kill(program)
        pid = supervised.back(program, former)
        gone(children)
        if program == WORKER:
            site.wire.connected(pid)
        submit_many(site.calls.mark, site.history, 1)[0].get(timeout=20)


def stop(supervised: Supervised) -> None:
    """The worker first: it lets its jobs end and leaves with 0; then the broker, with 0 as well."""
    site = supervised.site
    supervised.reach(WORKER, "RUNNING")
    running = site.calls.nap.delay(-1, 1.0)
    until(lambda: running.state == "STARTED", "the job to start")

    assert "stopped" in supervised.ctl("stop", WORKER)
    assert running.get(timeout=1) == -1
    assert "stopped" in supervised.ctl("stop", BROKER)

    assert supervised.state(WORKER) == supervised.state(BROKER) == "STOPPED"
    ends = re.findall(r"stopped: (\S+) \((.*)\)", supervised.log.read_text())[-2:]
    assert ends == [(WORKER, "exit status 0"), (BROKER, "exit status 0")]
