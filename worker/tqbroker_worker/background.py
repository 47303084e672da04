"""A worker as a daemon in the manner of Unix: log file, pid file, other user, detached from its terminal."""

from __future__ import annotations

import atexit
import grp
import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from tqbroker.exceptions import ImproperlyConfigured


@dataclass(frozen=True, slots=True)
class Background:
    """What to do before the worker begins; empty means to leave it as it is. `umask` is octal."""

    workdir: str = ""
    logfile: str = ""
    pidfile: str = ""
    uid: str = ""
    gid: str = ""
    umask: str = ""
    detach: bool = False

    def enter(self) -> None:
        """Does it all. Raises ImproperlyConfigured for what cannot be done; then nothing has been detached yet."""
        mask = _octal(self.umask)
        gid, uid = _group(self.gid), _user(self.uid)
        try:
            if self.workdir:
                os.chdir(self.workdir)
            if mask is not None:
                os.umask(mask)
            log = _open(self.logfile or (os.devnull if self.detach else ""))
            _refuse_taken(self.pidfile)
            if self.detach:
                _detach()
            if log is not None:
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.close(log)
            _write_pid(self.pidfile)
            _become(uid, gid)
        except OSError as error:
            raise ImproperlyConfigured(f"the worker cannot be set up as asked: {error}") from None


def _octal(text: str) -> int | None:
    try:
        return int(text, 8) if text else None
    except ValueError:
        raise ImproperlyConfigured(f"umask {text!r} is not allowed: write it in octal, for example 022") from None


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return None if not name else pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        raise ImproperlyConfigured(f"there is no user {name!r}") from None


def _group(name: str) -> int | None:
    try:
        return None if not name else int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ImproperlyConfigured(f"there is no group {name!r}") from None


def _open(logfile: str) -> int | None:
    return os.open(logfile, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640) if logfile else None


def _refuse_taken(pidfile: str) -> None:
    """A pid file whose process is alive belongs to another worker; one of a process that died is replaced."""
    path = Path(pidfile)
    if not pidfile or not path.exists():
        return
    try:
        pid = int(path.read_text().strip())
        os.kill(pid, 0)
    except (ValueError, ProcessLookupError):
        return
    except PermissionError:
        pass
    raise ImproperlyConfigured(f"pid file {pidfile} belongs to process {path.read_text().strip()}, which is alive")


def _write_pid(pidfile: str) -> None:
    if pidfile:
        path, pid = Path(pidfile).absolute(), os.getpid()
        path.write_text(f"{pid}\n")
        atexit.register(_remove, path, pid)


def _remove(path: Path, pid: int) -> None:
    if os.getpid() == pid:
        path.unlink(missing_ok=True)


def _detach() -> None:
    """Leaves terminal and session: the caller's process ends, its grandchild goes on."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _become(user: pwd.struct_passwd | None, gid: int | None) -> None:
    if user is not None:
        os.setgroups([])
    if gid is not None or user is not None:
        os.setgid(gid if gid is not None else user.pw_gid if user is not None else os.getgid())
    if user is not None:
        os.setuid(user.pw_uid)
