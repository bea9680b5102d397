"""Batches of columns of untrusted text: CSV or JSON arrays, packed or not.

The first bytes of a file show how it is written (``text_dialects.py``). All bytes are decompressed
and repaired (``repaired_text.py``) twice: first to count bytes and lines without storing them, then
to parse them in blocks. So a decompression bomb exceeds a limit of the settings before it takes
much memory.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

import attrs
import pyarrow as pa
import pyarrow.csv

from kamou.errors import InvalidDataError
from kamou.store.foreign_files import SourceFile, open_file
from kamou.store.parquet_tables import UNREADABLE_ERRORS, unreadable_file_error
from kamou.store.read_budget import Budget
from kamou.store.repaired_text import RepairedText
from kamou.store.text_dialects import (
    Dialect,
    DoubtfulTextError,
    OtherJsonError,
    is_json,
    sniff_dialect,
)
from kamou.store.zipped_files import OtherArchiveError, open_zipped

ROW_BYTES_MAX = 65_536  # a thousand columns of sixty characters
HEAD_BYTES = 4 * ROW_BYTES_MAX
BLOCK_BYTES = 1 << 20  # parsed at once; must have room for the longest line
UNREADABLE_TEXT = (*UNREADABLE_ERRORS, zlib.error, zipfile.BadZipFile, NotImplementedError)
TEXT_SUFFIXES = (".csv", ".txt", ".json")


@attrs.define(kw_only=True)
class TextFile:
    """A file of text, how it is written, and the names of its columns."""

    source: SourceFile
    dialect: Dialect
    columns: Sequence[str]  # of each row, also of a file without a header
    headers_dropped: int = 0  # those between rows; known when the rows are read


def read_dialect(source: SourceFile, budget: Budget) -> Dialect:
    """Return how a file is written, by its first ``HEAD_BYTES`` decompressed bytes.

    Raises:
        InvalidDataError: the file is empty, cannot be decompressed or is not UTF-8; the first line
            is too long, stands above the header or has too many columns; or commas may be decimal
            commas or separate thousands. The error is an ``OtherArchiveError`` for an archive that
            does not have one file of CSV or JSON.
        OtherJsonError: the file is JSON, but not arrays of numbers.
    """
    name = source.shown
    with open_file(source) as file:
        try:
            with _open_unpacked(source, file) as stream:
                head = stream.read(HEAD_BYTES)
            if not head.strip():
                raise InvalidDataError(f"{name}: no rows; remove the file or download it again")
            first = head[: ROW_BYTES_MAX + 1]
            # JSON arrays are rows without line ends.
            ends = b"]" if is_json(head) else b"\n\r"
            if len(head) > ROW_BYTES_MAX and not set(ends) & set(first):
                raise _long_line_error(name)
            dialect = sniff_dialect(head)
        except OtherJsonError:
            raise
        except DoubtfulTextError as error:
            raise InvalidDataError(f"{name}: {error}") from error
        except UNREADABLE_TEXT as error:
            raise unreadable_file_error(name, error) from error
    budget.check_columns(name, dialect.cells)
    return dialect


def text_batches(text: TextFile, wanted: Sequence[str], budget: Budget) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a file of text as texts, one block at a time.

    Empty cells and ``null`` are null. ``text.headers_dropped`` is set before the first batch.

    Raises:
        InvalidDataError: the file is no readable regular file or is corrupt, a line is too long,
            a row has another number of cells than the header, or the file exceeds the budget or
            grew while it was read.
    """
    source, dialect, name = text.source, text.dialect, text.source.shown
    header_lines = 0 if dialect.names is None else 1
    with open_file(source) as file:
        try:
            with _open_repaired(source, file, dialect) as (stream, repaired):
                lines = _count_lines(name, stream, budget, header_lines)
            text.headers_dropped = repaired.headers_dropped
            if repaired.is_cut:
                raise InvalidDataError(
                    f"{name}: the file is cut: its arrays do not end with ]]; download it again"
                )
            budget.take_rows(name, max(0, lines - header_lines))
            with _open_repaired(source, file, dialect) as (stream, _):
                rows = 0
                for batch in _parse(stream, text, wanted):
                    rows += batch.num_rows
                    if rows > lines:
                        raise InvalidDataError(
                            f"{name}: the file changed while it was read; try again"
                        )
                    yield batch
        except UNREADABLE_TEXT as error:
            raise unreadable_file_error(name, error) from error


def _parse(stream: BinaryIO, text: TextFile, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    names = list(text.columns)
    if text.dialect.trailing:
        names.append("")
    yield from pa.csv.open_csv(
        stream,
        read_options=pa.csv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            column_names=names,
            skip_rows=0 if text.dialect.names is None else 1,
        ),
        parse_options=pa.csv.ParseOptions(delimiter=text.dialect.delimiter),
        convert_options=pa.csv.ConvertOptions(
            include_columns=list(wanted),
            column_types={each: pa.string() for each in wanted},
            null_values=["", "null"],
            strings_can_be_null=True,
        ),
    )


@contextlib.contextmanager
def _open_repaired(
    source: SourceFile, file: BinaryIO, dialect: Dialect
) -> Iterator[tuple[BinaryIO, RepairedText]]:
    with _open_unpacked(source, file) as raw:
        repaired = RepairedText(raw, dialect)
        with io.BufferedReader(repaired, BLOCK_BYTES) as stream:
            yield stream, repaired


@contextlib.contextmanager
def _open_unpacked(source: SourceFile, file: BinaryIO) -> Iterator[BinaryIO]:
    """Yield a buffered stream of the file's decompressed bytes, from the start.

    ``file`` stays open.

    Raises:
        InvalidDataError: as ``open_zipped``, or the file in the archive is not CSV or JSON.
    """
    with open(os.dup(file.fileno()), "rb", buffering=0) as raw:
        raw.seek(0)
        packed = source.path.name.lower()
        text: object = raw
        if packed.endswith(".gz"):
            text = gzip.GzipFile(fileobj=raw)
        elif packed.endswith(".zip"):
            inner, text = open_zipped(source.shown, raw)
            if not inner.lower().endswith(TEXT_SUFFIXES):
                raise OtherArchiveError(
                    source.shown,
                    "the file in the archive is not CSV or JSON; unpack it and name the directory",
                )
        with io.BufferedReader(cast("io.RawIOBase", text), BLOCK_BYTES) as stream:
            yield stream


def _count_lines(name: str, stream: BinaryIO, budget: Budget, header_lines: int) -> int:
    """Return the number of lines, and count the bytes in the budget.

    A single carriage return ends a line too.

    Raises:
        InvalidDataError: too many bytes or lines, or ``ROW_BYTES_MAX`` without a line end.
    """
    ends, last = 0, b""
    while part := stream.read(ROW_BYTES_MAX):
        budget.take_unpacked(name, len(part))
        here = max(part.count(b"\n"), part.count(b"\r"))
        if not here and len(part) == ROW_BYTES_MAX:
            raise _long_line_error(name)
        ends, last = ends + here, part[-1:]
        if ends - header_lines > budget.limits.rows_max - budget.rows:
            budget.take_rows(name, ends - header_lines)
    return ends + (last not in (b"", b"\n", b"\r"))


def _long_line_error(name: str) -> InvalidDataError:
    return InvalidDataError(
        f"{name}: a line has more than {ROW_BYTES_MAX:,} bytes; remove the file, it is no table "
        "of bars, funding or open interest"
    )
