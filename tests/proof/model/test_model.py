"""Both engines against a model of plain dicts, led by hypothesis: a failure is shown as the fewest steps to it."""

from __future__ import annotations

import os
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.mutants.catching import catches
from tests.mutants.registry import planted
from tests.proof.amount import PROOF, amount
from tests.proof.model.machine import Queue

STEPS = 40

USUAL = settings(
    max_examples=amount(100, 2500),
    stateful_step_count=STEPS,
    derandomize=not PROOF,
    database=None,
    print_blob=True,
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
)
"""`make test` does the same each time, `make proof` something new; what it prints of a failure plays it again."""

HUNT = settings(USUAL, max_examples=10_000, derandomize=True, phases=(Phase.generate,))
"""Until something is found; how few steps lead there does not matter.

Which walks these are depends on the modules that are loaded, from which Hypothesis takes values: hence so many.
"""


class Counted(Queue):
    """Counts what it did."""

    counts: ClassVar[Counter[str]]

    def teardown(self) -> None:
        self.counts["seeds"] += 1
        self.counts["steps"] += self.done
        super().teardown()


@pytest.mark.proof("T29")
@pytest.mark.timeout(900)
def test_the_engines_do_what_the_model_does(counts: Counter[str]) -> None:
    class Machine(Counted):
        pass

    Machine.counts = counts
    if seed := os.environ.get("TQ_SEED"):
        Machine._hypothesis_internal_use_seed = int(seed)  # what `hypothesis.seed` does to a function
    run_state_machine_as_test(Machine, settings=USUAL)


def hunt(mutant: str, counts: Counter[str]) -> None:
    """Fails when nothing differs."""

    class Machine(Counted):
        pass

    Machine.counts = counts
    with planted(mutant), pytest.raises(AssertionError):
        run_state_machine_as_test(Machine, settings=HUNT)


@catches("resent_job_stored_again")
def test_a_bug_makes_the_engines_differ_from_the_model(mutant: str, counts: Counter[str]) -> None:
    hunt(mutant, counts)


@pytest.mark.long
@pytest.mark.timeout(900)
@catches("no_fencing", "epoch_not_raised", "floor_not_kept", "cancel_mark_forgotten", "lost_cursor")
def test_a_rare_bug_makes_the_engines_differ_from_the_model(mutant: str, counts: Counter[str]) -> None:
    hunt(mutant, counts)
