"""A Parquet column's page headers, read before anything is unpacked.

Arrow allocates what a page header asks for, and a file's footer may say something else. So the
headers of every wanted column are walked first (Thrift's compact protocol, ``parquet.thrift`` of
the Parquet format): the pages must hold exactly the values that the footer promises, and no page
may unpack to more than its values can need.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import attrs

PAGE_BYTES_MAX = 64 << 20  # unpacked; Arrow writes 1 MB pages, some writers one page per group
PAGE_SLACK_BYTES = 4_096  # levels and encodings of a small page
TEXT_BYTES_MAX = 128  # of one symbol, venue or number as text, length and levels included
NUMBER_BYTES_MAX = 40  # of one number: a wide decimal has 32
HEADER_BYTES_MAX = 64 << 10  # statistics of a text column are truncated by every writer
DELTA_BYTE_ARRAY = 7  # repeats prefixes: a small page can unpack to any size
INT, STRUCT = 5, 12  # Thrift compact types
DATA, DICTIONARY, DATA_V2 = 5, 7, 8  # fields of PageHeader that hold the page's own header
ENCODING_FIELD = {DATA: 2, DICTIONARY: 2, DATA_V2: 4}
STRUCTS_DEEP_MAX = 8  # a page header has three

ReadAt = Callable[[int, int], bytes]
"""``(offset, count)`` to the bytes that stand there; fewer at the end of the file."""


class UnfitPagesError(Exception):
    """The pages are not what the footer promises. Stays in this room: its caller names the file."""


@attrs.frozen(kw_only=True)
class Page:
    """One page, by its header. Sizes in bytes, without the header."""

    values: int
    encoding: int
    unpacked: int
    packed: int
    dictionary: bool
    header: int  # bytes of the header itself


def read_at(descriptor: int) -> ReadAt:
    """Return a reader of an open file by position."""
    return lambda offset, count: os.pread(descriptor, count, offset)


def check_column(read: ReadAt, chunk: Any, *, text: bool, rows: int) -> int:
    """Walk the pages of one column chunk and return the bytes that they unpack to.

    Args:
        read: of the file.
        chunk: its ``pyarrow.parquet.ColumnChunkMetaData``.
        text: whether the column holds texts; see ``DELTA_BYTE_ARRAY``.
        rows: of the row group.

    Raises:
        UnfitPagesError: a page is malformed, too large for its values, or the count differs.
    """
    if chunk.num_values != rows:
        raise UnfitPagesError("a column has another number of values than the rows of its group")
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < start:
        start = chunk.dictionary_page_offset
    at, end = start, start + chunk.total_compressed_size
    seen = unpacked = 0
    while seen < rows:
        if not 0 < at < end:
            raise UnfitPagesError("a column ends before its last value")
        page = read_page(read(at, HEADER_BYTES_MAX))
        _check_page(page, text=text)
        seen += 0 if page.dictionary else page.values
        unpacked += page.unpacked
        at += page.header + page.packed
    if seen != rows or at > end:
        raise UnfitPagesError("a column's pages hold more than its footer says")
    return unpacked


def _check_page(page: Page, *, text: bool) -> None:
    each = TEXT_BYTES_MAX if text else NUMBER_BYTES_MAX
    if page.unpacked > min(PAGE_BYTES_MAX, PAGE_SLACK_BYTES + each * page.values):
        raise UnfitPagesError(
            f"a page of {page.values:,} values unpacks to {page.unpacked:,} bytes; at most "
            f"{each} bytes a value and {PAGE_BYTES_MAX:,} a page are read"
        )
    if text and page.encoding == DELTA_BYTE_ARRAY:
        raise UnfitPagesError(
            "texts in the encoding DELTA_BYTE_ARRAY, which can unpack to any size, are not read; "
            "write the file with dictionary encoding"
        )


def read_page(data: bytes) -> Page:
    """Parse the page header at the start of ``data``.

    Raises:
        UnfitPagesError: there is none, it is longer than ``data``, or a size is negative.
    """
    reader = _Compact(data)
    try:
        fields = reader.read_struct(0)
        kind = next(each for each in (DATA, DATA_V2, DICTIONARY) if each in fields.structs)
        own = fields.structs[kind].integers
        page = Page(
            values=own[1],
            encoding=own[ENCODING_FIELD[kind]],
            unpacked=fields.integers[2],
            packed=fields.integers[3],
            dictionary=kind == DICTIONARY,
            header=reader.at,
        )
    except (IndexError, KeyError, StopIteration) as error:
        raise UnfitPagesError("a page has no readable header") from error
    if min(page.values, page.unpacked, page.packed) < 0:
        raise UnfitPagesError("a page has a negative size")
    return page


@attrs.frozen(kw_only=True)
class _Fields:
    """A struct's fields of interest by number."""

    integers: dict[int, int]
    structs: dict[int, _Fields]


class _Compact:
    """Thrift's compact protocol, as far as page headers need it: 32-bit integers and structs."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def read_struct(self, depth: int) -> _Fields:
        """The struct's integers and structs; everything else is passed over."""
        if depth > STRUCTS_DEEP_MAX:
            raise UnfitPagesError("a page's header is nested too deep")
        found = _Fields(integers={}, structs={})
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 0x0F
            number = number + step if step else self._signed()
            if kind == INT:
                found.integers[number] = self._signed()
            elif kind == STRUCT:
                found.structs[number] = self.read_struct(depth + 1)
            else:
                self._skip(kind, depth)
        return found

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (1, 2):  # true, false: the type is the value
            return
        if kind == 3:
            self._byte()
        elif kind in (4, INT, 6):
            self._varint()
        elif kind == 7:
            self.at += 8
        elif kind == 8:
            count = self._varint()
            self.at += count
        else:  # lists, sets and maps: no writer puts one in a page header
            raise UnfitPagesError(f"a page's header has a field of type {kind}")
        if self.at > len(self.data):
            raise IndexError(self.at)

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
                return value
            shift += 7
            if shift > 63:
                raise UnfitPagesError("a page's header has a number beyond 64 bits")

    def _signed(self) -> int:
        value = self._varint()
        signed = (value >> 1) ^ -(value & 1)
        if not -(2**31) <= signed < 2**31:
            raise UnfitPagesError("a page's header has a number beyond 32 bits")
        return signed
