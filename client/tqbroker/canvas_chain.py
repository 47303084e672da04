"""chain: calls one after the other, each handed what the one before returned."""

from __future__ import annotations

from typing import Any

from tqbroker.canvas_options import refuse_task
from tqbroker.canvas_parts import Composite
from tqbroker.canvas_signature import Signature


class chain(Composite, kind="chain"):  # noqa: N801 - Celery's name
    """`chain(a, b, c)`, `chain([a, b, c])`, or `a | b | c`: each part goes first into the next.

    Its result is that of the last part, with the one before as `.parent`. After a group comes what is handed the list
    of its results. Of options the first part gets what says when and where, `task_id` is that of the last, `link` is
    called with its result, and `link_error` once, for the first part that fails. Raises TypeError for parts that are
    no signatures.
    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        super().__init__(*tasks, **options)
        self._shared = any(isinstance(part, chain) for part in self.parts)
        self["kwargs"]["tasks"] = [step for part in self.parts for step in _steps(part)]

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Submits it, with these arguments in front of those of its first part."""
        return self.apply_async(partial_args, partial_kwargs)

    def __or__(self, other: Any) -> chain:  # type: ignore[override]
        if not isinstance(other, Signature):
            refuse_task(other)
            return NotImplemented
        new = self.clone()
        new._append(other)
        return new

    def __ior__(self, other: Any) -> chain:  # type: ignore[override]
        return self.__or__(other)

    def _append(self, other: Signature[Any]) -> None:
        """Puts a part behind the last. What the whole was given stays with the parts that it was given to."""
        if self.parts and not _is_plain(self):
            whole = self.clone()
            self["kwargs"], self["args"], self["options"] = {"tasks": [whole]}, (), {}
        empty = isinstance(other, Composite) and not other.parts
        if not (empty and self.parts):
            self.parts.extend(_steps(other))

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts)) if self.parts else "chain(<empty>)"


def _is_plain(sig: Composite) -> bool:
    """Whether it is nothing but its parts."""
    return not (sig.options or sig.args or sig.partial_kwargs or sig.immutable)


def _steps(part: Signature[Any]) -> list[Signature[Any]]:
    """The parts of a chain that is nothing but them; any other signature as it is."""
    step = part.alone()
    if not isinstance(step, chain) or not _is_plain(step):
        return [step]
    step._shared = True
    return step.parts
