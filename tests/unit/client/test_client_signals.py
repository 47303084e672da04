from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from tqbroker import signals
from tqbroker.signals import Signal


@pytest.fixture
def signal() -> Any:
    made = Signal("made_for_a_test")
    yield made
    del signals.ALL["made_for_a_test"]


def test_receivers_get_sender_signal_and_arguments_in_the_order_they_connected(signal: Signal) -> None:
    seen: list[Any] = []

    @signal.connect
    def first(sender: Any, signal: Signal, x: int) -> str:
        seen.append(("first", sender, signal.name, x))
        return "one"

    @signal.connect(sender="a")
    def second(**named: Any) -> None:
        seen.append(("second", named["x"]))

    assert signal.send("a", x=1) == [(first, "one"), (second, None)]
    assert signal.send("b", x=2) == [(first, "one")]
    assert seen == [("first", "a", signal.name, 1), ("second", 1), ("first", "b", signal.name, 2)]


def test_a_receiver_that_raises_is_logged_and_the_others_are_called(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("no")

    def broken(**_: Any) -> None:
        raise error

    def sound(**_: Any) -> int:
        return 1

    signal.connect(broken)
    signal.connect(sound)
    with caplog.at_level(logging.ERROR):
        assert signal.send() == [(broken, error), (sound, 1)]
    assert "made_for_a_test" in caplog.text


def leave(**_: Any) -> None:
    raise SystemExit(3)


def test_a_receiver_that_ends_the_program_does_so(signal: Signal) -> None:
    signal.connect(leave)
    with pytest.raises(SystemExit):
        signal.send()


def test_a_receiver_ends_no_process_that_runs_jobs(caplog: pytest.LogCaptureFixture) -> None:
    signals.task_success.connect(leave)
    try:
        ((_, raised),) = signals.task_success.send()
    finally:
        signals.task_success.disconnect(leave)
    assert isinstance(raised, SystemExit)
    assert "task_success" in caplog.text


def test_the_same_function_or_uid_connects_once_and_disconnects(signal: Signal) -> None:
    def one(**_: Any) -> None: ...
    def two(**_: Any) -> None: ...

    for _ in range(2):
        signal.connect(one)
    signal.connect(one, dispatch_uid="x")
    signal.connect(two, dispatch_uid="x")
    assert [fn for fn, _ in signal.send()] == [one, one]
    assert signal.disconnect(dispatch_uid="x")
    assert signal.disconnect(one)
    assert not signal.disconnect(one)
    assert not signal.has_listeners()


def test_functions_that_nobody_keeps_are_forgotten_unless_held(signal: Signal) -> None:
    signal.connect(lambda **_: 1)
    signal.connect(lambda **_: 2, weak=False)
    gc.collect()
    assert [value for _, value in signal.send()] == [2]


def test_methods_are_connected_as_long_as_their_object_lives(signal: Signal) -> None:
    class Listener:
        def hear(self, **_: Any) -> int:
            return 1

    listener = Listener()
    signal.connect(listener.hear)
    assert [value for _, value in signal.send()] == [1]
    del listener
    gc.collect()
    assert signal.send() == []


def test_connections_are_counted_and_named(signal: Signal) -> None:
    before = signals.changes

    @signal.connect
    def one(**_: Any) -> None: ...

    assert signals.changes > before
    assert "made_for_a_test" in signals.connected()


@pytest.mark.parametrize(
    "name",
    [
        "before_task_publish",
        "after_task_publish",
        "task_received",
        "task_prerun",
        "task_postrun",
        "task_success",
        "task_retry",
        "task_failure",
        "task_internal_error",
        "task_revoked",
        "task_unknown",
        "task_rejected",
        "import_modules",
        "celeryd_init",
        "celeryd_after_setup",
        "worker_init",
        "worker_before_create_process",
        "worker_process_init",
        "worker_process_shutdown",
        "worker_ready",
        "heartbeat_sent",
        "worker_shutting_down",
        "worker_shutdown",
        "setup_logging",
        "after_setup_logger",
        "after_setup_task_logger",
        "beat_init",
        "beat_embedded_init",
        "user_preload_options",
    ],
)
def test_celerys_signals_are_here_by_their_names(name: str) -> None:
    assert getattr(signals, name).name == name
