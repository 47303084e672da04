"""From a signature to its graph: which call waits for which, and which options hold for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tqbroker.canvas_chain import chain
from tqbroker.canvas_group import chord, group
from tqbroker.canvas_maps import chunks
from tqbroker.canvas_options import CALLBACKS, OF_THE_WORKFLOW, listed, merged
from tqbroker.canvas_parts import Composite
from tqbroker.canvas_shape import Hoisted, Member, is_empty, leads_to_many, members, shared_errbacks
from tqbroker.canvas_signature import Signature
from tqbroker.canvas_walk import Walk, run
from tqbroker.graph import TAKES_OVER, Draft, Graph, Node, chosen_id, group_key
from tqbroker.ids import Key
from tqbroker.unique import body_id

Pending = Sequence[tuple[int, list[Signature[Any]]]]
"""Joins, and the callbacks that follow them."""

_NONE: Mapping[str, Any] = {}
_OF_THE_HEADER = frozenset({"countdown", "eta"})
"""Options of a chord that say when its first calls start. The body waits for them anyway."""


class _Spot(NamedTuple):
    """Where a part stands.

    after       the join that its first calls wait for
    ends        the joins that its last calls are members of, the nearest first
    each        the joins that all its calls are members of
    claim       the one among `ends` that a group here makes its own: it has the same members
    options     of the whole, for this part; so are args and kwargs, for its first calls
    key         the id of its last call, or of the group that it ends with, unless it has one
    mute        its first calls are not handed anything, though they wait
    beside      its last calls become members of the groups of the running job
    hoisted     error callbacks that are called for several parts together
    """

    after: int = 0
    ends: tuple[int, ...] = ()
    each: tuple[int, ...] = ()
    claim: int = 0
    options: Mapping[str, Any] = _NONE
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = _NONE
    key: Key | None = None
    parent: int = -1
    mute: bool = False
    beside: bool = False
    hoisted: tuple[Signature[Any], ...] = ()


def grow(
    sig: Signature[Any],
    *,
    key: Key | None = None,
    beside: bool = False,
    freeze: bool = False,
    errors_in_header: bool = False,
) -> Graph:
    """The graph of a signature that has all its arguments and options.

    `key` is the id of its result, or TAKES_OVER. `freeze`: ids that are chosen are written into the signatures.
    `errors_in_header`: error callbacks of a chord are also called for the members of its header. Raises TypeError and
    ValueError for what cannot be a workflow.
    """
    draft = Draft(freeze)
    result = run(_Grower(draft, errors_in_header).part(sig, _Spot(key=key, beside=beside)))
    return Graph(draft.nodes, draft.joins, draft.outcomes, result, draft.fixed and key != TAKES_OVER)


class _Grower:
    def __init__(self, draft: Draft, errors_in_header: bool) -> None:
        self._draft = draft
        self._errors_in_header = errors_in_header

    def part(self, sig: Signature[Any], spot: _Spot) -> Walk:
        """Grows a part, and returns the number of its outcome."""
        if isinstance(sig, chunks):
            sig = sig.group()
        if isinstance(sig, chain):
            outcome = yield self._chain(sig, spot)
        elif isinstance(sig, group):
            outcome = yield self._group(sig, spot)
        elif isinstance(sig, chord):
            outcome = yield self._chord(sig, spot)
        else:
            outcome, pending = self._call(sig, spot)
            for join, callbacks in pending:
                yield self._callbacks(join, callbacks)
        return outcome

    def _call(self, sig: Signature[Any], spot: _Spot) -> tuple[int, Pending]:
        """The call of a task: the number of its outcome, and what is linked to it."""
        draft = self._draft
        if not sig.options and not spot.options and spot.key is None and not draft.freeze:
            return draft.node(_node(sig, spot, _NONE, draft.fresh(), (*spot.ends, *spot.each)), spot.parent), ()
        options = merged(sig.options, spot.options)
        links = listed("link", options.get("link"))
        errbacks = [each for each in listed("link_error", options.get("link_error")) if each not in spot.hoisted]
        pending = [(draft.join("success"), links)] if links else []
        pending += [(draft.join("failure"), errbacks)] if errbacks else []
        chosen = chosen_id(options, spot.key)
        key = draft.fresh() if chosen is None else chosen
        draft.fix(sig, key)
        own = {name: value for name, value in options.items() if name not in OF_THE_WORKFLOW}
        member_of = (*spot.ends, *spot.each, *(join for join, _ in pending))
        return draft.node(_node(sig, spot, own, key, member_of), spot.parent), pending

    def _callbacks(self, join: int, callbacks: Iterable[Signature[Any]]) -> Walk:
        for callback in callbacks:
            yield self.part(callback, _Spot(after=join))

    # -- chain --------------------------------------------------------------------------------------------------------

    def _chain(self, sig: chain, spot: _Spot) -> Walk:
        parts = [part for part in (sig.tasks if self._draft.freeze else sig.parts) if not is_empty(part)]
        if not parts:
            outcome = yield self._empty_chain(sig, spot)
            return outcome
        options = merged(sig.options, spot.options)
        links = listed("link", options.pop("link", None))
        errbacks = listed("link_error", options.pop("link_error", None))
        failure = (self._draft.join("failure"),) if errbacks else ()
        here = spot._replace(key=chosen_id(options, spot.key), options=options)
        here = here._replace(each=(*failure, *spot.each), hoisted=(*spot.hoisted, *errbacks))
        args, kwargs = _partial(sig, spot)
        here = here._replace(args=args, kwargs=kwargs)
        many = leads_to_many(parts[-1])
        success = self._draft.join("success", many=many) if links else 0
        if success:
            here = here._replace(ends=(*spot.ends, success), claim=spot.claim or (success if many else 0))
        hoisted = [(each, self._draft.join("failure")) for each in shared_errbacks(parts)]
        outcome = yield self._steps(parts, here, hoisted)
        self._draft.fix(sig, self._draft.outcomes[outcome].key)
        yield self._callbacks(success, links)
        yield self._callbacks(failure[0] if failure else 0, errbacks)
        for (errback, _), join in hoisted:
            yield self._callbacks(join, [errback])
        return outcome

    def _steps(self, parts: list[Signature[Any]], spot: _Spot, hoisted: list[tuple[Hoisted, int]]) -> Walk:
        """The parts of a chain, each after the one before; returns the outcome of the last."""
        after, outcome = spot.after, spot.parent
        for number, part in enumerate(parts):
            first, last = number == 0, number == len(parts) - 1
            here = spot if first else spot._replace(options=_NONE, args=(), kwargs=_NONE, mute=False)
            here = here._replace(after=after, parent=outcome)
            if not last:
                many = leads_to_many(part)
                after = self._draft.join("success", many=many)
                here = here._replace(ends=(after,), claim=after if many else 0, key=None, beside=False)
            mine = [(each.errback, join) for each, join in hoisted if number in each.parts]
            if mine:
                errbacks, joins = zip(*mine, strict=True)
                here = here._replace(each=(*here.each, *joins), hoisted=(*here.hoisted, *errbacks))
            outcome = yield self.part(part, here)
        return outcome

    def _empty_chain(self, sig: chain, spot: _Spot) -> Walk:
        if not sig.parts:
            raise ValueError("this chain has no parts: give it at least one signature")
        outcome = yield self.part(sig.parts[-1], spot)
        return outcome

    # -- group --------------------------------------------------------------------------------------------------------

    def _group(self, sig: group, spot: _Spot) -> Walk:
        options = merged(sig.options, spot.options)
        chosen = chosen_id(options, spot.key)
        key = self._draft.fresh() if chosen is None else group_key(chosen)
        self._draft.fix(sig, key)
        inside = list(members(sig, own=self._draft.freeze))
        if not inside:
            return self._draft.empty_group(key, spot.parent)
        join = spot.claim or self._draft.join("success", many=True)
        ends = (join, *(end for end in spot.ends if end != join))
        outcomes = yield self._members(inside, spot._replace(ends=ends, claim=0, key=None))
        return self._draft.group(key, join, outcomes, spot.parent)

    def _members(self, inside: list[Member], spot: _Spot) -> Walk:
        """The members of a group; returns their outcomes."""
        outcomes: list[int] = []
        last, here = None, spot
        for member in inside:
            if last is None or member.options is not last.options:
                here = _inside(spot, member)
            last = member
            if isinstance(member.sig, (Composite, chord)):
                outcomes.append((yield self.part(member.sig, here)))
                continue
            outcome, pending = self._call(member.sig, here)
            outcomes.append(outcome)
            for join, callbacks in pending:
                yield self._callbacks(join, callbacks)
        return outcomes

    # -- chord --------------------------------------------------------------------------------------------------------

    def _chord(self, sig: chord, spot: _Spot) -> Walk:
        body = sig.with_body().body if self._draft.freeze else sig.with_body()["kwargs"]["body"]
        options = merged(sig.options, spot.options)
        chosen = chosen_id(options, spot.key)
        errbacks = listed("link_error", options.pop("link_error", None)) if self._errors_in_header else []
        failure = (self._draft.join("failure"),) if errbacks else ()
        args, kwargs = _partial(sig, spot)
        here = spot._replace(each=(*failure, *spot.each), options=options, args=args, kwargs=kwargs)
        key, join, header = yield self._header(sig.header, here)
        options = {name: value for name, value in options.items() if name not in _OF_THE_HEADER}
        here = here._replace(options=options, key=body_id(key) if chosen is None else chosen, parent=header)
        if join:
            here = here._replace(after=join, args=(), kwargs=_NONE, mute=False)
        else:
            here = here._replace(args=([],), kwargs=_NONE, mute=True)
        outcome = yield self.part(body, here)
        self._draft.fix(sig, self._draft.outcomes[outcome].key)
        yield self._callbacks(failure[0] if failure else 0, errbacks)
        return outcome

    def _header(self, sig: group, spot: _Spot) -> Walk:
        """The header of a chord. Returns its id, the join that the body follows (0: none), and its outcome."""
        own = dict(sig.options)
        chosen = chosen_id(own, None)
        key = self._draft.fresh() if chosen is None else group_key(chosen)
        self._draft.fix(sig, key)
        inside = list(members(sig, own=self._draft.freeze))
        if not inside:
            return key, 0, self._draft.empty_group(key, spot.parent)
        join = self._draft.join("success", many=True)
        outcomes = yield self._members(
            inside,
            spot._replace(
                ends=(join,),
                each=spot.each if self._errors_in_header else (),
                claim=0,
                options={name: value for name, value in spot.options.items() if name not in CALLBACKS},
                key=None,
                beside=False,
                hoisted=(),
            ),
        )
        return key, join, self._draft.group(key, join, outcomes, spot.parent)


def _inside(spot: _Spot, member: Member) -> _Spot:
    """The spot of a member of a group, and of all others in the same group."""
    over = {name: value for name, value in spot.options.items() if name != "task_id"}
    options = merged(member.options, over) if member.options else over
    args, kwargs = (*spot.args, *member.args), {**member.kwargs, **spot.kwargs}
    return spot._replace(options=options, args=args, kwargs=kwargs)


def _partial(sig: Signature[Any], spot: _Spot) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The arguments for the first calls of a chain or a chord."""
    own: Mapping[str, Any] = sig.partial_kwargs if isinstance(sig, (chain, chord)) else _NONE
    if sig.immutable:
        return sig.args, own
    return (*spot.args, *sig.args), {**own, **spot.kwargs}


def _node(sig: Signature[Any], spot: _Spot, options: Mapping[str, Any], key: Key, member_of: tuple[int, ...]) -> Node:
    """A call in its place."""
    args, kwargs = sig.args, sig.kwargs
    if (spot.args or spot.kwargs) and not sig.immutable:
        args, kwargs = (*spot.args, *args), {**kwargs, **spot.kwargs}
    silent = bool(spot.after) and (sig.immutable or spot.mute)
    return Node(sig, args, kwargs, options, key, spot.after, silent, member_of, spot.beside)
