"""The root, and what is wrong before anything is sent."""

from __future__ import annotations


class TqbrokerError(Exception):
    """Base of all errors of tqbroker."""


class ImproperlyConfigured(TqbrokerError):  # noqa: N818 - Celery's name
    """A setting, a URL, an option or an app cannot be used. The message says what to write instead."""


class SecurityError(TqbrokerError):
    """What came cannot be trusted."""


class CodecError(TqbrokerError):
    """Something about turning values into bytes or back."""


class EncodeError(CodecError, TypeError):
    """A value cannot be sent: the message names where it stands and what is allowed."""


class DecodeError(CodecError, ValueError):
    """Bytes cannot be read back as a value."""
