"""Calls the generator of grpcio-tools, and compares: the stubs with the protos, the protos with the last release."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
STUBS = Path("tqbroker/v1")
BASELINE = PROTO / "baseline.binpb"


def sources() -> list[str]:
    """Our .proto files, relative to `proto/`, in order."""
    return sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("tqbroker/**/*.proto"))


def describe() -> FileDescriptorSet:
    """The wire as it is in `proto/` now, with comments."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "wire.binpb"
        _protoc([f"--descriptor_set_out={out}", "--include_imports", "--include_source_info"], sources())
        return FileDescriptorSet.FromString(out.read_bytes())


def generate(target: Path) -> None:
    """Writes the stubs of all files below `target`, replacing generated ones that are there.

    Service stubs are made only for files that declare a service: the others would be empty and import grpc for nothing.
    """
    for old in (target / STUBS).glob("*_pb2*"):
        old.unlink()
    _protoc([f"--python_out={target}", f"--mypy_out={target}"], sources())
    services = [file.name for file in describe().file if file.service]
    _protoc([f"--grpc_python_out={target}", f"--mypy_grpc_out={target}"], services)


def stale(source_root: Path) -> list[str]:
    """Stubs below `source_root` that differ from what the protos generate, are missing, or should not be there."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        committed, fresh = source_root / STUBS, Path(scratch) / STUBS
        names = sorted({path.name for folder in (committed, fresh) for path in folder.glob("*_pb2*")})
        _, differ, missing = filecmp.cmpfiles(committed, fresh, names, shallow=False)
    return [f"{STUBS / name} is not what the protos generate: run `make proto`" for name in sorted(differ + missing)]


def read_baseline() -> FileDescriptorSet:
    """The wire as last released."""
    return FileDescriptorSet.FromString(BASELINE.read_bytes())


def record_baseline() -> None:
    """Makes the wire as it is now the one that later versions are compared with. Part of a release."""
    wire = describe()
    for file in wire.file:
        file.ClearField("source_code_info")
    BASELINE.write_bytes(wire.SerializeToString(deterministic=True))


def _protoc(flags: list[str], files: list[str]) -> None:
    # The plugins of mypy-protobuf are found on the PATH: those beside this interpreter, whatever else is installed.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *flags, *files]
    done = subprocess.run(  # noqa: S603 - our own arguments
        command, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise SystemExit(f"protoc failed:\n{done.stderr}")
