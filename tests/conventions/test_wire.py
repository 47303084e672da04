"""The stubs are fresh, the protos keep their manners, and nobody who speaks the released wire is left behind.

Each check is shown to fail on a planted fault as well: a check that never fails proves nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from wire import protoc
from wire.breaking import breaks
from wire.lint import faults

Mutation = Callable[[FileDescriptorSet], None]


@pytest.fixture(scope="module")
def wire() -> FileDescriptorSet:
    """The wire as the protos have it now."""
    return protoc.describe()


def test_the_committed_stubs_are_what_the_protos_generate() -> None:
    assert protoc.stale(protoc.ROOT / "client") == []


def test_a_stub_that_was_edited_by_hand_is_found(tmp_path: Path) -> None:
    shutil.copytree(protoc.ROOT / "client" / protoc.STUBS, tmp_path / protoc.STUBS)
    edited = tmp_path / protoc.STUBS / "job_pb2.py"
    edited.write_text(edited.read_text() + "\n")
    (tmp_path / protoc.STUBS / "worker_pb2_grpc.py").unlink()
    (tmp_path / protoc.STUBS / "gone_pb2.py").touch()

    found = " ".join(protoc.stale(tmp_path))

    assert all(name in found for name in ("job_pb2.py", "worker_pb2_grpc.py", "gone_pb2.py"))


def test_the_wire_breaks_nobody_who_speaks_the_released_one(wire: FileDescriptorSet) -> None:
    assert breaks(protoc.read_baseline(), wire) == []


def test_names_and_comments_follow_the_rules(wire: FileDescriptorSet) -> None:
    assert faults(wire) == []


def file(wire: FileDescriptorSet, name: str) -> FileDescriptorProto:
    return next(file for file in wire.file if file.name == f"tqbroker/v1/{name}.proto")


def field(wire: FileDescriptorSet, message: str, name: str) -> FieldDescriptorProto:
    holder = next(each for file in wire.file for each in file.message_type if each.name == message)
    return next(each for each in holder.field if each.name == name)


def remove_field(wire: FileDescriptorSet) -> None:
    del file(wire, "job").message_type[1].field[2]


def renumber_field(wire: FileDescriptorSet) -> None:
    field(wire, "JobBatch", "priority").number = 77


def rename_field(wire: FileDescriptorSet) -> None:
    field(wire, "JobBatch", "priority").name = "rank"


def retype_field(wire: FileDescriptorSet) -> None:
    field(wire, "JobBatch", "priority").type = FieldDescriptorProto.TYPE_STRING


def retype_message_field(wire: FileDescriptorSet) -> None:
    field(wire, "JobBatch", "ids").type_name = ".tqbroker.v1.Held"


def repeat_field(wire: FileDescriptorSet) -> None:
    field(wire, "JobBatch", "priority").label = FieldDescriptorProto.LABEL_REPEATED


def leave_oneof(wire: FileDescriptorSet) -> None:
    field(wire, "JobStatus", "uuid").ClearField("oneof_index")


def remove_message(wire: FileDescriptorSet) -> None:
    del file(wire, "queue").message_type[0]


def remove_enum_value(wire: FileDescriptorSet) -> None:
    del file(wire, "job").enum_type[0].value[3]


def renumber_enum_value(wire: FileDescriptorSet) -> None:
    file(wire, "job").enum_type[0].value[3].number = 77


def remove_enum(wire: FileDescriptorSet) -> None:
    del file(wire, "errors").enum_type[0]


def remove_call(wire: FileDescriptorSet) -> None:
    del file(wire, "queue").service[0].method[2]


def remove_service(wire: FileDescriptorSet) -> None:
    del file(wire, "admin").service[0]


def remove_file(wire: FileDescriptorSet) -> None:
    wire.file.remove(file(wire, "admin"))


def stream_a_call(wire: FileDescriptorSet) -> None:
    file(wire, "queue").service[0].method[0].server_streaming = True


def exchange_response(wire: FileDescriptorSet) -> None:
    file(wire, "queue").service[0].method[0].output_type = ".tqbroker.v1.GetResponse"


def move_package(wire: FileDescriptorSet) -> None:
    file(wire, "queue").package = "tqbroker.v2"


BREAKS: list[tuple[Mutation, str]] = [
    (remove_field, "removed or renumbered"),
    (renumber_field, "removed or renumbered"),
    (rename_field, "renamed to rank"),
    (retype_field, "type changed from uint32 to string"),
    (retype_message_field, "type changed from tqbroker.v1.Ids to tqbroker.v1.Held"),
    (repeat_field, "repeated and single"),
    (leave_oneof, "oneofs"),
    (remove_message, "this message was removed"),
    (remove_enum_value, "this enum value was removed"),
    (renumber_enum_value, "number changed from 3 to 77"),
    (remove_enum, "this enum was removed"),
    (remove_call, "this call was removed"),
    (remove_service, "this service was removed"),
    (remove_file, "this file was removed"),
    (stream_a_call, "streaming changed"),
    (exchange_response, "request or response type changed"),
    (move_package, "package changed"),
]


@pytest.mark.parametrize(("mutate", "told"), BREAKS, ids=[mutate.__name__ for mutate, _ in BREAKS])
def test_a_break_is_found(wire: FileDescriptorSet, mutate: Mutation, told: str) -> None:
    changed = FileDescriptorSet.FromString(wire.SerializeToString())
    mutate(changed)

    assert any(told in sentence for sentence in breaks(wire, changed))


def test_additions_break_nobody(wire: FileDescriptorSet) -> None:
    grown = FileDescriptorSet.FromString(wire.SerializeToString())
    job = file(grown, "job")
    job.message_type[1].field.add(name="tenant", number=99, type=FieldDescriptorProto.TYPE_STRING)
    job.message_type.add(name="Tenant")
    job.enum_type[0].value.add(name="STATE_PAUSED", number=99)
    file(grown, "queue").service[0].method.add(name="Peek", input_type=".a", output_type=".b")
    grown.file.add(name="tqbroker/v1/later.proto", package="tqbroker.v1")

    assert breaks(wire, grown) == []


def name_message_badly(wire: FileDescriptorSet) -> None:
    file(wire, "job").message_type[0].name = "job_ids"


def name_field_badly(wire: FileDescriptorSet) -> None:
    field(wire, "JobBatch", "priority").name = "jobPriority"


def forget_enum_prefix(wire: FileDescriptorSet) -> None:
    file(wire, "queue").enum_type[0].value[1].name = "CANCELLED"


def forget_zero_value(wire: FileDescriptorSet) -> None:
    del file(wire, "job").enum_type[0].value[0]


def share_a_request(wire: FileDescriptorSet) -> None:
    file(wire, "queue").service[0].method[4].input_type = ".tqbroker.v1.GetRequest"


def lose_comments(wire: FileDescriptorSet) -> None:
    file(wire, "queue").ClearField("source_code_info")


def misplace(wire: FileDescriptorSet) -> None:
    file(wire, "queue").package = "tqbroker.queue"


FAULTS: list[tuple[Mutation, str]] = [
    (name_message_badly, "message job_ids is not PascalCase"),
    (name_field_badly, "field JobBatch.jobPriority is not lower_snake_case"),
    (forget_enum_prefix, "enum value CANCELLED is not CANCEL_EFFECT_UPPER_SNAKE_CASE"),
    (forget_zero_value, "enum State does not begin with STATE_UNSPECIFIED = 0"),
    (share_a_request, "call Queue.Cancel does not use a CancelRequest of its own"),
    (misplace, "does not match the folder"),
    (misplace, "does not end in a version"),
    (lose_comments, "call Queue.Get has no comment"),
    (lose_comments, "message GetRequest has no comment"),
    (lose_comments, "enum value CANCEL_EFFECT_FINAL has no comment"),
    (lose_comments, "service Queue has no comment"),
    (lose_comments, "the file, above its `syntax` line, has no comment"),
]


@pytest.mark.parametrize(("mutate", "told"), FAULTS)
def test_bad_manners_are_found(wire: FileDescriptorSet, mutate: Mutation, told: str) -> None:
    changed = FileDescriptorSet.FromString(wire.SerializeToString())
    mutate(changed)

    assert any(told in sentence for sentence in faults(changed))
