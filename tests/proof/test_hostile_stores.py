"""Files that somebody made to do harm: whoever reads them says what is wrong, soon, and lives on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from click.testing import CliRunner
from tests.proof.make_fixture import filled

from tqbroker.cli import cli
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.exported import exported, imported
from tqbroker_broker.storage.lmdb.exporting import OWNER
from tqbroker_broker.storage.lmdb.keys import AGENDA, RETENTION, U64
from tqbroker_broker.storage.lmdb.rows import seal
from tqbroker_broker.storage.lmdb.workflow_rows import PART, SPAN, Nodes, WorkflowRow, pack
from tqbroker_broker.storage.replaced import replacing
from tqbroker_broker.storage.verified import verified

pytestmark = pytest.mark.proof("S14")

PAGE = 4096
SOON = 20.0
"""Seconds a reader may take, on a machine that does much else."""

# Where things stand in the two meta pages of LMDB 0.9: the roots of the free pages and of the main tree, the last page,
# the transaction.
FREE_ROOT, MAIN_ROOT, LAST_PAGE, TXN = 80, 128, 136, 144
HUGE = (1 << 60) - 1
CHILDREN = 200


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store with every kind of row."""
    return asyncio.run(filled(tmp_path_factory.mktemp("original"))).read_bytes()


def in_meta(content: bytearray, at: int, number: int) -> None:
    for page in (0, PAGE):
        content[page + at : page + at + 8] = number.to_bytes(8, "little")


def main_root(content: bytearray) -> int:
    newer = PAGE if content[PAGE + TXN : PAGE + TXN + 8] > content[TXN : TXN + 8] else 0
    return int.from_bytes(content[newer + MAIN_ROOT : newer + MAIN_ROOT + 8], "little")


def to_itself(content: bytearray) -> None:
    """Every page says that it has one child: the root."""
    root = main_root(content)
    at = root * PAGE
    content[at + 10 : at + 16] = bytes([1, 0, 20, 0, 0, 8])
    content[at + 16 : at + 20] = (2048).to_bytes(2, "little") * 2
    content[at + 2048 : at + 2056] = root.to_bytes(6, "little") + b"\0\0"


def nodes_beyond_the_page(content: bytearray) -> None:
    at = main_root(content) * PAGE
    content[at + 16 : at + 18] = b"\xf8\x0f"
    content[at + 0xFF8 : at + 0x1000] = b"\xff" * 8


def a_value_into_the_next(content: bytearray) -> None:
    """A leaf whose second node from below says that it has more bytes, which are those of the one above it."""
    for at in range(2 * PAGE, len(content), PAGE):
        number, flags = content[at : at + 8], content[at + 10]
        lower = int.from_bytes(content[at + 12 : at + 14], "little")
        if int.from_bytes(number, "little") == at // PAGE and flags == 2 and lower > 16 + 2 * 20:
            nodes = sorted(int.from_bytes(content[at + i : at + i + 2], "little") for i in range(16, lower, 2))
            if content[at + nodes[1] + 4] == 0:
                content[at + nodes[1]] += 8
                return


def table(content: bytearray, name: bytes) -> tuple[int, int]:
    """Where the main tree says where the tree of a table begins, and the number of the page that it says."""
    record = content.index(name, main_root(content) * PAGE) + len(name)
    return record, int.from_bytes(content[record + 40 : record + 48], "little")


def a_leaf_found_over_and_over(content: bytearray) -> None:
    """Above the only leaf of a table come branches, each child of which is the same: 8,000,000 times all its rows."""
    record, root = table(content, b"jobs")
    for depth in (2, 3, 4):
        content += bytes(-len(content) % PAGE)
        child, root = root, len(content) // PAGE
        ends = (16 + 2 * CHILDREN).to_bytes(2, "little") + (PAGE - 8 * CHILDREN).to_bytes(2, "little")
        places = b"".join((PAGE - 8 * (n + 1)).to_bytes(2, "little") for n in range(CHILDREN))
        start = root.to_bytes(8, "little") + bytes([0, 0, 1, 0]) + ends + places
        content += start + bytes(PAGE - len(start) - 8 * CHILDREN) + child.to_bytes(8, "little") * CHILDREN
        content[record + 6 : record + 8] = depth.to_bytes(2, "little")
    content[record + 40 : record + 48] = root.to_bytes(8, "little")
    in_meta(content, LAST_PAGE, root)


