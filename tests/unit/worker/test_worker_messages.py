"""What a worker tells, as messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tqbroker.v1 import worker_pb2
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.ledger import Successes
from tqbroker_worker.messages import put_outcomes
from tqbroker_worker.protocol import Done

WEEK_US = 7 * 86_400 * 1_000_000


@pytest.mark.parametrize("again", [False, True])
def test_a_job_that_ran_for_a_week_is_told_as_it_is(make_jobs: Callable[..., Jobs], again: bool) -> None:
    jobs = make_jobs(1)
    done = Done("json", jobs.tokens, [b"1"], [1], [WEEK_US], [])
    request = worker_pb2.WorkRequest()

    put_outcomes(request, [Successes(done, [jobs], again)])

    (columns,) = request.successes
    assert list(columns.runtime_us) == [WEEK_US]
