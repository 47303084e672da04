"""Tenants share a queue by their weights, and nobody saves up turns while away."""

from __future__ import annotations

from tqbroker_broker.shares import FORGET_ABOVE, Shares


def served(shares: Shares, tenants: str, count: int, **weights: int) -> str:
    """The tenants of the next turns, when all of these have jobs."""
    order = ""
    for _ in range(count):
        tenant = shares.first(tenants)
        shares.took(tenant, weights.get(tenant, 1))
        order += tenant
    return order


def test_equal_tenants_alternate() -> None:
    assert served(Shares(), "ba", 6) == "ababab"


def test_a_tenant_has_as_many_turns_as_its_weight() -> None:
    order = served(Shares(), "abc", 50, a=3)

    assert (order.count("a"), order.count("b"), order.count("c")) == (30, 10, 10)
    assert "aaaa" not in order


def test_a_tenant_that_was_away_has_no_claim_on_earlier_turns() -> None:
    shares = Shares()
    served(shares, "a", 1000)

    assert served(shares, "ab", 4) == "baba"


def test_many_turns_in_a_row_count_like_single_ones() -> None:
    one, many = Shares(), Shares()
    for _ in range(5):
        one.took("a", 3)
    many.took("a", 3, 5)

    assert [one.rank(name) for name in "ab"] == [many.rank(name) for name in "ab"]


def test_tenants_that_had_their_last_turn_long_ago_are_forgotten() -> None:
    shares = Shares()
    for number in range(10_000):
        tenant = f"tenant {number}"
        shares.took(tenant, 1)
        shares.took("always", 1)

    assert len(shares._marks) <= 2 * FORGET_ABOVE
