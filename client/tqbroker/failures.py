"""How a job failed, as data, and back to an exception. Nothing is ever imported or run because the wire names it."""

from __future__ import annotations

import sys
import traceback
from typing import NamedTuple

from tqbroker import codec
from tqbroker.exceptions import CodecError, RemoteError, RemoteTraceback

MAX_MESSAGE = 16 * 1024
MAX_TRACEBACK = 64 * 1024
MAX_ARGS = 64 * 1024


class FailureData(NamedTuple):
    """One failure: class name and module, message, formatted traceback, and the exception's arguments in `format`.

    `args` is empty when they could not be encoded.
    """

    type: str
    module: str
    message: str
    traceback: str = ""
    args: bytes = b""
    format: str = codec.DEFAULT_FORMAT


def failure_of(exc: BaseException, format: str = codec.DEFAULT_FORMAT) -> FailureData:  # noqa: A002
    """The failure to send for an exception. Never raises, whatever the exception's own methods do."""
    kind = type(exc)
    return FailureData(
        type=kind.__name__,
        module=clean(str(kind.__module__)),
        message=message_of(exc),
        traceback=clean(_traceback(exc)),
        args=_args(exc, format),
        format=format,
    )


def exception_of(failure: FailureData) -> Exception:
    """The exception to raise for a failure: of its own class if that is loaded in this process, else a look-alike.

    Its `__cause__` is the remote traceback, so that printing it shows file and line.
    """
    args = _decoded_args(failure)
    exc = _own_class(failure, args) or _look_alike(failure, args)
    if failure.traceback:
        exc.__cause__ = RemoteTraceback(failure.traceback)
    return exc


def message_of(exc: BaseException) -> str:
    """What an exception says, as text that can be sent. Never raises."""
    try:
        text = str(exc)
    except BaseException as error:  # SystemExit too
        text = f"<str() of the exception raised {type(error).__name__}>"
    return clean(text[:MAX_MESSAGE])


def _traceback(exc: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(exc))
    except BaseException:
        text = "".join(traceback.format_tb(exc.__traceback__))
    return text if len(text) <= MAX_TRACEBACK else f"... shortened ...\n{text[-MAX_TRACEBACK:]}"


def clean(text: str) -> str:
    """Text that UTF-8 can carry: lone surrogates are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _args(exc: BaseException, name: str) -> bytes:
    try:
        data = codec.encode(list(exc.args), name)
    except BaseException:
        return b""
    return data if len(data) <= MAX_ARGS else b""


def _decoded_args(failure: FailureData) -> tuple[object, ...] | None:
    if not failure.args:  # our own exceptions come from parents and brokers too, who encode nothing
        return (failure.message,) if failure.module == RemoteError.__module__ else None
    try:
        return tuple(codec.decode(failure.args, failure.format))
    except (CodecError, TypeError):
        return None


def _own_class(failure: FailureData, args: tuple[object, ...] | None) -> Exception | None:
    """An instance of the original class, only if its module is loaded already and it is an exception class there."""
    kind = getattr(sys.modules.get(failure.module), "__dict__", {}).get(failure.type)
    if args is None or not isinstance(kind, type) or not issubclass(kind, Exception):
        return None
    try:
        exc = kind(*args)
    except Exception:
        return None
    return exc if type(exc) is kind else None


def _look_alike(failure: FailureData, args: tuple[object, ...] | None) -> RemoteError:
    kind = type(
        failure.type if failure.type.isidentifier() else RemoteError.__name__,
        (RemoteError,),
        {"__module__": failure.module, "exc_type": failure.type, "exc_module": failure.module},
    )
    said = args or (
        (failure.message,) if args is None or failure.message else ()
    )  # some keep it elsewhere than in args
    exc = kind(*said)
    assert isinstance(exc, RemoteError)
    return exc
