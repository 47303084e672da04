"""What may not change between two versions of the wire.

A worker or client of the older version must understand the newer broker and the other way round. Additions are free;
what once had a name, number or type keeps it. Whatever `buf breaking` finds (WIRE_JSON) is found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)


class Named(Protocol):
    """Anything in a descriptor that has a name."""

    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


def breaks(before: FileDescriptorSet, after: FileDescriptorSet) -> list[str]:
    """One sentence for each break; empty when everybody who speaks `before` also speaks `after`."""
    return list(_kept(_named(before.file), _named(after.file), "file", "", _file))


def _file(old: FileDescriptorProto, new: FileDescriptorProto, where: str) -> Iterator[str]:
    if old.package != new.package:
        yield f"{where}: package changed from {old.package} to {new.package}"
    yield from _kept(_named(old.message_type), _named(new.message_type), "message", where, _message)
    yield from _kept(_named(old.enum_type), _named(new.enum_type), "enum", where, _enum)
    yield from _kept(_named(old.service), _named(new.service), "service", where, _service)


def _message(old: DescriptorProto, new: DescriptorProto, where: str) -> Iterator[str]:
    fields = {field.number: field for field in new.field}
    for field in old.field:
        if field.number not in fields:
            yield f"{where}: field {field.number} ({field.name}) was removed or renumbered"
        else:
            yield from _field(field, fields[field.number], old, new, f"{where}.{field.name}")
    yield from _kept(_named(old.nested_type), _named(new.nested_type), "message", where, _message)
    yield from _kept(_named(old.enum_type), _named(new.enum_type), "enum", where, _enum)


def _field(
    old: FieldDescriptorProto, new: FieldDescriptorProto, holder: DescriptorProto, heir: DescriptorProto, where: str
) -> Iterator[str]:
    if old.name != new.name:
        yield f"{where}: renamed to {new.name}; the number stays with its name"
    if (old.type, old.type_name) != (new.type, new.type_name):
        yield f"{where}: type changed from {_type(old)} to {_type(new)}"
    if old.label != new.label:
        yield f"{where}: repeated and single fields were exchanged"
    if _oneof(old, holder) != _oneof(new, heir):
        yield f"{where}: moved into, out of or between oneofs"


def _enum(old: EnumDescriptorProto, new: EnumDescriptorProto, where: str) -> Iterator[str]:
    def same(before: EnumValueDescriptorProto, after: EnumValueDescriptorProto, value: str) -> Iterator[str]:
        if before.number != after.number:
            yield f"{value}: number changed from {before.number} to {after.number}"

    yield from _kept(_named(old.value), _named(new.value), "enum value", where, same)


def _service(old: ServiceDescriptorProto, new: ServiceDescriptorProto, where: str) -> Iterator[str]:
    yield from _kept(_named(old.method), _named(new.method), "call", where, _method)


def _method(old: MethodDescriptorProto, new: MethodDescriptorProto, where: str) -> Iterator[str]:
    if (old.input_type, old.output_type) != (new.input_type, new.output_type):
        yield f"{where}: request or response type changed"
    if (old.client_streaming, old.server_streaming) != (new.client_streaming, new.server_streaming):
        yield f"{where}: streaming changed"


def _kept(
    old: Mapping[str, N], new: Mapping[str, N], kind: str, where: str, compare: Callable[[N, N, str], Iterator[str]]
) -> Iterator[str]:
    for name, thing in old.items():
        place = f"{where}: {name}" if where else name
        if name in new:
            yield from compare(thing, new[name], place)
        else:
            yield f"{place}: this {kind} was removed or renamed"


def _named(things: Iterable[N]) -> dict[str, N]:
    return {thing.name: thing for thing in things}


def _type(field: FieldDescriptorProto) -> str:
    return field.type_name.lstrip(".") or FieldDescriptorProto.Type.Name(field.type)[len("TYPE_") :].lower()


def _oneof(field: FieldDescriptorProto, holder: DescriptorProto) -> str:
    return holder.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
