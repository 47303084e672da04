"""Signals of one app: what is connected belongs to its setup, so it is kept, and its errors are raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tqbroker.signals import Signal


class AppSignal(Signal):
    """`@app.on_after_configure.connect`. A function is kept, whatever `weak` says; one that raises stops the setup."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.receivers = []

    def _hold(self, fn: Callable[..., Any], weak: bool) -> Callable[[], Callable[..., Any] | None]:
        return lambda: fn

    def _call(self, fn: Callable[..., Any], sender: Any, named: dict[str, Any]) -> Any:
        return fn(signal=self, sender=sender, **named)
