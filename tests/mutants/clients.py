"""Bugs of the client."""

from __future__ import annotations

from functools import cache

from tests.mutants.registry import Plant, mutant

from tqbroker import _grpc
from tqbroker._grpc_connection import Connection


@mutant("children go on with the channel of their parent", breaks="P1")
def a_child_uses_the_channel_of_its_parent(plant: Plant) -> None:
    plant(Connection, "park", lambda self: False)
    plant(_grpc, "transport_for", cache(_grpc.transport_for))
