"""What answers is not always a broker, or not of this version: our client and our worker say so, and live."""

from __future__ import annotations

import base64
import threading
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from tests.mutants.catching import catches
from tests.mutants.registry import planted
from tests.network.client_calls import client_calls
from tests.network.liar import Liar
from tests.proof.amount import amount, numbers

from tqbroker._grpc import GrpcTransport
from tqbroker.exceptions import OperationalError

pytestmark = pytest.mark.proof("T20")

SECONDS = 10.0
"""A call with a deadline of a tenth of a second that takes longer hangs."""


def outcome(call: Callable[[], object]) -> BaseException | str | None:
    """What a call raised, or that it hangs; None when it is as it may be."""
    found: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
        except OperationalError:
            found.append(None)
        except BaseException as error:
            found.append(error)
        else:
            found.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return found[0] if found else "it hangs"


@pytest.mark.timeout(600)
def test_an_answer_that_no_broker_gives_is_an_operational_error_and_never_anything_else(counts: Counter[str]) -> None:
    for seed in numbers(1, 4):
        counts["inputs"] += ask_a_liar(seed, amount(120, 600))


def ask_a_liar(seed: int, count: int) -> int:
    """So many calls. Fails with the first that does not end as it may. Returns how many answers there were."""
    random, liar = Random(seed), Liar(seed)
    transport = GrpcTransport(liar.target)
    calls = client_calls(transport)
    try:
        for name in random.choices(sorted(calls), k=count):
            wrong = outcome(calls[name])
            said = [(path, base64.b64encode(raw)[:4000]) for path, raw in liar.said]
            assert wrong is None, f"TQ_SEED={seed}: {name}: {wrong!r}, after {said}"
        return liar.answers
    finally:
        transport.close()
        liar.close()


@catches("nonsense_raises")
def test_an_error_that_is_no_operational_error_is_found(mutant: str) -> None:
    with planted(mutant), pytest.raises(AssertionError, match=r"TQ_SEED=1: \w+: \w+Error"):
        ask_a_liar(1, 400)
