"""A site with the tasks of projects/delivery or another, and these tasks here as a client has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from tests.acceptance.harness.history import lines_of
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until

from tqbroker import App, AsyncResult


class Delivery(Site):
    """`tasks` is the project's module, connected to this site's broker."""

    def __init__(self, folder: Path, project: str = "delivery") -> None:
        super().__init__(folder, project)
        spec = spec_from_file_location("tasks", self.project / "tasks.py")
        assert spec is not None
        assert spec.loader is not None
        self.tasks: Any = module_from_spec(spec)
        spec.loader.exec_module(self.tasks)
        self.app: App = self.tasks.app
        self.app.conf.broker_url = self.url

    def open(self, gate: str) -> None:
        """Lets those go on who wait for this gate."""
        (self.project / gate).touch()

    def trace(self, job: AsyncResult[Any] | None = None) -> list[dict[str, Any]]:
        """What tasks have written down, of one job or of all."""
        path = self.project / "trace"
        lines = [json.loads(line) for line in lines_of(path)] if path.exists() else []
        return [line for line in lines if job is None or line.get("id") == job.id]

    def words(self, job: AsyncResult[Any]) -> list[str]:
        """The first words of what a job has written down."""
        return [line["word"] for line in self.trace(job)]

    def runs(self, job: AsyncResult[Any]) -> None:
        """Returns when a worker has the job and its body has said so."""
        until(lambda: self.trace(job), f"job {job.id} to run")

    def close(self) -> None:
        """Ends everything that was started here."""
        self.app.close()
        super().close()


@contextmanager
def delivery(folder: Path, project: str = "delivery") -> Iterator[Delivery]:
    """A site that is closed at the end; then its store must be sound (I8, I9)."""
    place = Delivery(folder, project)
    try:
        yield place
    finally:
        place.close()
    assert place.left() == []
