"""What a worker tells, as messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tqbroker.v1 import worker_pb2
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.ledger import Successes
from tqbroker_worker.messages import LONGEST_US, put_outcomes
from tqbroker_worker.protocol import Done

WEEK_US = 7 * 86_400 * 1_000_000


@pytest.mark.parametrize("again", [False, True])
def test_a_job_that_ran_for_a_week_is_told_beside_a_short_one(make_jobs: Callable[..., Jobs], again: bool) -> None:
    jobs = make_jobs(2)
    done = Done("json", jobs.tokens, [b"1"] * 2, [1] * 2, [WEEK_US, 5], [])
    request = worker_pb2.WorkRequest()

    put_outcomes(request, [Successes(done, [jobs] * 2, again)])

    (columns,) = request.successes
    assert list(columns.runtime_us) == [LONGEST_US, 5]
