"""What signatures have in common that stand for many calls side by side: their result is a GroupResult."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from tqbroker.canvas_signature import Signature

if TYPE_CHECKING:
    from tqbroker.group_result import GroupResult


class Many(Signature[Any]):
    """The ways to submit, with the type of their result."""

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> GroupResult:  # type: ignore[override]
        """Submits all, with these arguments in front of those of each."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(  # type: ignore[override]
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> GroupResult:
        """Submits all, with these arguments in front of those of each and these options over theirs.

        Raises TypeError for `link` and `link_error`, which a group has not, and what Signature.apply_async raises.
        """
        result: Any = super().apply_async(args, kwargs, **options)
        return cast("GroupResult", result)

    async def adelay(self, *partial_args: Any, **partial_kwargs: Any) -> GroupResult:  # type: ignore[override]
        """`delay` for asyncio."""
        return await self.aapply_async(partial_args, partial_kwargs)

    async def aapply_async(  # type: ignore[override]
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> GroupResult:
        """`apply_async` for asyncio."""
        result: Any = await super().aapply_async(args, kwargs, **options)
        return cast("GroupResult", result)
