"""Parsing of a Parquet file's footer, and checks of its page headers.

Footer and page headers are read before any page is decompressed. Arrow allocates the size in a page
header, which may differ from the footer. So the page headers of all wanted columns are read first
(``parquet.thrift`` of the Parquet format has the structs and field numbers). The pages must have
exactly the number of values in the footer, and no page may decompress to more bytes than its values
can need.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs

from kamou.store.thrift_compact import CompactReader, Fields, MalformedError

PAGE_BYTES_MAX = 64 << 20  # decompressed; Arrow writes pages of 1 MB, others one per row group
PAGE_SLACK_BYTES = 4_096  # allowance for the levels and encodings of a small page
TEXT_BYTES_MAX = 128  # of one symbol, venue or number as text, with its length and levels
NUMBER_BYTES_MAX = 40  # of one number; a wide decimal has 32
HEADER_BYTES_MAX = 64 << 10  # enough: writers truncate the statistics of a text column
INT32_MAX = 2**31 - 1
DELTA_BYTE_ARRAY = 7  # repeats prefixes, so a small page can decompress to any size
DATA, DICTIONARY, DATA_V2 = 5, 7, 8  # fields of PageHeader with the header of that kind
ENCODING_FIELD = {DATA: 2, DICTIONARY: 2, DATA_V2: 4}

ReadAt = Callable[[int, int], bytes]
"""A function that returns the bytes at ``(offset, count)``; fewer at the end of the file."""


@attrs.frozen(kw_only=True)
class Chunk:
    """One column of one row group, from the footer."""

    values: int
    start: int  # offset of its first page in the file
    packed: int  # compressed bytes of all its pages with their headers


@attrs.frozen(kw_only=True)
class Group:
    """One row group, from the footer."""

    rows: int
    chunks: tuple[Chunk | None, ...]  # by column; None: encrypted or in another file


@attrs.frozen(kw_only=True)
class PageHeader:
    """The header of one page.

    Sizes are in bytes, without the header.
    """

    values: int
    encoding: int
    unpacked: int
    packed: int
    dictionary: bool
    header: int  # bytes of the header itself


def positional_reader(descriptor: int) -> ReadAt:
    """Return a function that reads an open file at an offset."""
    return lambda offset, count: os.pread(descriptor, count, offset)


def read_groups(footer: bytes) -> list[Group]:
    """Return the row groups that a footer describes.

    Raises:
        MalformedError: the bytes are not a footer.
    """
    try:
        fields = CompactReader(footer).read()
        return [
            Group(
                rows=group.integer(3),
                chunks=tuple(_make_chunk(column) for column in group.structs(1)),
            )
            for group in fields.structs(4)
        ]
    except MalformedError as error:
        raise MalformedError(f"the footer is malformed: {error}") from error


def _make_chunk(column: Fields) -> Chunk | None:
    if column.has(1) or column.has(8) or column.has(9):  # file_path, encryption
        return None
    described = column.struct(3)
    start = described.integer(9)
    dictionary = described.integer(11, 0)
    return Chunk(
        values=described.integer(5),
        start=dictionary if 0 < dictionary < start else start,
        packed=described.integer(7),
    )


def check_chunk(read: ReadAt, chunk: Chunk, *, column: str, text: bool, rows: int) -> int:
    """Check a column chunk's page headers; return the chunk's decompressed bytes.

    Args:
        read: reads the file at an offset.
        chunk: the column's pages, from the footer.
        column: the column's name, for the error.
        text: True for a column of texts.
        rows: number of rows of the row group.

    Raises:
        MalformedError: a page is malformed or too large for its values; a page of texts has an
            encoding that can decompress to any size; or the pages, the column and the row group
            differ in the number of values or bytes.
    """
    if chunk.values != rows:
        raise MalformedError(
            f"column {column} has {chunk.values:,} values in a group of {rows:,} rows"
        )
    at, end = chunk.start, chunk.start + chunk.packed
    seen = unpacked = 0
    while seen < rows:
        if not 0 < at < end:
            raise MalformedError(
                f"the pages of column {column} end after {seen:,} of {rows:,} values"
            )
        page = read_page(read(at, HEADER_BYTES_MAX), column)
        _check_page(page, column, text=text)
        seen += 0 if page.dictionary else page.values
        unpacked += page.unpacked
        at += page.header + page.packed
    if seen != rows or at > end:
        raise MalformedError(
            f"the pages of column {column} have {seen:,} values and end at byte {at:,}; the footer "
            f"says {rows:,} values and byte {end:,}"
        )
    return unpacked


def _check_page(page: PageHeader, column: str, *, text: bool) -> None:
    each = TEXT_BYTES_MAX if text else NUMBER_BYTES_MAX
    if page.unpacked > min(PAGE_BYTES_MAX, PAGE_SLACK_BYTES + each * page.values):
        raise MalformedError(
            f"a page of {page.values:,} values of column {column} decompresses to "
            f"{page.unpacked:,} bytes; the limit is {PAGE_SLACK_BYTES:,} and {each} for each "
            f"value, at most {PAGE_BYTES_MAX:,}"
        )
    if text and page.encoding == DELTA_BYTE_ARRAY:
        raise MalformedError(
            f"the texts of column {column} have the encoding DELTA_BYTE_ARRAY, which can "
            "decompress to any size; write the file with dictionary encoding"
        )


def read_page(data: bytes, column: str) -> PageHeader:
    """Parse the page header at the start of ``data``.

    ``column`` is the column's name for the error.

    Raises:
        MalformedError: the header is malformed, longer than ``data``, or has an invalid size.
    """
    reader = CompactReader(data)
    try:
        fields = reader.read()
        kind = next((each for each in (DATA, DATA_V2, DICTIONARY) if fields.has(each)), DATA)
        own = fields.struct(kind)
        page = PageHeader(
            values=own.integer(1),
            encoding=own.integer(ENCODING_FIELD[kind]),
            unpacked=fields.integer(2),
            packed=fields.integer(3),
            dictionary=kind == DICTIONARY,
            header=reader.at,
        )
    except MalformedError as error:
        raise MalformedError(f"a page header of column {column} is malformed: {error}") from error
    if max(page.values, page.unpacked, page.packed) > INT32_MAX:
        raise MalformedError(f"a page header of column {column} has a number above {INT32_MAX:,}")
    return page
