"""Exceptions over the wire: data on the way, a class only if it is loaded here already."""

from __future__ import annotations

import sys
import traceback

import pytest

from tqbroker.exceptions import DamagedRecord, RemoteError, ResultTooLarge, TaskError, WorkerLostError
from tqbroker.failures import FailureData, exception_of, failure_of


class OwnError(Exception):
    """A class of the application."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


class TakesNothingError(Exception):
    """Its constructor does not fit its args."""

    def __init__(self) -> None:
        super().__init__("made", "of", "parts")


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


class LeavingError(Exception):
    """Of no module, and it ends whoever asks what it says."""

    __module__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise SystemExit(3)


def test_an_exception_that_is_hard_to_tell_of_is_told() -> None:
    failure = failure_of(_raised(LeavingError()))

    assert (failure.type, failure.module) == ("LeavingError", "None")
    assert failure.message == "<str() of the exception raised SystemExit>"
    assert "LeavingError" in failure.traceback


def test_a_loaded_class_comes_back_with_its_arguments() -> None:
    failure = failure_of(_raised(OwnError(7, "seven")))
    back = exception_of(failure)

    assert type(back) is OwnError
    assert back.code == 7
    assert (failure.type, failure.module, failure.message) == ("OwnError", __name__, "(7, 'seven')")


def test_printing_the_exception_shows_where_it_was_raised_remotely() -> None:
    printed = "".join(traceback.format_exception(exception_of(failure_of(_raised(ValueError("bad"))))))

    assert "test_client_failures.py" in printed
    assert "raise error" in printed


def test_a_class_that_is_not_loaded_comes_back_as_a_look_alike_and_nothing_is_imported() -> None:
    assert "wave" not in sys.modules
    back = exception_of(FailureData("Error", "wave", "bad file", args=b'["bad file"]'))

    assert "wave" not in sys.modules
    assert isinstance(back, RemoteError)
    assert type(back).__name__ == "Error"
    assert (back.exc_type, back.exc_module, back.args) == ("Error", "wave", ("bad file",))


@pytest.mark.parametrize("name", ["system", "Popen", "path", "SystemExit", "KeyboardInterrupt", "", "no such"])
def test_only_an_exception_class_is_ever_called(name: str) -> None:
    for module in ("os", "subprocess", "builtins", "nowhere"):
        back = exception_of(FailureData(name, module, "message", args=b'["echo"]'))

        assert isinstance(back, RemoteError)


def test_a_class_whose_constructor_does_not_fit_comes_back_as_a_look_alike() -> None:
    back = exception_of(failure_of(_raised(TakesNothingError())))

    assert isinstance(back, RemoteError)
    assert type(back).__name__ == "TakesNothingError"
    assert back.args == ("made", "of", "parts")


def test_arguments_that_cannot_be_sent_leave_the_message() -> None:
    failure = failure_of(_raised(ValueError(object)))
    back = exception_of(failure)

    assert failure.args == b""
    assert isinstance(back, RemoteError)
    assert str(back) == "<class 'object'>"


def test_a_failure_is_made_of_whatever_is_raised() -> None:
    class Hostile(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError

    assert failure_of(Hostile()).message == "<str() of the exception raised RuntimeError>"
    assert failure_of(ValueError("\ud800")).message == "\\ud800"
    assert len(failure_of(ValueError("x" * 10**6)).message) == 16 * 1024


def test_arguments_that_cannot_be_read_leave_the_message() -> None:
    for args in (b"{", b"5", b'{"$tq":["new",1]}'):
        back = exception_of(FailureData("ValueError", "builtins", "message", args=args))

        assert str(back) == "message"


@pytest.mark.parametrize("kind", [WorkerLostError, ResultTooLarge, DamagedRecord])
def test_what_the_broker_itself_reports_has_a_class_to_catch(kind: type[TaskError]) -> None:
    error = exception_of(FailureData(kind.__name__, "tqbroker.exceptions", "the reason"))
    assert type(error) is kind
    assert str(error) == "the reason"
