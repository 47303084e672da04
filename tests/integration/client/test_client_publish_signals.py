"""The signals around a submit, as an application sees them."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker import App, Task
from tqbroker.exceptions import OperationalError
from tqbroker.signals import after_task_publish, before_task_publish


@pytest.fixture
def add(app: App) -> Task[[int, int], int]:
    def add(x: int, y: int) -> int:
        return x + y

    return app.task(name="tasks.add")(add)


async def test_before_and_after_come_around_every_way_of_sending(
    wire: Any, app: App, add: Task[[int, int], int]
) -> None:
    seen: list[tuple[str, str, bool]] = []

    @before_task_publish.connect
    def tell_before(headers: Any, **_: Any) -> None:
        headers["trace"] = "t"
        seen.append(("before", headers["id"], headers["id"] in wire.jobs))

    @after_task_publish.connect
    def tell_after(sender: str, headers: Any, **_: Any) -> None:
        seen.append(("after", headers["id"], headers["trace"] == "t"))

    sent = [add.apply_async((1, 2), task_id="one"), await add.aapply_async((1, 2), task_id="two")]
    with app.batch():
        sent.append(add.apply_async((1, 2), task_id="three"))
    sent += add.delay_many([(1, 2), (3, 4)])
    ids = [result.id for result in sent]
    assert [job for what, job, _ in seen if what == "before"] == ids
    assert [job for what, job, right in seen if what == "after" and right] == ids
    await app.aclose()


def test_a_refused_job_has_no_signal_after_it(wire: Any, app: App, add: Task[[int, int], int]) -> None:
    seen: list[str] = []

    @after_task_publish.connect
    def tell(headers: Any, **_: Any) -> None:
        seen.append(headers["id"])

    wire.fault = lambda request: "INVALID"
    with pytest.raises(OperationalError):
        add.delay(1, 2)
    assert seen == []
