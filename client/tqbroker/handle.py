"""What stands for something elsewhere, and so is neither copied nor pickled."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NoReturn, Self


class Handle:
    """Hangs on the app of this process. A copy is the handle itself, and pickling says what to send instead."""

    __slots__ = ()

    @abstractmethod
    def _instead_of_pickling(self) -> str:
        """What to send to another process."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        kind = type(self).__name__
        raise TypeError(f"{kind} cannot be pickled, it belongs to this process: {self._instead_of_pickling()}")
