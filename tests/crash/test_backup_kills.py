"""Backups while a broker works and is killed, and kills in the middle of a backup, a restore, a compaction."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until
from tests.crash.saved import Backup, copies, fill, missing
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds
from tests.proof.stores import faults_of

from tqbroker_broker.storage.lmdb.opening import COMPACTING, DATA_FILE, RESTORING

pytestmark = [pytest.mark.crash, pytest.mark.proof("T27")]


def restored(site: Site, file: Path, name: str) -> Path:
    """A data directory made of a backup."""
    data = site.folder / name
    done = site.tqbroker("restore", file, "--data-dir", data)
    assert done.returncode == 0, done.stderr
    return data


@seeds(1, 3)
def test_a_backup_has_what_was_acknowledged_before_whatever_is_killed(
    site: Site, seed: int, counts: Counter[str]
) -> None:
    random = Random(seed)
    broker = site.broker()
    site.worker()
    backups: list[Backup] = []
    with Load(site.calls.mark, site.history, 10**6, threads=2) as load:
        for number in range(amount(3, 6)):
            load.after(load.answered + 100)
            how = ("left alone", "killed in the copy", "killed")[number % 3]
            backups.append(_broken(site, broker, Backup(site, f"backup{number}"), how, random))
        load.stop()

    taken = [backup for backup in backups if backup.ended()]
    assert taken
    for backup in taken:
        assert missing(restored(site, backup.file, f"from-{backup.file.name}"), backup.due) == [], f"seed {seed}"
    counts["backups"] += len(taken)
    site.check(lost=0)
    _goes_on(site, broker, taken[-1])


def _broken(site: Site, broker: Daemon, backup: Backup, how: str, random: Random) -> Backup:
    """Does to the broker what is to be done while the backup is taken, and starts it again."""
    if how == "killed":
        time.sleep(random.uniform(0.3, 1.5))  # any moment: the client starts, asks, reads
    elif how == "killed in the copy":
        backup.client.discard()
        broker.kill()
        site.started(broker, TQ_TESTING="1", TQ_FAILPOINT="in_backup:1=kill9")
        backup = Backup(site, backup.file.name + "x")
        assert broker.wait() == -signal.SIGKILL
        assert not backup.ended()
    else:
        assert backup.ended()
        return backup
    if broker.running:
        broker.kill()
    site.started(broker)
    return backup


def _goes_on(site: Site, broker: Daemon, backup: Backup) -> None:
    """The store of a backup serves: what was acknowledged before it comes to the end that it had."""
    broker.stop()
    site.data.rename(site.folder / "former")
    restored(site, backup.file, site.data.name)
    site.started(broker)
    ids = list(backup.due.acknowledged.values())
    statuses = site.wire.finals(ids, 60)
    results = [int(statuses[job].result) for job in ids]
    assert results == list(backup.due.acknowledged)


@catches("backup_is_old")
def test_a_backup_that_misses_what_was_acknowledged_is_noticed(site: Site, mutant: str) -> None:
    site.broker(mutant=mutant)
    submit_many(site.calls.mark, site.history, 20)
    backup = Backup(site, "backup")
    assert backup.ended()
    assert "it had been stored" in missing(restored(site, backup.file, "restored"), backup.due)[0]


# -- the client --------------------------------------------------------------------------------------------------------


def torn(site: Site, mutant: str = "") -> list[str]:
    """Kills a client while a backup comes, and says what is wrong with what it leaves."""
    backup = Backup(site, "monday", mutant=mutant)
    growing = backup.file if mutant else backup.partial
    until(lambda: growing.exists() and growing.stat().st_size > 0, "the first bytes to come", pause=0.0005)
    backup.client.kill()
    assert backup.client.wait() == -signal.SIGKILL, "the client had ended before it was killed"
    size = growing.stat().st_size
    if not backup.file.exists():
        return []
    faults = faults_of(backup.file) or ["it is whole, so the kill came too late"]
    return [f"a file of {size} bytes looks like a backup and is none: {faults[0]}"]


def test_a_client_killed_while_it_reads_leaves_no_backup_and_the_next_one_takes_its_place(
    site: Site, counts: Counter[str]
) -> None:
    broker = site.broker()
    fill(site)

    for _ in range(amount(2, 10)):
        (site.folder / "monday").unlink(missing_ok=True)
        assert torn(site) == []

    done = site.tqbroker("backup", site.folder / "tuesday")
    assert done.returncode == 0, done.stderr
    until(lambda: not copies(broker), "the copies of those who are gone to be gone")
    counts["backups"] += 1


@catches("backup_not_atomic")
def test_a_backup_that_has_its_name_too_early_is_noticed(site: Site, mutant: str) -> None:
    site.broker()
    fill(site)
    assert "looks like a backup and is none" in torn(site, mutant)[0]


# -- restore and compact -----------------------------------------------------------------------------------------------


def killed(site: Site, failpoint: str, *command: str | Path, mutant: str = "") -> None:
    """Runs a command that dies at a failpoint."""
    daemon = site.daemon(str(command[0]), *command, mutant=mutant)
    daemon.start(TQ_TESTING="1", TQ_FAILPOINT=failpoint)
    assert daemon.wait() == -signal.SIGKILL, daemon.log.tail()


def kill_a_restore(site: Site, mutant: str = "") -> None:
    """A restore is killed at its last step: what it leaves is no store, and it is run again."""
    broker = site.broker()
    (job,) = submit_many(site.calls.mark, site.history, 1)
    backup = Backup(site, "backup")
    assert backup.ended()
    broker.stop()
    site.data.rename(site.folder / "former")

    killed(site, "in_restore=kill9", "restore", backup.file, "--data-dir", site.data, mutant=mutant)
    assert not (site.data / DATA_FILE).exists(), "what was not restored to its end looks like a store"
    broker.start()
    assert broker.wait() == 1
    broker.expect("run `tqbroker restore` again")
    restored(site, backup.file, site.data.name)

    assert missing(site.data, backup.due) == []
    site.started(broker)
    site.worker()
    assert job.get(timeout=20) in site.history.read().acknowledged


@pytest.mark.long
def test_a_restore_killed_at_its_last_step_is_no_store_and_is_run_again(site: Site, counts: Counter[str]) -> None:
    kill_a_restore(site)
    counts["backups"] += 1


@pytest.mark.long
@catches("restored_too_early")
def test_a_killed_restore_shows_that_its_copy_has_its_name_too_early(site: Site, mutant: str) -> None:
    with pytest.raises(AssertionError, match="looks like a store"):
        kill_a_restore(site, mutant)


def kill_a_compaction(site: Site, mutant: str = "") -> None:
    """A compaction is killed at its last step: nothing has changed, and it is run again."""
    broker = site.broker()
    fill(site)
    submit_many(site.calls.mark, site.history, 20)
    site.calls.app.control.purge()
    broker.stop()
    before = (site.data / DATA_FILE).read_bytes()

    killed(site, "in_compact=kill9", "compact", "--data-dir", site.data, mutant=mutant)
    assert (site.data / DATA_FILE).exists(), "the store is gone"
    assert (site.data / DATA_FILE).read_bytes() == before
    done = site.tqbroker("compact", "--data-dir", site.data)

    assert done.returncode == 0, done.stderr
    assert faults_of(site.data) == []
    assert sorted(os.listdir(site.data)) == ["CRASH", "LOCK", "data.mdb", "data.mdb-lock"]
    site.started(broker)


@pytest.mark.long
def test_a_compaction_killed_at_its_last_step_changes_nothing_and_is_run_again(site: Site) -> None:
    kill_a_compaction(site)


@pytest.mark.long
@catches("store_gone_before_its_copy")
def test_a_killed_compaction_shows_that_the_store_was_taken_away(site: Site, mutant: str) -> None:
    with pytest.raises(AssertionError, match="the store is gone"):
        kill_a_compaction(site, mutant)


class Cut:
    """A command that writes a file beside what it makes, killed at any moment between that file's start and its end.

    `seconds` is how long that takes when nobody disturbs it.
    """

    def __init__(self, site: Site, *command: str | Path) -> None:
        self._site = site
        self._command = command
        self.seconds = 0.0

    def measure(self, partial: Path) -> None:
        """One run that is left alone."""
        daemon, begun = self._begun(partial)
        assert daemon.wait() == 0, daemon.log.tail()
        self.seconds = time.monotonic() - begun

    def cut(self, partial: Path, random: Random) -> bool:
        """One run that is killed, with all that it has started. Whether the kill came before its end."""
        daemon, _ = self._begun(partial)
        time.sleep(random.uniform(0, self.seconds))
        daemon.discard()
        code = daemon.wait()
        assert code in (0, -signal.SIGKILL), daemon.log.tail()
        return code != 0

    def _begun(self, partial: Path) -> tuple[Daemon, float]:
        left = _version(partial)  # by a run that was killed
        daemon = self._site.daemon(str(self._command[0]), *self._command)
        daemon.start()
        until(
            lambda: _version(partial) not in (0, left) or not daemon.running, f"{partial.name} to begin", pause=0.0005
        )
        return daemon, time.monotonic()


def _version(file: Path) -> int:
    """Another number whenever the file has been written to; 0 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


