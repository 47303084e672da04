"""Stamps on every call of a workflow: names with values, by which jobs can be found and which their tasks see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tqbroker.canvas_options import listed
from tqbroker.canvas_walk import Walk, run
from tqbroker.options import CALL_OPTIONS

if TYPE_CHECKING:
    from tqbroker.canvas_signature import Signature

_NAMES = "stamped_headers"


class StampingVisitor(ABC):
    """Gives stamps for the parts of a workflow: `sig.stamp(visitor=...)` calls these methods, whole before parts.

    Each gets the part, and as keywords what was given for it so far. What it returns, a mapping, is given to the part
    and to all in it. All of it are stamps, unless it has the key `stamped_headers`, which names those that are; the
    rest are options of the call by their names, or headers.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> Mapping[str, Any] | None:
        """For the call of a task."""

    def on_group_start(self, group: Any, **headers: Any) -> Mapping[str, Any] | None:
        """For a group and its members, before they are visited."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:
        """The members of a group have been visited."""
        return

    def on_chain_start(self, chain: Any, **headers: Any) -> Mapping[str, Any] | None:
        """For a chain and its parts, before they are visited."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:
        """The parts of a chain have been visited."""
        return

    def on_chord_header_start(self, sig: Any, **header: Any) -> Mapping[str, Any] | None:
        """For the header of a chord, by default as for the group that it is."""
        return self.on_group_start(sig.header, **header)

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        """The header of a chord has been visited."""
        self.on_group_end(sig.header, **header)

    def on_chord_body(self, sig: Any, **header: Any) -> Mapping[str, Any] | None:
        """For the body of a chord."""
        return {}

    def on_callback(self, callback: Any, **header: Any) -> Mapping[str, Any] | None:
        """For what is linked to success."""
        return {}

    def on_errback(self, errback: Any, **header: Any) -> Mapping[str, Any] | None:
        """For what is linked to failure."""
        return {}


class _Nobody(StampingVisitor):
    def on_signature(self, sig: Any, **headers: Any) -> None:
        return None


def stamp(sig: Signature[Any], visitor: StampingVisitor | None, headers: Mapping[str, Any], *, append: bool) -> None:
    """Puts stamps on every call in `sig`. A later value replaces an earlier one; with `append` both hold."""
    run(_Stamper(visitor or _Nobody(), append).visit(sig, dict(headers)))


class _Stamper:
    def __init__(self, visitor: StampingVisitor, append: bool) -> None:
        self._visitor = visitor
        self._append = append

    def visit(self, sig: Any, given: dict[str, Any]) -> Walk:
        kind = sig.subtask_type
        if kind == "chain":
            yield self._many(sig, self._visitor.on_chain_start, given)
            self._visitor.on_chain_end(sig, **given)
        elif kind == "group":
            yield self._many(sig, self._visitor.on_group_start, given)
            self._visitor.on_group_end(sig, **given)
        elif kind == "chord":
            yield self._chord(sig, given)
        else:
            yield self._links(sig, given)
            self._set(sig, self._more(given, self._visitor.on_signature(sig, **given)))

    def _many(self, sig: Any, start: Any, given: dict[str, Any]) -> Walk:
        inside = self._more(given, start(sig, **given))
        yield self._links(sig, inside)
        for part in sig.tasks:
            yield self.visit(part, inside)

    def _chord(self, sig: Any, given: dict[str, Any]) -> Walk:
        members = sig.tasks
        inside = self._more(given, self._visitor.on_chord_header_start(sig, **given))
        yield self._links(sig, inside)
        for part in members:
            yield self.visit(part, inside)
        self._visitor.on_chord_header_end(sig, **inside)
        if sig.body is not None:
            yield self.visit(sig.body, self._more(inside, self._visitor.on_chord_body(sig, **inside)))

    def _links(self, sig: Any, given: dict[str, Any]) -> Walk:
        for name, ask in (("link", self._visitor.on_callback), ("link_error", self._visitor.on_errback)):
            if name in sig.options:
                sig.options[name] = [callback.clone() for callback in listed(name, sig.options[name])]
                for callback in sig.options[name]:
                    yield self.visit(callback, self._more(given, ask(callback, **given)))

    def _more(self, given: dict[str, Any], visitors: Mapping[str, Any] | None) -> dict[str, Any]:
        if not visitors:
            return given
        return self._together(_with_names(given), _with_names(visitors))

    def _together(self, given: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
        together = {**given, **over}
        if self._append:
            for name in given.keys() & over.keys():
                together[name] = _joined(given[name], over[name])
        together[_NAMES] = _joined(given[_NAMES], over[_NAMES])
        return together

    def _set(self, sig: Any, given: dict[str, Any]) -> None:
        """Stamps become options, as `stamped_headers` names them; so does what is an option; the rest are headers."""
        if not given:
            return
        stamped = sig.options.get(_NAMES) or []
        before = {name: sig.options[name] for name in stamped if name in sig.options}
        together = self._together({**before, _NAMES: list(stamped)}, _with_names(given))
        names = together[_NAMES]
        headers = {name: value for name, value in together.items() if name not in {*CALL_OPTIONS, *names}}
        if headers:
            together = {name: value for name, value in together.items() if name not in headers}
            together["headers"] = {**(sig.options.get("headers") or {}), **headers}
        sig.options.update(together)


def _with_names(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, with the names of the stamps among it: all, unless it says."""
    return dict(given) if _NAMES in given else {**given, _NAMES: list(given)}


def _joined(first: Any, second: Any) -> list[Any]:
    return list(dict.fromkeys([*_values(first), *_values(second)]))


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
