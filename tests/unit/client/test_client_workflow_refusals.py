"""What a refusal of a part means for the workflow."""

from __future__ import annotations

import pytest

from tqbroker.call import Batch, Head, Nodes, Workflow
from tqbroker.exceptions import OperationalError
from tqbroker.ids import new_key, new_keys
from tqbroker.v1 import errors_pb2
from tqbroker.workflow_shipping import MAX_JOBS, judge_refusal, parcels

HEAD = Head("t", "default", 0, "json")


@pytest.mark.parametrize(
    ("reason", "fates"),
    [
        (errors_pb2.REASON_INVALID, ["rejected", "rejected"]),
        (errors_pb2.REASON_UNSPECIFIED, ["rejected", "unknown"]),
    ],
)
def test_only_the_last_part_can_leave_open_whether_a_workflow_is_stored(
    reason: errors_pb2.Reason.ValueType, fates: list[str]
) -> None:
    count = MAX_JOBS + 1
    jobs = Batch(HEAD, list(new_keys(count)), [b"[[],{}]"] * count)
    found = []
    for parcel in parcels(Workflow(new_key(), "a workflow", [], [Nodes(jobs)])):
        with pytest.raises(OperationalError) as raised:
            judge_refusal(parcel, errors_pb2.Error(reason=reason, message="why"))
        found.append(raised.value.outcome)

    assert found == fates