@pytest.mark.long
@seeds(1, 3)
def test_restores_and_compactions_killed_at_any_moment_leave_a_store_or_none(
    site: Site, seed: int, counts: Counter[str]
) -> None:
    random = Random(seed)
    broker = site.broker()
    fill(site)
    submit_many(site.calls.mark, site.history, 200)
    backup = Backup(site, "backup")
    assert backup.ended()
    broker.stop()
    data = site.folder / "restored"
    restore = Cut(site, "restore", backup.file, "--data-dir", data)
    compact = Cut(site, "compact", "--data-dir", site.data)
    restore.measure(data / RESTORING)
    compact.measure(site.data / COMPACTING)

    kills = Counter[str]()
    for _ in range(amount(2, 6)):
        shutil.rmtree(data)
        kills["restore"] += restore.cut(data / RESTORING, random)
        assert not (data / DATA_FILE).exists() or missing(data, backup.due) == [], f"seed {seed}"
        kills["compact"] += compact.cut(site.data / COMPACTING, random)
        assert missing(site.data, backup.due) == [], f"seed {seed}"
    print(f"killed: {dict(kills)}; undisturbed: {restore.seconds:.2f} s, {compact.seconds:.2f} s")
    assert kills.total(), f"seed {seed}: every command had ended before it was killed"
    counts["kills"] += kills.total()
    counts["backups"] += 1
