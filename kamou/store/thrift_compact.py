"""Thrift's compact protocol, as far as Parquet's footers and page headers use it.

Arrow parses the same bytes later; this reader comes first because Arrow's accessors of a footer's
parts end the process on some damaged ones (found by ``tests/store/test_stored_datasets.py``), and
because a page header tells what Arrow would allocate. It is stricter than Thrift: fields must
stand in rising order, so that two readers cannot understand one struct differently.
"""

from __future__ import annotations

from typing import Any

from kamou.errors import KamouError

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET_TYPE = range(1, 11)
STRUCT = 12  # 11 is a map, which no footer has
DEEP_MAX = 16  # structs and lists inside each other; a footer has seven


class MalformedError(KamouError):
    """The bytes are no such struct. Its catcher names the file."""


class Fields:
    """A struct by field number; every getter refuses a field of another type."""

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}

    def has(self, number: int) -> bool:
        return number in self.values

    def integer(self, number: int, default: int | None = None) -> int:
        """Return an integer that is not negative."""
        value = self.values.get(number, default)
        if type(value) is not int or value < 0:
            raise MalformedError(f"its field {number} is no size")
        return value

    def struct(self, number: int) -> Fields:
        value = self.values.get(number)
        if not isinstance(value, Fields):
            raise MalformedError(f"its field {number} is no struct")
        return value

    def structs(self, number: int) -> list[Fields]:
        value = self.values.get(number)
        if not isinstance(value, list) or not all(isinstance(each, Fields) for each in value):
            raise MalformedError(f"its field {number} is no list of structs")
        return value


class CompactReader:
    """Reads one struct from the start of ``data``; ``at`` is then the first byte after it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def read(self) -> Fields:
        """Return the struct. Raises ``MalformedError``."""
        try:
            return self._struct(0)
        except IndexError as error:
            raise MalformedError("it ends too early") from error

    def _struct(self, depth: int) -> Fields:
        if depth > DEEP_MAX:
            raise MalformedError("it is nested too deep")
        fields = Fields()
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 0x0F
            before, number = number, number + step if step else self._signed()
            if number <= before:
                raise MalformedError("its fields do not stand in order")
            fields.values[number] = kind == TRUE if kind <= FALSE else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (I16, I32, I64):
            return self._signed()
        if kind == STRUCT:
            return self._struct(depth + 1)
        if kind in (LIST, SET_TYPE):
            return self._list(depth + 1)
        if kind in (TRUE, FALSE, BYTE):  # in a list a boolean is a byte
            return bool(self._byte()) if kind != BYTE else self._byte()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind == BINARY:
            return self._bytes(self._varint())
        raise MalformedError(f"it has a field of type {kind}")

    def _list(self, depth: int) -> list[Any]:
        if depth > DEEP_MAX:
            raise MalformedError("it is nested too deep")
        head = self._byte()
        size, kind = head >> 4, head & 0x0F
        if size == 0x0F:
            size = self._varint()
        if size > len(self.data) - self.at:  # every item takes a byte at least
            raise MalformedError("it has a list that is longer than the file")
        return [self._value(kind, depth) for _ in range(size)]

    def _bytes(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise MalformedError("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def _byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            part = self._byte()
            value |= (part & 0x7F) << shift
            if part < 0x80:
                break
            shift += 7
            if shift > 63:
                raise MalformedError("it has a number beyond 64 bits")
        if value >= 1 << 64:
            raise MalformedError("it has a number beyond 64 bits")
        return value

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
