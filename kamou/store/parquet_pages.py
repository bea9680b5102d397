"""What a Parquet file's footer and page headers say, read before anything is unpacked.

Arrow allocates what a page header asks for, and a file's footer may say something else. So the
headers of every wanted column are walked first (structs and field numbers: ``parquet.thrift`` of
the Parquet format): the pages must hold exactly the values that the footer promises, and no page
may unpack to more than its values can need.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs

from kamou.store.thrift_compact import CompactReader, Fields, MalformedError

PAGE_BYTES_MAX = 64 << 20  # unpacked; Arrow writes 1 MB pages, some writers one page per group
PAGE_SLACK_BYTES = 4_096  # levels and encodings of a small page
TEXT_BYTES_MAX = 128  # of one symbol, venue or number as text, length and levels included
NUMBER_BYTES_MAX = 40  # of one number: a wide decimal has 32
HEADER_BYTES_MAX = 64 << 10  # statistics of a text column are truncated by every writer
INT32_MAX = 2**31 - 1
DELTA_BYTE_ARRAY = 7  # repeats prefixes: a small page can unpack to any size
DATA, DICTIONARY, DATA_V2 = 5, 7, 8  # fields of PageHeader that hold the page's own header
ENCODING_FIELD = {DATA: 2, DICTIONARY: 2, DATA_V2: 4}

ReadAt = Callable[[int, int], bytes]
"""``(offset, count)`` to the bytes that stand there; fewer at the end of the file."""


@attrs.frozen(kw_only=True)
class Chunk:
    """One column of one row group, by the footer."""

    values: int
    start: int  # of its first page, from the file's beginning
    packed: int  # bytes of all its pages with their headers


@attrs.frozen(kw_only=True)
class Group:
    """One row group, by the footer."""

    rows: int
    chunks: tuple[Chunk | None, ...]  # by column; None: it is encrypted or in another file


@attrs.frozen(kw_only=True)
class PageHeader:
    """One page, by its header. Sizes in bytes, without the header."""

    values: int
    encoding: int
    unpacked: int
    packed: int
    dictionary: bool
    header: int  # bytes of the header itself


def positional_reader(descriptor: int) -> ReadAt:
    """Return a reader of an open file by position."""
    return lambda offset, count: os.pread(descriptor, count, offset)


def read_groups(footer: bytes) -> list[Group]:
    """Return the row groups that a footer describes.

    Raises:
        MalformedError: it is no footer.
    """
    try:
        fields = CompactReader(footer).read()
        return [
            Group(
                rows=group.integer(3),
                chunks=tuple(_chunk(column) for column in group.structs(1)),
            )
            for group in fields.structs(4)
        ]
    except MalformedError as error:
        raise MalformedError(f"its footer is malformed: {error}") from error


def _chunk(column: Fields) -> Chunk | None:
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


def check_chunk(read: ReadAt, chunk: Chunk, *, text: bool, rows: int) -> int:
    """Walk the pages of one column chunk and return the bytes that they unpack to.

    Args:
        read: of the file.
        chunk: where the column's pages are.
        text: whether the column holds texts; see ``DELTA_BYTE_ARRAY``.
        rows: of the row group.

    Raises:
        MalformedError: a page is malformed, too large for its values, or the count differs.
    """
    if chunk.values != rows:
        raise MalformedError("a column has another number of values than the rows of its group")
    at, end = chunk.start, chunk.start + chunk.packed
    seen = unpacked = 0
    while seen < rows:
        if not 0 < at < end:
            raise MalformedError("a column ends before its last value")
        page = read_page(read(at, HEADER_BYTES_MAX))
        _check_page(page, text=text)
        seen += 0 if page.dictionary else page.values
        unpacked += page.unpacked
        at += page.header + page.packed
    if seen != rows or at > end:
        raise MalformedError("a column's pages hold more than its footer says")
    return unpacked


def _check_page(page: PageHeader, *, text: bool) -> None:
    each = TEXT_BYTES_MAX if text else NUMBER_BYTES_MAX
    if page.unpacked > min(PAGE_BYTES_MAX, PAGE_SLACK_BYTES + each * page.values):
        raise MalformedError(
            f"a page of {page.values:,} values unpacks to {page.unpacked:,} bytes; at most "
            f"{each} bytes a value and {PAGE_BYTES_MAX:,} a page are read"
        )
    if text and page.encoding == DELTA_BYTE_ARRAY:
        raise MalformedError(
            "texts in the encoding DELTA_BYTE_ARRAY, which can unpack to any size, are not read; "
            "write the file with dictionary encoding"
        )


def read_page(data: bytes) -> PageHeader:
    """Parse the page header at the start of ``data``.

    Raises:
        MalformedError: there is none, it is longer than ``data``, or a size is negative.
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
        raise MalformedError(f"a page's header is malformed: {error}") from error
    if max(page.values, page.unpacked, page.packed) > INT32_MAX:
        raise MalformedError("a page's header has a size beyond 32 bits")
    return page
