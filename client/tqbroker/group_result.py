"""GroupResult: the results of a group, which the broker knows by its id."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self

from tqbroker.async_result import AsyncResult
from tqbroker.current import the_app
from tqbroker.ids import key_of
from tqbroker.result_set import ResultSet
from tqbroker.result_tree import as_tuple, leaves

if TYPE_CHECKING:
    from tqbroker.app import App


class GroupResult(ResultSet):
    """The results of the members of a group, in their order. See ResultSet for what can be asked of all at once.

    `parent` is the result before the group in its chain; only here, it is not stored.
    """

    _bound_to: App | None = None

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        results: Iterable[Any] = (),
        parent: AsyncResult[Any] | GroupResult | None = None,
        app: App | None = None,
    ) -> None:
        super().__init__(results, app or self._bound_to)
        self.id = id
        self.parent = parent

    @classmethod
    def of_app(cls, app: App) -> type[GroupResult]:
        """The class for one app, so that `restore` knows where to ask."""
        return type(cls.__name__, (cls,), {"_bound_to": app, "__module__": cls.__module__, "__doc__": cls.__doc__})

    @property
    def children(self) -> list[Any]:
        """The results of the members."""
        return self.results

    def save(self) -> None:
        """Lets the broker remember which jobs these are, for as long as results are kept by default.

        The group of a workflow is known to the broker by itself, for as long as the workflow is.
        """
        keys = [each._key for each in leaves(self.results)]
        self.app.transport.save_group(_wire_id(self.id), keys, self.app.conf.request_timeout)

    def delete(self) -> None:
        """Lets the broker forget what `save` has stored. The jobs and their results stay."""
        self.app.transport.delete_group(_wire_id(self.id), self.app.conf.request_timeout)

    @classmethod
    def restore(cls, id: str, app: App | None = None) -> Self | None:  # noqa: A002 - Celery's name
        """The group with this id, saved or part of a workflow; None when the broker knows none."""
        app = app or cls._bound_to or the_app()
        keys = app.transport.group(_wire_id(id), app.conf.request_timeout)
        if keys is None:
            return None
        return cls(id, [AsyncResult._of(key, app) for key in keys], app=app)

    def as_tuple(self) -> tuple[Any, ...]:
        """This result with its parents and members as nested tuples and lists, for `result_from_tuple`."""
        return as_tuple(self)

    def _instead_of_pickling(self) -> str:
        return f"send its id, {self.id!r}, and write app.GroupResult.restore(id) there, or send as_tuple()"

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GroupResult):
            return NotImplemented
        return (self.id, self.parent, self.results) == (other.id, other.parent, other.results)

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(each.id for each in self.results)}]>"


def _wire_id(id: str) -> bytes:  # noqa: A002
    """The 16 bytes of a UUID; any other text, which Celery allows, stands for 16 that are made of it."""
    key = key_of(id)
    return key if isinstance(key, bytes) else blake2b(key.encode(), digest_size=16, person=b"tqbroker:group").digest()
