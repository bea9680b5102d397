"""Schema and batches of untrusted Parquet files, and errors of unreadable files.

Checks run in this order: the length of the footer, the footer, the types of the wanted columns,
the headers of their pages (``parquet_pages.py``). Only then are rows read, in batches of
at most ``ROWS_PER_BATCH``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from kamou.errors import InvalidDataError
from kamou.escaping import escape_text
from kamou.store.cells import is_text
from kamou.store.foreign_files import SourceFile, open_file
from kamou.store.parquet_pages import check_chunk, positional_reader, read_groups
from kamou.store.read_budget import Budget
from kamou.store.thrift_compact import MalformedError

ROWS_PER_BATCH = 65_536  # of nine columns: 5 MB
CELLS_PER_BATCH = 1 << 20  # limits the rows of a file with a column for each symbol
FOOTER_BYTES_MAX = 8 << 20  # 1,000 columns of 40 row groups, or 9 columns of 4,000
BUFFER_BYTES = 1 << 20  # read ahead for each column
BUFFERS_BYTES = 32 << 20  # read ahead for all columns together
THRIFT_STRING_MAX = 4 << 20
THRIFT_ITEMS_MAX = 1_000_000
FAULT_CHARS_MAX = 200
PARQUET_MAGIC = b"PAR1"
TAIL_BYTES = 8  # the length of the footer, and the magic
UNREADABLE_ERRORS = (pa.ArrowException, OSError, ValueError, EOFError, KeyError, MemoryError)


def unreadable_file_error(file: str, error: BaseException) -> InvalidDataError:
    """Return the error for a file that cannot be parsed: one line, escaped."""
    if isinstance(error, MemoryError):
        return InvalidDataError(
            f"{file}: not enough memory to read it; import fewer files, or free some memory"
        )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InvalidDataError(
        f"{file}: cannot be read: {escape_text(reason, chars_max=FAULT_CHARS_MAX)}; "
        "the file may be corrupt or truncated; download it or write it again"
    )


def read_schema(source: SourceFile, budget: Budget) -> pa.Schema:
    """Return the schema of a Parquet file.

    Raises:
        InvalidDataError: the file cannot be read, is corrupt, has too many columns, or has two
            columns of one name.
    """
    with open_file(source) as file:
        return _read_metadata(source.shown, file, budget)[1]


def parquet_batches(
    source: SourceFile, wanted: Sequence[str], budget: Budget
) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a Parquet file in batches.

    A batch has at most ``ROWS_PER_BATCH`` rows. Text columns are dictionary-encoded, so that memory
    holds a long text once.

    Raises:
        InvalidDataError: as ``read_schema``; a column is nested, encrypted or in another file; the
            rows differ from the footer; or the budget is exceeded.
        KeyError: the file lacks a wanted column.
    """
    name = source.shown
    with open_file(source) as file:
        metadata, schema = _read_metadata(name, file, budget)
        texts = [each for each in wanted if is_text(schema.field(each).type)]
        promised = _check_pages(name, file, metadata, wanted, texts, budget)
        rows = 0
        try:
            for batch in _batches(file, metadata, wanted, texts):
                batch.validate(full=True)
                rows += batch.num_rows
                if rows > promised:
                    break
                yield batch
        except UNREADABLE_ERRORS as error:
            raise unreadable_file_error(name, error) from error
        if rows != promised:
            raise unreadable_file_error(
                name, ValueError(f"{rows:,} rows were read, the footer says {promised:,}")
            )


