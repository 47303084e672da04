"""A task as part of workflows: signatures of its calls, and one job for many of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.canvas_maps import chunks, xmap, xstarmap
    from tqbroker.canvas_signature import Signature

R = TypeVar("R")


class TaskSignatures(Generic[R]):
    """The side of Task that describes calls without making them."""

    app: App

    def signature(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Signature[R]:
        """The signature of a call: a value that can be kept, sent and chained. Takes what `apply_async` takes."""
        from tqbroker.canvas_signature import Signature

        immutable = bool(options.pop("immutable", False))
        return Signature(self, args, kwargs, options, immutable=immutable, app=self.app)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """The signature of a call with these arguments; what comes before it goes in front of them."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """The same, immutable: it is not handed what comes before it."""
        return self.signature(args, kwargs, immutable=True)

    def map(self, it: Iterable[Any]) -> xmap:
        """One job that calls this task with each value in turn, and returns the list."""
        from tqbroker.canvas_maps import xmap

        return xmap(self, it, app=self.app)

    def starmap(self, it: Iterable[Sequence[Any]]) -> xstarmap:
        """One job that calls this task with each list of arguments in turn, and returns the list."""
        from tqbroker.canvas_maps import xstarmap

        return xstarmap(self, it, app=self.app)

    def chunks(self, it: Iterable[Sequence[Any]], n: int) -> chunks:
        """The same in jobs of `n` lists of arguments each."""
        from tqbroker.canvas_maps import chunks

        return chunks(self, it, n, app=self.app)
