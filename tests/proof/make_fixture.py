"""Makes the fixture of a release: a store of its format with every kind of row, and the export of it.

    python -m tests.proof.make_fixture

writes `fixtures/format<N>.store.xz` and `fixtures/format<N>.export.xz`, which are kept for ever: every later version
either opens that store, or says how to take its jobs along.
"""

from __future__ import annotations

import asyncio
import io
import lzma
import sys
import tempfile
from pathlib import Path

import lmdb
from tests.contracts.harness import EngineUnderTest
from tests.proof.everything import fill

from tqbroker_broker.storage.lmdb.exporting import export
from tqbroker_broker.storage.lmdb.keys import FORMAT_VERSION

FIXTURES = Path(__file__).parent / "fixtures"


async def filled(directory: Path) -> Path:
    """A store with every kind of row, without free pages."""
    engine = EngineUnderTest("lmdb", directory)
    await engine.open()
    await fill(engine)
    await engine.verbs.close()
    compact = directory / "compact.mdb"
    with lmdb.open(str(directory / "data" / "data.mdb"), subdir=False, lock=False, readonly=True) as env:
        env.copy(str(compact), compact=True)
    return compact


def main() -> None:
    """Writes both files. Those of a format that has some already stay as they are."""
    store, exported = (FIXTURES / f"format{FORMAT_VERSION}.{kind}.xz" for kind in ("store", "export"))
    if store.exists():
        sys.exit(
            f"{store} is there: it is what a release has written, and never changes. A new format has a new number."
        )
    FIXTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        file = asyncio.run(filled(Path(folder)))
        lines = io.BytesIO()
        export(file, lines, sys.exit)
        store.write_bytes(lzma.compress(file.read_bytes(), preset=9))
        exported.write_bytes(lzma.compress(lines.getvalue(), preset=9))
    for path in (store, exported):
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