def _batches(
    file: BinaryIO, metadata: pq.FileMetaData, wanted: Sequence[str], texts: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    parquet = pq.ParquetFile(
        file,
        metadata=metadata,
        read_dictionary=texts,
        buffer_size=min(BUFFER_BYTES, BUFFERS_BYTES // len(wanted)),
        page_checksum_verification=True,
        thrift_string_size_limit=THRIFT_STRING_MAX,
        thrift_container_size_limit=THRIFT_ITEMS_MAX,
    )
    yield from parquet.iter_batches(
        batch_size=min(ROWS_PER_BATCH, 1 + CELLS_PER_BATCH // len(wanted)),
        columns=list(wanted),
        use_threads=False,
    )


def _read_footer(name: str, file: BinaryIO) -> bytes:
    """Return the bytes of the footer.

    Raises:
        InvalidDataError: the file has no footer, or it is too long.
    """
    size = os.fstat(file.fileno()).st_size
    tail = os.pread(file.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES))
    if size < len(PARQUET_MAGIC) + TAIL_BYTES or tail[4:] != PARQUET_MAGIC:
        raise unreadable_file_error(name, ValueError("it does not end with the magic of Parquet"))
    length = struct.unpack("<I", tail[:4])[0]
    if length > FOOTER_BYTES_MAX:
        raise InvalidDataError(
            f"{name}: the footer has {length:,} bytes, the limit is {FOOTER_BYTES_MAX:,}; "
            "write the file with fewer columns and row groups"
        )
    return os.pread(file.fileno(), length, max(0, size - TAIL_BYTES - length))


def _read_metadata(name: str, file: BinaryIO, budget: Budget) -> tuple[pq.FileMetaData, pa.Schema]:
    _read_footer(name, file)
    try:
        parquet = pq.ParquetFile(
            file,
            thrift_string_size_limit=THRIFT_STRING_MAX,
            thrift_container_size_limit=THRIFT_ITEMS_MAX,
        )
        metadata = parquet.metadata
        budget.check_columns(name, metadata.num_columns)
        schema = parquet.schema_arrow
        duplicates = len(set(schema.names)) != len(schema.names)
    except UNREADABLE_ERRORS as error:
        raise unreadable_file_error(name, error) from error
    if duplicates:
        raise InvalidDataError(f"{name}: two columns have the same name; remove one")
    return metadata, schema


def _check_pages(
    name: str,
    file: BinaryIO,
    metadata: pq.FileMetaData,
    wanted: Sequence[str],
    texts: Sequence[str],
    budget: Budget,
) -> int:
    """Check the pages of the wanted columns against the footer.

    Returns the number of rows in the footer. Rows and decompressed bytes are counted in the budget.
    Row groups and columns are read from the bytes of the footer, because Arrow's accessors of a
    damaged footer can end the process.

    Raises:
        InvalidDataError: the footer or a page is malformed; a column is nested, encrypted or in
            another file; the pages differ from the footer; or the budget is exceeded.
    """
    if metadata.num_rows < 0:
        raise unreadable_file_error(name, ValueError("the footer has a negative number of rows"))
    budget.take_rows(name, metadata.num_rows)
    read = positional_reader(file.fileno())
    columns = [metadata.schema.column(at) for at in range(metadata.num_columns)]
    places = {column.path: at for at, column in enumerate(columns)}
    rows = 0
    try:
        for group in read_groups(_read_footer(name, file)):
            rows += group.rows
            if len(group.chunks) != len(columns):
                raise MalformedError(
                    f"a row group has {len(group.chunks)} columns, the file has {len(columns)}"
                )
            for column in wanted:
                at = places.get(column)
                if at is None or columns[at].max_repetition_level:
                    raise MalformedError(f"column {column} is nested")
                if (chunk := group.chunks[at]) is None:
                    raise MalformedError(f"column {column} is encrypted or in another file")
                text = column in texts
                unpacked = check_chunk(read, chunk, column=column, text=text, rows=group.rows)
                budget.take_unpacked(name, unpacked)
        if rows != metadata.num_rows:
            raise MalformedError(
                f"the row groups have {rows:,} rows, the footer says {metadata.num_rows:,}"
            )
    except (MalformedError, *UNREADABLE_ERRORS) as error:
        raise unreadable_file_error(name, error) from error
    return rows
