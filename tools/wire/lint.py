"""Naming and comments of the protos: what `buf lint` checks with `proto/buf.yaml`, without needing buf."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

PASCAL = re.compile(r"([A-Z][a-z0-9]*)+")
LOWER_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

# Numbers of fields in a FileDescriptorProto, DescriptorProto and so on: the paths that comments are filed under.
SYNTAX, MESSAGE, ENUM, SERVICE, NESTED_MESSAGE, NESTED_ENUM, VALUE, METHOD = 12, 4, 5, 6, 3, 4, 2, 2

Path = tuple[int, ...]


def faults(wire: FileDescriptorSet) -> list[str]:
    """One sentence for each rule that is broken; empty when all is well."""
    return [f"{file.name}: {fault}" for file in wire.file for fault in _File(file).faults()]


class _File:
    def __init__(self, file: FileDescriptorProto) -> None:
        self.file = file
        self.commented = {
            tuple(place.path)
            for place in file.source_code_info.location
            if place.leading_comments.strip() or any(text.strip() for text in place.leading_detached_comments)
        }

    def faults(self) -> Iterator[str]:
        yield from self._placed()
        yield from self._comment((SYNTAX,), "the file, above its `syntax` line,")
        for at, message in enumerate(self.file.message_type):
            yield from self._message(message, (MESSAGE, at))
        for at, enum in enumerate(self.file.enum_type):
            yield from self._enum(enum, (ENUM, at))
        for at, service in enumerate(self.file.service):
            yield from self._service(service, (SERVICE, at))

    def _placed(self) -> Iterator[str]:
        if self.file.package.replace(".", "/") != self.file.name.rpartition("/")[0]:
            yield f"package {self.file.package} does not match the folder"
        if not re.fullmatch(r".*\.v[1-9][0-9]*", self.file.package):
            yield f"package {self.file.package} does not end in a version"

    def _message(self, message: DescriptorProto, path: Path) -> Iterator[str]:
        yield from self._named(message.name, PASCAL, "message", "PascalCase")
        yield from self._comment(path, f"message {message.name}")
        optional = {field.oneof_index for field in message.field if field.proto3_optional}  # protoc's own, "_field"
        oneofs = [oneof.name for number, oneof in enumerate(message.oneof_decl) if number not in optional]
        for name in [field.name for field in message.field] + oneofs:
            yield from self._named(name, LOWER_SNAKE, f"field {message.name}.", "lower_snake_case")
        for at, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                yield from self._message(nested, (*path, NESTED_MESSAGE, at))
        for at, enum in enumerate(message.enum_type):
            yield from self._enum(enum, (*path, NESTED_ENUM, at))

    def _enum(self, enum: EnumDescriptorProto, path: Path) -> Iterator[str]:
        yield from self._named(enum.name, PASCAL, "enum", "PascalCase")
        yield from self._comment(path, f"enum {enum.name}")
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
        if enum.value[0].name != f"{prefix}UNSPECIFIED" or enum.value[0].number != 0:
            yield f"enum {enum.name} does not begin with {prefix}UNSPECIFIED = 0"
        for at, value in enumerate(enum.value):
            if not re.fullmatch(f"{prefix}[A-Z0-9]+(_[A-Z0-9]+)*", value.name):
                yield f"enum value {value.name} is not {prefix}UPPER_SNAKE_CASE"
            if value.number:
                yield from self._comment((*path, VALUE, at), f"enum value {value.name}")

    def _service(self, service: ServiceDescriptorProto, path: Path) -> Iterator[str]:
        yield from self._named(service.name, PASCAL, "service", "PascalCase")
        yield from self._comment(path, f"service {service.name}")
        for at, method in enumerate(service.method):
            yield from self._named(method.name, PASCAL, f"call {service.name}.", "PascalCase")
            yield from self._comment((*path, METHOD, at), f"call {service.name}.{method.name}")
            sides: Sequence[tuple[str, str]] = ((method.input_type, "Request"), (method.output_type, "Response"))
            for type_name, suffix in sides:
                if type_name != f".{self.file.package}.{method.name}{suffix}":
                    yield f"call {service.name}.{method.name} does not use a {method.name}{suffix} of its own"

    def _comment(self, path: Path, what: str) -> Iterator[str]:
        if path not in self.commented:
            yield f"{what} has no comment"

    def _named(self, name: str, pattern: re.Pattern[str], kind: str, style: str) -> Iterator[str]:
        if not pattern.fullmatch(name):
            yield f"{kind} {name} is not {style}".replace(". ", ".")
