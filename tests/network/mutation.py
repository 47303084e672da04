"""Messages made wrong: bytes that are nothing, bytes that are almost a message, messages that are almost right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tests.integration.nonsense import VALUES

MANY = 3000
"""Elements of a list that is made long."""

MOST_BYTES = 2 << 20
"""Bytes of all of them together: several such lists still fit into one message."""


class Mutation:
    """Draws what is wrong. `corpus` are messages whose ends others may get."""

    def __init__(self, random: Random, corpus: Sequence[bytes]) -> None:
        self._random = random
        self._corpus = corpus
        self._ways: list[tuple[Callable[[Message], bytes], int]] = [
            (self._noise, 1),
            (self._strange_wire, 2),
            (self._damaged, 5),
            (self._spliced, 2),
            (self._nested, 1),
            (self._changed, 9),
        ]

    def bad(self, good: Message) -> bytes:
        """The bytes of this message, or of one like it, with something wrong; seldom it is still good."""
        ways, weights = zip(*self._ways, strict=True)
        (way,) = self._random.choices(ways, weights)
        bad: bytes = way(good)
        return bad

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def _noise(self, good: Message) -> bytes:
        return self._random.randbytes(self._random.choice([0, 1, 2, 5, 30, 300, 5000]))

    def _strange_wire(self, good: Message) -> bytes:
        """Fields of known numbers with the wrong wire types, lengths that lie, varints without an end."""
        raw = bytearray(good.SerializeToString())
        for _ in range(self._random.randint(1, 4)):
            number = self._random.choice([field.number for field in good.DESCRIPTOR.fields] or [1])
            raw += bytes([(number << 3 | self._random.randrange(8)) & 0x7F])
            raw += self._random.choice(
                [b"", b"\x00", b"\xff" * 9 + b"\x01", b"\xff" * 20, b"\x80" * 12, b"\xff\xff\xff\xff\x07", b"\x05ab"]
            )
        return bytes(raw)

    def _damaged(self, good: Message) -> bytes:
        raw = bytearray(good.SerializeToString())
        for _ in range(self._random.choice([1, 1, 2, 5, 20])):
            at = self._random.randrange(len(raw) + 1)
            self._random.choice([_flip, _cut, _insert, _repeat, _drop])(self._random, raw, at)
        return bytes(raw)

    def _spliced(self, good: Message) -> bytes:
        """The beginning of one message and the end of another, perhaps of another call."""
        raw, other = good.SerializeToString(), self._random.choice(self._corpus)
        return raw[: self._random.randrange(len(raw) + 1)] + other[self._random.randrange(len(other) + 1) :]

    def _nested(self, good: Message) -> bytes:
        """A message in a message in a message, or groups that are opened and never closed."""
        fields = [field for field in good.DESCRIPTOR.fields if field.type == FieldDescriptor.TYPE_MESSAGE]
        tag = (self._random.choice(fields).number if fields else 1) << 3
        depth = self._random.choice([50, 99, 101, 1000, 100_000])
        if self._random.random() < 0.5:
            return bytes([(tag | 3) & 0x7F]) * depth
        raw = b""
        for _ in range(min(depth, 1000)):
            raw = bytes([(tag | 2) & 0x7F]) + _varint(len(raw)) + raw
        return raw

    # -- messages ------------------------------------------------------------------------------------------------------

    def _changed(self, good: Message) -> bytes:
        """Some of its fields, at any depth, filled with what they must not, or may just, hold."""
        bad = type(good)()
        bad.CopyFrom(good)
        for _ in range(self._random.choice([1, 1, 2, 3, 8])):
            self._spoil(bad)
        return bad.SerializeToString()

    def _spoil(self, message: Any) -> None:
        fields = message.DESCRIPTOR.fields
        if not fields:
            return
        field = self._random.choice(fields)
        inner = self._inside(message, field)
        if inner and self._random.random() < 0.7:
            self._spoil(self._random.choice(inner))
        elif field.is_repeated:
            self._spoil_list(message, field)
        elif field.message_type:
            self._random.choice([message.ClearField, lambda name: getattr(message, name).SetInParent()])(field.name)
        else:
            setattr(message, field.name, self._value(field))

    def _inside(self, message: Any, field: Any) -> list[Any]:
        """The messages in a field."""
        if not field.message_type or field.message_type.GetOptions().map_entry:
            return []
        value = getattr(message, field.name)
        return list(value) if field.is_repeated else [value] if message.HasField(field.name) else []

    def _spoil_list(self, message: Any, field: Any) -> None:
        values = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            kind = field.message_type.fields_by_name["value"].type
            values.update({str(self._value_of(FieldDescriptor.TYPE_STRING)): self._value_of(kind)})
            return
        how = self._random.randrange(4)
        if how == 0:
            message.ClearField(field.name)
        elif how == 1 and len(values):
            del values[self._random.randrange(len(values)) :]
        else:
            count = 1 if how == 2 else self._random.choice([2, 17, MANY])
            empty = GetMessageClass(field.message_type)() if field.message_type else self._value(field)
            element = values[0] if len(values) and self._random.random() < 0.5 else empty
            values.extend([element] * max(1, min(count, MOST_BYTES // _size(element))))

    def _value(self, field: Any) -> Any:
        return self._value_of(field.type)

    def _value_of(self, kind: int) -> Any:
        """Mostly what is known to hurt; else anything."""
        if self._random.random() < 0.7:
            return self._random.choice(VALUES[kind])
        return self._anything(kind)

    def _anything(self, kind: int) -> Any:
        bits = self._random.randrange(65)
        match kind:
            case FieldDescriptor.TYPE_STRING:
                return "".join(map(chr, self._random.choices(range(0xD800), k=self._random.randrange(30))))
            case FieldDescriptor.TYPE_BYTES:
                return self._random.randbytes(self._random.randrange(40))
            case FieldDescriptor.TYPE_BOOL:
                return self._random.random() < 0.5
            case FieldDescriptor.TYPE_DOUBLE:
                return self._random.uniform(-1e9, 1e9)
            case FieldDescriptor.TYPE_ENUM:
                return self._random.randrange(-(1 << 31), 1 << 31)
            case FieldDescriptor.TYPE_UINT32:
                return self._random.getrandbits(min(bits, 32))
        return self._random.getrandbits(bits)


def _size(element: Any) -> int:
    """Bytes of an element of a list, at least 1."""
    size = (
        element.ByteSize() if isinstance(element, Message) else len(element) if isinstance(element, str | bytes) else 8
    )
    return max(1, size)


def _varint(number: int) -> bytes:
    raw = b""
    while number > 127:
        raw += bytes([number & 127 | 128])
        number >>= 7
    return raw + bytes([number])


def _flip(random: Random, raw: bytearray, at: int) -> None:
    if at < len(raw):
        raw[at] ^= 1 << random.randrange(8)


def _cut(random: Random, raw: bytearray, at: int) -> None:
    del raw[at:]


def _insert(random: Random, raw: bytearray, at: int) -> None:
    raw[at:at] = random.randbytes(random.randint(1, 8))


def _repeat(random: Random, raw: bytearray, at: int) -> None:
    raw[at:at] = raw[at : at + random.randint(1, 40)] * random.choice([1, 2, 200])


def _drop(random: Random, raw: bytearray, at: int) -> None:
    del raw[at : at + random.randint(1, 8)]
