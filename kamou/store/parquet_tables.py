"""A Parquet file from a stranger: its schema, and its columns in batches of bounded size.

Order: the footer's length, the footer, the types of the wanted columns, the headers of their
pages (``parquet_pages.py``), and only then rows, some ten thousand at a time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from kamou.errors import InvalidDataError
from kamou.escaping import escape_text
from kamou.store.cells import is_text
from kamou.store.foreign_files import open_regular, show_name
from kamou.store.parquet_pages import check_chunk, positional_reader, read_groups
from kamou.store.read_budget import Budget
from kamou.store.thrift_compact import MalformedError

ROWS_PER_BATCH = 65_536  # nine columns of it are 5 MB
CELLS_PER_BATCH = 1 << 20  # of a file with a column for each symbol
FOOTER_BYTES_MAX = 8 << 20  # a thousand columns of forty row groups, nine of four thousand
BUFFER_BYTES = 1 << 20  # read ahead, of each column ...
BUFFERS_BYTES = 32 << 20  # ... and of all of them together
THRIFT_STRING_MAX = 4 << 20
THRIFT_ITEMS_MAX = 1_000_000
FAULT_CHARS_MAX = 200
PARQUET_MAGIC = b"PAR1"
TAIL_BYTES = 8  # the footer's length, and the magic
UNREADABLE_ERRORS = (pa.ArrowException, OSError, ValueError, EOFError, KeyError, MemoryError)


def unreadable_file_error(file: str, error: BaseException) -> InvalidDataError:
    """Return the refusal of a file that cannot be parsed: one line, escaped."""
    if isinstance(error, MemoryError):
        return InvalidDataError(
            f"{file}: there is not enough memory to read it; import fewer files, or lower data.*"
        )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InvalidDataError(
        f"{file}: cannot be read: {escape_text(reason, chars_max=FAULT_CHARS_MAX)}; "
        "the file is corrupt or cut short, fetch it again"
    )


def read_schema(path: Path, budget: Budget) -> pa.Schema:
    """Return a Parquet file's schema.

    Raises:
        InvalidDataError: it is corrupt, or has too many columns or rows.
    """
    with open_regular(path) as file:
        return _metadata(path, file, budget)[1]


def parquet_batches(path: Path, wanted: Sequence[str], budget: Budget) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a Parquet file, at most ``ROWS_PER_BATCH`` rows at a time.

    Text columns come dictionary-encoded, so that one long text is in memory once.

    Raises:
        InvalidDataError: the file is corrupt, its footer lies, or it is beyond the budget.
    """
    name = show_name(path)
    with open_regular(path) as file:
        metadata, schema = _metadata(path, file, budget)
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
                name, ValueError("it has another number of rows than its footer says")
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


def _footer(name: str, file: BinaryIO) -> bytes:
    """The footer's bytes. Raises ``InvalidDataError`` if there is none, or it is too long."""
    size = os.fstat(file.fileno()).st_size
    tail = os.pread(file.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES))
    if size < len(PARQUET_MAGIC) + TAIL_BYTES or tail[4:] != PARQUET_MAGIC:
        raise unreadable_file_error(name, ValueError("it does not end as a Parquet file"))
    length = struct.unpack("<I", tail[:4])[0]
    if length > FOOTER_BYTES_MAX:
        raise InvalidDataError(
            f"{name}: its footer has {length:,} bytes, at most {FOOTER_BYTES_MAX:,} are read; "
            "write the file with fewer columns and row groups"
        )
    return os.pread(file.fileno(), length, max(0, size - TAIL_BYTES - length))


def _metadata(path: Path, file: BinaryIO, budget: Budget) -> tuple[pq.FileMetaData, pa.Schema]:
    name = show_name(path)
    _footer(name, file)
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
        raise InvalidDataError(f"{name}: two columns have one name; remove one")
    return metadata, schema


def _check_pages(
    name: str,
    file: BinaryIO,
    metadata: pq.FileMetaData,
    wanted: Sequence[str],
    texts: Sequence[str],
    budget: Budget,
) -> int:
    """Refuse a file whose pages are not what its footer promises; return the rows promised.

    Row groups and columns are read from the footer's bytes: Arrow's accessors of them end the
    process where a footer is damaged.
    """
    if metadata.num_rows < 0:
        raise unreadable_file_error(name, ValueError("its footer has a negative number of rows"))
    budget.take_rows(name, metadata.num_rows)
    read = positional_reader(file.fileno())
    columns = [metadata.schema.column(at) for at in range(metadata.num_columns)]
    places = {column.path: at for at, column in enumerate(columns)}
    rows = 0
    try:
        for group in read_groups(_footer(name, file)):
            rows += group.rows
            if len(group.chunks) != len(columns):
                raise MalformedError("a row group has other columns than the file")
            for column in wanted:
                at = places.get(column)
                if at is None or columns[at].max_repetition_level:
                    raise MalformedError(f"column {column} is nested")
                if (chunk := group.chunks[at]) is None:
                    raise MalformedError(f"column {column} is encrypted or in another file")
                text = column in texts
                budget.take_unpacked(name, check_chunk(read, chunk, text=text, rows=group.rows))
        if rows != metadata.num_rows:
            raise MalformedError("its row groups have other rows than its footer says")
    except (MalformedError, *UNREADABLE_ERRORS) as error:
        raise unreadable_file_error(name, error) from error
    return rows
