"""What `tqbroker status` says of workers that have not come back, and of queues that nobody serves."""

from __future__ import annotations

from tqbroker.commands.status import describe
from tqbroker.transport import BrokerInfo, QueueInfo, WorkerInfo


def lines(queues: list[QueueInfo], workers: list[WorkerInfo]) -> list[str]:
    info = BrokerInfo("1.2", "fsync", "/data", 0, [], 0, 0, 1, queues, workers)
    return list(describe(info, "tq://h", 1))[4:]


def queue(name: str, queued: int) -> QueueInfo:
    return QueueInfo(name, queued, 0, 0, 0, 0, 0, 0)


def worker(*queues: str) -> WorkerInfo:
    return WorkerInfo("w@a", True, list(queues), [], 8, "process", "a", 5, "1.2", 0)


def test_an_awaited_worker_of_which_nothing_is_known_has_no_made_up_numbers() -> None:
    awaited = WorkerInfo("w@a", False, [], [], 0, "", "", 0, "", 3)
    assert lines([], [awaited])[-1].split() == ["w@a", "awaited", "3", "-", "-", "-", "-"]


def test_a_connected_worker_without_tasks_says_so() -> None:
    assert lines([], [worker("default")])[-1].split() == ["w@a", "connected", "0/8", "process", "default", "0", "1.2"]


def test_labels_are_shown_when_a_worker_has_some() -> None:
    plain, labelled = worker("default"), worker("default")
    labelled.labels = ["gpu", "region=eu"]
    said = lines([], [plain, labelled])
    assert [line.split()[-1] for line in said[-3:]] == ["labels", "-", "gpu,region=eu"]


def test_a_queue_that_no_connected_worker_takes_is_named_with_the_way_out() -> None:
    said = lines([queue("default", 2), queue("mail", 5), queue("empty", 0)], [worker("default")])
    assert said[-1] == (
        "queue mail: 5 queued, and no connected worker takes it;"
        " start one with `tqbroker worker -A your_module -Q mail`"
    )
    assert not any(line.startswith("queue ") for line in said[:-1])


def test_an_awaited_worker_takes_nothing_yet() -> None:
    away = worker("mail")
    away.connected = False
    assert lines([queue("mail", 1)], [away])[-1].startswith("queue mail: 1 queued")
