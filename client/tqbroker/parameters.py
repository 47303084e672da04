"""Whether arguments fit a function, asked before a job is sent.

What a function takes is read once, from its code object; a call then costs two comparisons. Functions that have no
plain code object (wrapped, built in) are asked through `inspect`, which is exact and slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

_VARARGS, _VARKEYWORDS, _COROUTINE = 0x04, 0x08, 0x80  # those of inspect, without importing it


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & _COROUTINE)


def positional(args: Any, where: str) -> list[Any] | tuple[Any, ...]:
    """The arguments of a call; None is none. Raises TypeError for what is neither a list nor a tuple."""
    if args is None:
        return ()
    if not isinstance(args, (list, tuple)):
        raise TypeError(
            f"{where}: args must be a list or tuple, not {args!r:.200}: one argument is written ({args!r:.200},)"
        )
    return args


class Parameters:
    """What one function takes. `skip` leading parameters are filled in by tqbroker (the task itself with bind)."""

    __slots__ = ("_allowed", "_function", "_index", "_needed", "_skip", "most", "required")

    def __init__(self, function: Callable[..., Any], skip: int = 0) -> None:
        self._function = function
        self._skip = skip
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType) and not hasattr(function, "__wrapped__") and code.co_argcount >= skip:
            self._read(code, len(getattr(function, "__defaults__", None) or ()))
        else:
            self.required, self.most = 1, 0  # no number of arguments fits: every call takes the exact way

    def _read(self, code: CodeType, defaults: int) -> None:
        positional = code.co_argcount - self._skip
        names = code.co_varnames[self._skip : code.co_argcount]
        keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        optional = getattr(self._function, "__kwdefaults__", None) or {}
        posonly = max(0, code.co_posonlyargcount - self._skip)
        self._index = {name: place for place, name in enumerate(names) if place >= posonly}
        self._needed = frozenset(keyword_only) - frozenset(optional)
        self._allowed = None if code.co_flags & _VARKEYWORDS else frozenset(keyword_only)
        self.required = max(0, positional - defaults)
        self.most = 1 << 30 if code.co_flags & _VARARGS else positional
        if self._needed:
            self.required, self.most = 1, 0

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> None:
        """Raises TypeError, as a call of the function would, when the arguments do not fit. `name` is the task's."""
        if not kwargs and self.required <= len(args) <= self.most:
            return
        if not (kwargs and self.most and self._fits(len(args), kwargs)):
            self._bind(args, kwargs, name)

    def check_rows(self, rows: Sequence[Sequence[Any]], name: str) -> None:
        """`check` for the positional arguments of many calls, at the price of one comparison for each."""
        low, high = self.required, self.most
        for number, count in enumerate(map(len, rows)):
            if not low <= count <= high:
                self.check(rows[number], {}, name)

    def _fits(self, count: int, kwargs: Mapping[str, Any]) -> bool:
        """Whether keywords complete `count` positional arguments. False may also mean: ask the exact way."""
        if count > self.most:
            return False
        given = count
        for keyword in kwargs:
            place = self._index.get(keyword)
            if place is None:
                if self._allowed is None or keyword not in self._allowed:
                    return False
            elif place < count:
                return False
            elif place < self.required:
                given += 1
        return given >= self.required

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> None:
        import inspect

        try:
            signature = inspect.signature(self._function)
        except (TypeError, ValueError):
            return  # a builtin that does not tell: the worker will see
        if not isinstance(kwargs, Mapping):
            raise TypeError(f"{name}: kwargs must be a mapping of names to values, not {kwargs!r:.200}")
        try:
            signature.bind(*(None,) * self._skip, *args, **kwargs)
        except TypeError as error:
            shown = signature.replace(parameters=list(signature.parameters.values())[self._skip :])
            raise TypeError(f"{name}{shown}: {error}") from None
