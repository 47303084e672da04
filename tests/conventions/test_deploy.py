"""The deployment files are read by the tools they are for, and keep the hardening that they were given."""

from __future__ import annotations

import configparser
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from supervisor.datatypes import RestartUnconditionally
from supervisor.options import ServerOptions

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = ["tqbroker.service", "tqbroker-worker@.service"]
NEEDS_SYSTEMD = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")

HARDENED = {
    "CapabilityBoundingSet": "",
    "LockPersonality": "true",
    "MemoryDenyWriteExecute": "true",
    "NoNewPrivileges": "true",
    "PrivateDevices": "true",
    "PrivateTmp": "true",
    "PrivateUsers": "true",
    "ProcSubset": "pid",
    "ProtectClock": "true",
    "ProtectControlGroups": "true",
    "ProtectHome": "true",
    "ProtectHostname": "true",
    "ProtectKernelLogs": "true",
    "ProtectKernelModules": "true",
    "ProtectKernelTunables": "true",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "true",
    "RestrictRealtime": "true",
    "RestrictSUIDSGID": "true",
    "SystemCallFilter": "~@privileged @resources",
    "UMask": "0077",
    "User": "tqbroker",
}


def unit(name: str) -> configparser.RawConfigParser:
    parsed = configparser.RawConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(DEPLOY / "systemd" / name)
    return parsed


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_hardened(name: str) -> None:
    service = dict(unit(name)["Service"])

    assert {key: service.get(key) for key in HARDENED} == HARDENED
    assert service["Restart"] == "on-failure"
    assert service["KillSignal"] == "SIGTERM"
    assert service["LimitNOFILE"] == "65536"


def test_the_broker_writes_only_to_its_own_directory_and_the_worker_drains_alone() -> None:
    assert unit("tqbroker.service")["Service"]["StateDirectoryMode"] == "0700"
    assert unit("tqbroker-worker@.service")["Service"]["KillMode"] == "mixed"


@NEEDS_SYSTEMD
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_a_unit_and_rates_it_safe(name: str, tmp_path: Path) -> None:
    """The program is swapped for one that exists here; every other line is checked as it stands."""
    copy = tmp_path / name.replace("@", "@test")
    copy.write_text((DEPLOY / "systemd" / name).read_text().replace("/opt/tqbroker/bin/tqbroker", "/bin/true"))

    verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60)
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--json=short", copy],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert [line for line in verified.stderr.splitlines() if copy.name in line] == []
    assert rated.returncode == 0, rated.stderr
    assert json.loads(rated.stdout)


def test_supervisord_reads_both_programs_broker_first(tmp_path: Path) -> None:
    conf = tmp_path / "supervisord.conf"
    ours = (DEPLOY / "supervisor" / "tqbroker.conf").read_text()
    conf.write_text(ours.replace("user=tqbroker\n", "") + "[supervisord]\n")  # the user need not exist here
    options = ServerOptions()
    options.realize(args=["-c", str(conf)])
    options.process_config(do_usage=False)

    broker, worker = (config for group in sorted(options.process_group_configs) for config in group.process_configs)

    assert (broker.name, worker.name) == ("tqbroker", "tqbroker-worker")
    assert broker.priority < worker.priority
    assert broker.command.split()[1] == "serve"
    assert worker.command.split()[1] == "worker"
    for program in (broker, worker):
        assert program.autorestart is RestartUnconditionally
        assert (program.killasgroup, program.redirect_stderr) == (True, False)
    assert worker.stopasgroup is False  # the worker alone is told to drain; what its tasks started goes on meanwhile


def test_supervisord_is_told_of_file_handles_where_it_reads_it(tmp_path: Path) -> None:
    text = (DEPLOY / "supervisor" / "tqbroker.conf").read_text()
    advice = text.partition(";   [supervisord]\n;   ")[2].partition("\n")[0]
    conf = tmp_path / "supervisord.conf"
    conf.write_text(f"[supervisord]\n{advice}\n")
    options = ServerOptions()
    options.realize(args=["-c", str(conf)])

    assert vars(options)["minfds"] == 65536


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("/opt/tqbroker/bin/python /opt/tqbroker/bin/tqbroker serve --data-dir /var/lib/tqbroker", True),
        ("/sbin/docker-init -- tqbroker serve", True),
        ("/opt/tqbroker/bin/python /opt/tqbroker/bin/tqbroker worker -A serve_mail", False),
    ],
)
def test_the_image_asks_a_broker_whether_it_is_well_and_leaves_a_worker_alone(
    tmp_path: Path, command: str, asked: bool
) -> None:
    first = tmp_path / "cmdline"
    first.write_text(command.replace(" ", "\0") + "\0")
    check = (DEPLOY / "Dockerfile").read_text().partition("HEALTHCHECK")[2].partition("CMD ")[2].partition("\n")[0]
    script = check.replace("/proc/1/cmdline", shlex.quote(str(first)))

    down = subprocess.run(["sh", "-c", f"tqbroker() {{ test $1 != status; }}; {script}"], timeout=30)

    assert down.returncode == int(asked)  # the broker is down: a worker is well all the same


def test_the_image_runs_as_a_plain_user_and_keeps_its_data_on_a_volume() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()

    assert "USER 10001:10001" in lines
    assert 'ENTRYPOINT ["tqbroker"]' in lines  # exec form: SIGTERM reaches the daemon
    assert any(line.startswith("VOLUME") and "/var/lib/tqbroker" in line for line in lines)
