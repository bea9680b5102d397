"""Reader of Thrift's compact protocol, the ``Fields`` of a struct, and the error.

It reads the footers and page headers of Parquet files. Arrow parses the same bytes later. This
reader runs first for two reasons: Arrow's accessors of some damaged footers end the process
(``tests/store/malicious_parquet.py`` writes one), and a page header has the number of bytes that
Arrow would allocate. The reader is stricter than Thrift: field numbers must rise, so that two
readers cannot read one struct differently.
"""

from __future__ import annotations

from kamou.errors import KamouError

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET_TYPE = range(1, 11)
STRUCT = 12  # 11 is a map, which Parquet does not use
DEPTH_MAX = 16  # of nested structs and lists; a footer has seven


class MalformedError(KamouError):
    """Bytes of a Parquet or Arrow file are malformed.

    The caller adds the file's name.
    """


class Fields:
    """The fields of a struct by number.

    A getter raises ``MalformedError`` if the field is missing, of another type or negative.
    """

    def __init__(self) -> None:
        self.values: dict[int, ThriftValue] = {}

    def has(self, number: int) -> bool:
        """Return True if the struct has this field."""
        return number in self.values

    def integer(self, number: int, default: int | None = None) -> int:
        """Return a field's integer of 0 or more; ``default`` if the field is missing."""
        value = self.values.get(number, default)
        if type(value) is not int or value < 0:
            raise MalformedError(f"field {number} is missing or not a number of 0 or more")
        return value

    def struct(self, number: int) -> Fields:
        """Return a field's struct."""
        value = self.values.get(number)
        if not isinstance(value, Fields):
            raise MalformedError(f"field {number} is missing or not a struct")
        return value

    def structs(self, number: int) -> list[Fields]:
        """Return a field's list of structs."""
        value = self.values.get(number)
        if isinstance(value, list):
            found = [each for each in value if isinstance(each, Fields)]
            if len(found) == len(value):
                return found
        raise MalformedError(f"field {number} is missing or not a list of structs")


ThriftValue = bool | int | bytes | Fields | list["ThriftValue"]


class CompactReader:
    """Reader of one struct at the start of ``data``.

    ``at`` is the index of the next byte.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def read(self) -> Fields:
        """Return the struct.

        Raises:
            MalformedError: the bytes are not a valid struct.
        """
        try:
            return self._struct(0)
        except IndexError as error:
            raise MalformedError("the data ends inside a value") from error

    def _struct(self, depth: int) -> Fields:
        if depth > DEPTH_MAX:
            raise MalformedError(
                f"structs and lists are nested deeper than {DEPTH_MAX} levels at byte {self.at:,}"
            )
        fields = Fields()
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 0x0F
            before, number = number, number + step if step else self._signed()
            if number <= before:
                raise MalformedError(f"field {number} follows {before}, but numbers must rise")
            fields.values[number] = kind == TRUE if kind <= FALSE else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> ThriftValue:
        if kind in (I16, I32, I64):
            return self._signed()
        if kind == STRUCT:
            return self._struct(depth + 1)
        if kind in (LIST, SET_TYPE):
            return self._list(depth + 1)
        if kind in (TRUE, FALSE, BYTE):  # a list's booleans are bytes
            return bool(self._byte()) if kind != BYTE else self._byte()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind == BINARY:
            return self._bytes(self._varint())
        raise MalformedError(f"a field is of unknown type {kind}")

    def _list(self, depth: int) -> list[ThriftValue]:
        if depth > DEPTH_MAX:
            raise MalformedError(
                f"structs and lists are nested deeper than {DEPTH_MAX} levels at byte {self.at:,}"
            )
        head = self._byte()
        size, kind = head >> 4, head & 0x0F
        if size == 0x0F:
            size = self._varint()
        if size > (left := len(self.data) - self.at):  # an item has at least one byte
            raise MalformedError(
                f"a list of {size:,} items is longer than the {left:,} bytes after byte {self.at:,}"
            )
        return [self._value(kind, depth) for _ in range(size)]

    def _bytes(self, count: int) -> bytes:
        if count > (left := len(self.data) - self.at):
            raise MalformedError(
                f"a value of {count:,} bytes is longer than the {left:,} bytes after byte "
                f"{self.at:,}"
            )
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
                raise MalformedError(f"a number before byte {self.at} has more than 64 bits")
        if value >= 1 << 64:
            raise MalformedError(f"a number before byte {self.at} has more than 64 bits")
        return value

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
