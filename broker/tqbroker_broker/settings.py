"""From flags, environment and file to one BrokerConfig, with errors that name the setting and what is allowed."""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tqbroker_broker.config import DAY, GIB, KIB, MIB, BrokerConfig, StorageConfig
from tqbroker_broker.storage import ENGINES

PREFIX = "TQBROKER_"
LEVELS = ("debug", "info", "warning", "error", "critical")

# Lowest and highest value of every number.
BOUNDS: dict[str, tuple[float, float]] = {
    "map_size": (16 * MIB, 16_384 * GIB),
    "high_water": (0.1, 0.95),
    "lease_ttl": (0.3, 3600),
    "grace": (0, 3600),
    "max_lost_leases": (1, 1000),
    "result_ttl": (1, 3650 * DAY),
    "dead_ttl": (1, 3650 * DAY),
    "max_attempts_kept": (1, 10_000),
    "event_ttl": (1, 3650 * DAY),
    "event_bytes": (MIB, 1024 * GIB),
    "dedup_window": (600, 3650 * DAY),
    "dedup_share": (0.001, 0.5),
    "max_result_size": (KIB, 8 * MIB),
    "max_workflow_jobs": (1, 1_000_000),
    "max_inputs_size": (MIB, GIB),
    "upload_ttl": (1, 30 * DAY),
    "group_limit": (1, 100_000),
    "drain": (0.1, 600),
    "backup_timeout": (1, DAY),
    "max_args_size": (KIB, 8 * MIB),
    "max_headers_size": (KIB, 1 * MIB),
    "max_request_jobs": (1, 100_000),
    "max_request_batches": (1, 100_000),
    "max_request_bytes": (64 * KIB, 12 * MIB),
    "max_inflight_bytes": (12 * MIB, 16 * GIB),
    "max_connections": (1, 1_000_000),
    "handshake_timeout": (0.1, 600),
    "max_watched": (1, 10_000_000),
}


class ConfigError(Exception):
    """A setting that cannot be used; the message is one sentence for the operator."""


class Setting(NamedTuple):
    """One field of BrokerConfig, by all its names."""

    name: str
    type: type
    default: Any
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        return PREFIX + self.name.upper()


def settings() -> list[Setting]:
    """Every setting in the order of its definition: what a start needs first, then the storage."""
    types = {"int": int, "float": float, "str": str, "tuple[str, ...]": tuple}
    helps = {**_docstrings(StorageConfig), **_docstrings(BrokerConfig)}
    own = [f for f in fields(BrokerConfig) if f.name not in _docstrings(StorageConfig)]
    rest = [f for f in fields(BrokerConfig) if f not in own]
    return [Setting(f.name, types[str(f.type)], f.default, helps.get(f.name, "")) for f in own + rest]


def load(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None) -> BrokerConfig:
    """A flag wins over the environment, the environment over the file, the file over the default.

    `flags` holds only what was given on the command line, by field name. Raises ConfigError.
    """
    known = {setting.name: setting for setting in settings()}
    values: dict[str, Any] = {}
    if file is not None:
        values.update({name: _value(known[name], raw, f"{file}: {name}") for name, raw in _read(file, known).items()})
    for setting in known.values():
        if setting.env in environ:
            values[setting.name] = _value(setting, environ[setting.env], setting.env)
    values.update({name: _value(known[name], raw, known[name].flag) for name, raw in flags.items()})
    return BrokerConfig(**values)


def _read(file: Path, known: Mapping[str, Setting]) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration {file} is not TOML: {error}") from error
    for name in content:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "tqbroker serve --help lists them all"
            raise ConfigError(f"{file}: there is no setting {name!r}: {hint}")
    return content


def _value(setting: Setting, raw: Any, where: str) -> Any:
    if setting.type is tuple:
        return _texts(raw, where)
    if setting.type is str:
        return _text(setting, raw, where)
    return _number(setting, raw, where)


def _texts(raw: Any, where: str) -> tuple[str, ...]:
    parts = [part.strip() for part in raw.split(",")] if isinstance(raw, str) else list(raw or ())
    if not parts or not all(isinstance(part, str) and part for part in parts):
        raise ConfigError(f"{where} is {raw!r}: it must be one or more addresses, several separated by commas")
    return tuple(parts)


def _text(setting: Setting, raw: Any, where: str) -> str:
    if not isinstance(raw, str):
        raise ConfigError(f"{where} is {raw!r}: it must be a text in quotes")
    if setting.name == "loglevel" and raw.lower() not in LEVELS:
        raise ConfigError(f"{where} is {raw!r}: use one of {', '.join(LEVELS)}")
    if setting.name == "data_dir" and not raw.strip():
        raise ConfigError(f"{where} is {raw!r}: it must be a directory, for example /var/lib/tqbroker")
    if setting.name == "storage" and raw and not _is_storage(raw):
        raise ConfigError(f"{where} is {raw!r}: it must be lmdb:PATH or memory:, or empty for lmdb: in data_dir")
    return raw


def _is_storage(url: str) -> bool:
    scheme, separator, path = url.partition(":")
    return scheme in ENGINES and bool(separator) and (scheme != "lmdb" or bool(path.strip()))


def _number(setting: Setting, raw: Any, where: str) -> int | float:
    kind = "a whole number" if setting.type is int else "a number"
    low, high = BOUNDS[setting.name]
    allowed = f"it must be {kind} from {low:,.10g} to {high:,.10g}".replace(",", "_")
    if isinstance(raw, bool) or (setting.type is int and isinstance(raw, float)):
        raise ConfigError(f"{where} is {raw!r}: {allowed}")
    try:
        number: int | float = setting.type(raw)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where} is {raw!r}: {allowed}") from error
    if not low <= number <= high:
        raise ConfigError(f"{where} is {raw!r}: {allowed}")
    return number


def _docstrings(owner: type) -> dict[str, str]:
    """The text under each field, which Python itself does not keep."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found: dict[str, str] = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = str(ast.literal_eval(text.value))
    return found


def example() -> str:
    """The text of deploy/tqbroker.example.toml: every setting with its default and its reason."""
    lines = [
        "# Every setting of `tqbroker serve` with its default; also --flags and TQBROKER_* variables.",
        "",
    ]
    for setting in settings():
        lines += [f"# {line}" for line in textwrap.wrap(setting.help, 110)]
        lines += [f"# {setting.name} = {_toml(setting.default)}", ""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    return f'"{value}"' if isinstance(value, str) else f"{value:_}"