PAGES: dict[str, Callable[[bytearray], None]] = {
    "a tree that bites its tail": to_itself,
    "a last page beyond all disks": lambda content: in_meta(content, LAST_PAGE, HUGE),
    "a root that is a meta page": lambda content: in_meta(content, MAIN_ROOT, 1),
    "a root beyond the file": lambda content: in_meta(content, MAIN_ROOT, HUGE),
    "free pages beyond the file": lambda content: in_meta(content, FREE_ROOT, HUGE),
    "nodes that end behind their page": nodes_beyond_the_page,
    "a leaf that is found over and over": a_leaf_found_over_and_over,
    "a value that reaches into the next": a_value_into_the_next,
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_made_to_do_harm_are_never_opened(tmp_path: Path, whole: bytes, name: str, counts: Counter[str]) -> None:
    content = bytearray(whole)
    PAGES[name](content)
    file = tmp_path / "hostile.mdb"
    file.write_bytes(content)
    begun = time.monotonic()

    faults = verified(file).faults

    assert faults
    assert not any("was ended by" in fault for fault in faults), faults
    with pytest.raises(CannotOpen):
        replacing().restore(file, tmp_path / "data", 0, lambda _: None)
    assert not (tmp_path / "data" / "data.mdb").exists()
    assert time.monotonic() - begun < SOON
    counts["inputs"] += 1


@pytest.mark.parametrize("name", PAGES)
def test_an_export_of_pages_made_to_do_harm_ends_soon(
    tmp_path: Path, whole: bytes, name: str, counts: Counter[str]
) -> None:
    content = bytearray(whole)
    PAGES[name](content)
    file, lines = tmp_path / "hostile.mdb", tmp_path / "export.jsonl"
    file.write_bytes(content)
    begun = time.monotonic()

    told: list[str] = []
    with lines.open("wb") as out, contextlib.suppress(CannotOpen):
        exported(file, out, told.append)
        assert told

    assert lines.stat().st_size < 20 * len(content)
    assert time.monotonic() - begun < SOON
    counts["inputs"] += 1


def lost_child(content: bytearray, name: bytes, child: int) -> None:
    """The root of a table, a branch, says of one of its children that it is where no page is."""
    at = table(content, name)[1] * PAGE
    node = at + int.from_bytes(content[at + 16 + 2 * child : at + 18 + 2 * child], "little")
    content[node : node + 4] = (1 << 24).to_bytes(4, "little")


def export_of(content: bytes | bytearray, directory: Path) -> tuple[Counter[str], list[str]]:
    """The rows by table that an export saves of a file, and what is told of what it does not."""
    file, lines = directory / "hostile.mdb", directory / "export.jsonl"
    file.write_bytes(content)
    told: list[str] = []
    with lines.open("wb") as out:
        exported(file, out, told.append)
    return Counter(json.loads(line).get("table", "") for line in lines.read_bytes().splitlines()), told


def test_a_damaged_branch_takes_away_no_more_than_its_child(tmp_path: Path, whole: bytes, counts: Counter[str]) -> None:
    content, (sound, _) = bytearray(whole), export_of(whole, tmp_path)
    lost_child(content, b"jobs", 1)  # one in the middle
    lost_child(content, b"events", 1)  # the last one

    saved, told = export_of(content, tmp_path)

    assert {"jobs", "events"} <= {name for name in sound if saved[name] != sound[name]} <= {"jobs", *OWNER, "events"}
    assert saved["jobs"] > sound["jobs"] / 2, "what is before it and what is behind it"
    assert saved["events"] > sound["events"] / 2
    assert saved["ids"] - saved["jobs"] == sound["ids"] - sound["jobs"], "the ids of dropped jobs are known for longer"
    assert [text.partition(" cannot be read")[0] for text in told if "of the table" in text] == [
        "jobs: a part of the table",
        "events: the rest of the table",
    ]
    counts["inputs"] += 1


def test_what_belongs_to_a_job_that_is_not_saved_goes_with_it(
    tmp_path: Path, whole: bytes, counts: Counter[str]
) -> None:
    content = bytearray(whole)
    lost_child(content, b"jobs", 1)
    export_of(content, tmp_path)

    done = imported(tmp_path / "export.jsonl", tmp_path / "data", 1_800_000_000_000)

    assert done.skipped
    assert not [fault for fault in done.faults if "is not there" in fault and "leads to" in fault]
    assert not [
        fault for fault in done.faults if "belongs to no job" in fault or fault.startswith(("lanes", "delayed"))
    ]
    counts["inputs"] += 1


def dies_of(content: bytearray, name: bytes) -> None:
    """A branch of one child: LMDB says on stderr that this cannot be, and ends the process."""
    at = table(content, name)[1] * PAGE
    content[at + 12 : at + 14] = (18).to_bytes(2, "little")


def test_what_was_read_before_lmdb_gave_up_is_kept(tmp_path: Path, whole: bytes, counts: Counter[str]) -> None:
    content = bytearray(whole)
    dies_of(content, b"final")
    saved, told = export_of(content, tmp_path)
    assert saved["jobs"]
    assert "was ended by SIGABRT (" in told[-1]
    assert "Assertion" in told[-1]

    done = CliRunner().invoke(cli, ["export", str(tmp_path / "hostile.mdb"), "-o", str(tmp_path / "saved.jsonl")])

    assert done.exit_code == 2, done.output
    assert "what could be read is in" in done.output
    assert (tmp_path / "saved.jsonl.partial").stat().st_size
    counts["inputs"] += 1


def test_a_table_that_cannot_be_opened_is_said_in_words(tmp_path: Path, whole: bytes, counts: Counter[str]) -> None:
    content = bytearray(whole)
    at = table(content, b"meta")[0]
    content[at + 40 : at + 48] = (1 << 24).to_bytes(8, "little")
    with pytest.raises(CannotOpen, match=r"LMDB cannot read .*MDB_PAGE_NOTFOUND"):
        export_of(content, tmp_path)
    counts["inputs"] += 1


Put = tuple[str, bytes, bytes]

NODES = Nodes(HUGE, 121, (121, 0), False, 0, 0, (), b"")
ROWS: dict[str, list[Put]] = {
    "places of more jobs than there are numbers": [("nodes", U64.pack(5000), pack(NODES))],
    "a part of all numbers": [("parts", PART.pack(121, 1), SPAN.pack(0, (1 << 32) - 1, 121) + bytes(16))],
    "a workflow of parts without end": [
        ("workflows", U64.pack(6000), pack(WorkflowRow(b"w" * 16, "", 0, 0, live=True, parts=HUGE, joins=HUGE)))
    ],
    "an agenda of all numbers": [
        ("agenda", AGENDA.pack(RETENTION, 1, 1), b"".join(U64.pack(n << 44) for n in range(100_000)))
    ],
    "a job whose lengths are wrong": [("jobs", U64.pack(7000), seal(b"\xff" * 40))],
    "rows within rows": [("schedules", b"deep", seal(b"\x91" * 100_000))],
    "a name for a terminal": [("counts", b"\x1b[2J\x07queue", b"\x97\x01\0\0\0\0\0\0")],
    "a counter of the wrong size": [("counts", b"\0seq", b"12345678901234567890")],
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_made_to_do_harm_are_named_and_harm_nobody(
    tmp_path: Path, whole: bytes, name: str, counts: Counter[str]
) -> None:
    file = tmp_path / "hostile.mdb"
    file.write_bytes(whole)
    env = lmdb.open(str(file), subdir=False, max_dbs=64, lock=False, map_size=1 << 28, sync=False)
    with env.begin(write=True) as txn:
        for database, key, row in ROWS[name]:
            txn.put(key, row, db=env.open_db(database.encode(), txn=txn))
    env.close()
    begun = time.monotonic()

    faults = verified(file).faults
    with (tmp_path / "export.jsonl").open("wb") as out:
        assert exported(file, out, lambda _: None) is not None

    assert faults
    assert not any("was ended by" in fault for fault in faults), faults
    assert all(fault.isprintable() for fault in faults)
    assert time.monotonic() - begun < SOON
    counts["inputs"] += 1
