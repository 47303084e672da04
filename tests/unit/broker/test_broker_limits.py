"""Which limits a job counts against, and which rule each of their names has."""

from __future__ import annotations

import pytest

from tqbroker_broker.limits import limit_names, rule_for
from tqbroker_broker.records import Head
from tqbroker_broker.rules import LimitRule, Traits

RULES = {name: LimitRule(name, 1) for name in ("mail", "user:*", "user:big*", "user:bigger", "queue:*")}


def test_a_job_counts_against_its_task_its_queue_and_each_of_its_own_names_once() -> None:
    head = Head("tasks.add", "mail", 0, "json", traits=Traits(limits=("api", "task:tasks.add", "api")))

    assert limit_names(head) == ("task:tasks.add", "queue:mail", "api")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("mail", "mail"),
        ("mailing", None),
        ("user:1", "user:*"),
        ("user:", "user:*"),
        ("user", None),
        ("user:big", "user:big*"),
        ("user:bigger", "user:bigger"),
        ("user:biggest", "user:big*"),
        ("queue:default", "queue:*"),
    ],
)
def test_the_longest_rule_that_fits_a_name_is_its_rule(name: str, rule: str | None) -> None:
    found = rule_for(name, RULES)

    assert (found.name if found else None) == rule


def test_a_star_alone_is_the_rule_of_every_name_that_has_no_other() -> None:
    rules = {**RULES, "*": LimitRule("*", 5)}

    assert rule_for("anything", rules) == LimitRule("*", 5)
    assert rule_for("mail", rules) == LimitRule("mail", 1)
    assert rule_for("anything", {}) is None
