"""Lower bounds give the lowest, may be lowered and lifted, and need memory for what there is only."""

from __future__ import annotations

from random import Random

from tqbroker_broker.storage.lmdb.bounds import Bounds


def test_the_item_with_the_lowest_bound_is_on_top() -> None:
    bounds = Bounds({"a": 5, "b": 3})
    assert bounds.top() == (3, "b")

    bounds.lift("b", 7)
    assert bounds.top() == (5, "a")
    bounds.lower("b", 6)
    bounds.lower("c", 1)
    bounds.lower("c", 2)
    assert bounds.top() == (1, "c")
    bounds.forget("c")
    bounds.forget("a")
    assert bounds.top() == (6, "b")
    bounds.forget("b")
    assert bounds.top() is None


def test_it_is_always_the_lowest_and_nothing_that_is_out_of_date_piles_up() -> None:
    rng, known = Random(4), dict[int, int]()
    bounds: Bounds[int] = Bounds(known)
    for _ in range(5000):
        item, order = rng.randrange(20), rng.randrange(1000)
        if rng.random() < 0.6:
            bounds.lower(item, order)
            known[item] = min(order, known.get(item, order))
        elif (top := bounds.top()) is not None:
            assert known[top[1]] == top[0] == min(known.values())
            bounds.lift(top[1], known.setdefault(top[1], 0) + order)
            known[top[1]] += order
        if rng.random() < 0.05:
            bounds.forget(item)
            known.pop(item, None)
        assert len(bounds._entries) <= 60
