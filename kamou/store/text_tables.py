"""Header and batches of columns of untrusted CSV files, gzipped or not.

The rows of a file are decompressed twice: first to count bytes and lines without storing them, then
to parse them in blocks. So a gzip bomb fails at the limit of the settings and takes little memory.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.csv

from kamou.errors import InvalidDataError
from kamou.store.foreign_files import open_regular, show_name
from kamou.store.parquet_tables import UNREADABLE_ERRORS, unreadable_file_error
from kamou.store.read_budget import Budget

ROW_BYTES_MAX = 65_536  # a thousand columns of sixty characters
BLOCK_BYTES = 1 << 20  # parsed at once; must have room for the longest line
UNREADABLE_TEXT = (*UNREADABLE_ERRORS, zlib.error)


def read_header(path: Path, budget: Budget) -> list[str]:
    """Return the column names in a CSV file's first line.

    Raises:
        InvalidDataError: the file cannot be decompressed or is not UTF-8, the line is too long,
            or it has too many columns.
    """
    name = show_name(path)
    with open_regular(path) as file:
        try:
            with _open_text(path, file) as stream:
                line = stream.readline(ROW_BYTES_MAX + 1)
            text = line.decode("utf-8-sig")  # Excel and pandas write a byte order mark
        except UNREADABLE_TEXT as error:
            raise unreadable_file_error(name, error) from error
    if len(line) > ROW_BYTES_MAX and b"\r" not in line:
        raise _long_line_error(name)
    columns = text.strip().replace('"', "").split(",")
    budget.check_columns(name, len(columns))
    return columns


def csv_batches(path: Path, wanted: Sequence[str], budget: Budget) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a CSV file as texts, a block at a time.

    Empty cells are null.

    Raises:
        InvalidDataError: the file is no readable regular file or is corrupt, a line is too long,
            a row has another number of cells than the header, or the file exceeds the budget or
            grew while it was read.
    """
    name = show_name(path)
    with open_regular(path) as file:
        try:
            with _open_text(path, file) as stream:
                lines = _count_lines(name, stream, budget)
            budget.take_rows(name, max(0, lines - 1))
            with _open_text(path, file) as stream:
                rows = 0
                for batch in _parse(stream, wanted):
                    rows += batch.num_rows
                    if rows > lines:
                        raise InvalidDataError(
                            f"{name}: the file changed while it was read; try again"
                        )
                    yield batch
        except UNREADABLE_TEXT as error:
            raise unreadable_file_error(name, error) from error


def _parse(stream: BinaryIO, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    yield from pa.csv.open_csv(
        stream,
        read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        convert_options=pa.csv.ConvertOptions(
            include_columns=list(wanted),
            column_types={each: pa.string() for each in wanted},
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


@contextlib.contextmanager
def _open_text(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    """Yield a buffered stream of the file's decompressed bytes, from the start.

    ``file`` stays open.
    """
    with open(os.dup(file.fileno()), "rb", buffering=0) as raw:
        raw.seek(0)
        text = gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw
        with io.BufferedReader(cast("io.RawIOBase", text), BLOCK_BYTES) as stream:
            yield stream


def _count_lines(name: str, stream: BinaryIO, budget: Budget) -> int:
    """Return the number of lines; a single carriage return ends a line too.

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
        if ends - 1 > budget.limits.rows_max - budget.rows:  # the header is not a row
            budget.take_rows(name, ends - 1)
    return ends + (last not in (b"", b"\n", b"\r"))


def _long_line_error(name: str) -> InvalidDataError:
    return InvalidDataError(
        f"{name}: a line has more than {ROW_BYTES_MAX:,} bytes; remove the file, it is no table "
        "of bars, funding or open interest"
    )
