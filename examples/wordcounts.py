"""The words of a folder of texts: a job for each file, one that sums up, and all of it again every night.

    tqbroker serve &
    tqbroker worker -A wordcounts --loglevel=info &
    python -c "import wordcounts; print(wordcounts.count_folder.delay('texts').get())"

Kill the broker, the worker or this machine while it counts: it goes on where it was, and the report is written once
all files are counted, or says which could not be.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tqbroker import App, Task, chord
from tqbroker.schedules import crontab

app = App("wordcounts")
app.conf.timezone = os.environ.get("WORDCOUNTS_ZONE", "UTC")
app.conf.beat_schedule = {
    "every-night": {
        "task": "wordcounts.count_folder",
        "schedule": crontab(hour=2, minute=30),
        "args": (os.environ.get("WORDCOUNTS_FOLDER", "texts"),),
        "overlap": "skip",  # a night that takes longer than a day is not counted twice at a time
    }
}


@app.task
def count_file(path: str) -> dict[str, int]:
    """How often each word is in one file."""
    return Counter(re.findall(r"\w+", Path(path).read_text().lower()))


@app.task
def sum_up(counts: list[dict[str, int]], folder: str) -> int:
    """Writes the report: every word with its count, the most frequent first. Returns how many words there are."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    lines = [f"{count:8} {word}\n" for word, count in sorted(total.items(), key=lambda item: (-item[1], item[0]))]
    _write(Path(folder) / "words.report", "".join(lines))
    return total.total()


@app.task
def complain(request: Any, error: Exception, traceback: str, folder: str) -> None:
    """Writes why there is no report."""
    _write(Path(folder) / "failed.report", f"{error}\n")


@app.task(bind=True)
def count_folder(self: Task[..., Any], folder: str) -> None:
    """Puts the count of all files that are in the folder now in its own place, so its result is that of the sum."""
    files = sorted(Path(folder).glob("*.txt"))
    summary = sum_up.s(folder).on_error(complain.s(folder))
    self.replace(chord([count_file.s(str(file)) for file in files], summary))


def _write(path: Path, text: str) -> None:
    """The whole text or nothing: a job that is repeated after a crash may write while somebody reads."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)
