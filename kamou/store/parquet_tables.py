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

from kamou.errors import DataRefusedError
from kamou.escaping import escape_text
from kamou.store.budget import Budget
from kamou.store.cells import is_text
from kamou.store.foreign_files import opened_regular, shown_name
from kamou.store.parquet_pages import UnfitPagesError, check_column, read_at

ROWS_PER_BATCH = 65_536  # nine columns of it are 5 MB
CELLS_PER_BATCH = 1 << 20  # of a file with a column for each symbol
FOOTER_BYTES_MAX = 16 << 20  # a thousand columns of a hundred row groups
BUFFER_BYTES = 1 << 20  # read ahead, of each column ...
BUFFERS_BYTES = 32 << 20  # ... and of all of them together
THRIFT_STRING_MAX = 4 << 20
THRIFT_ITEMS_MAX = 1_000_000
REASON_CHARS_MAX = 200
MAGIC = b"PAR1"
UNREADABLE = (pa.ArrowException, OSError, ValueError, EOFError, KeyError, MemoryError)


def corrupt(file: str, error: BaseException) -> DataRefusedError:
    """Return the refusal of a file that cannot be parsed: one line, escaped."""
    if isinstance(error, MemoryError):
        return DataRefusedError(
            f"{file}: there is not enough memory to read it; import fewer files, or lower data.*"
        )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataRefusedError(
        f"{file}: cannot be read: {escape_text(reason, chars_max=REASON_CHARS_MAX)}; "
        "the file is corrupt or cut short, fetch it again"
    )


def read_schema(path: Path, budget: Budget) -> pa.Schema:
    """Return a Parquet file's schema.

    Raises:
        DataRefusedError: it is corrupt, or has too many columns or rows.
    """
    with opened_regular(path) as file:
        return _metadata(path, file, budget)[1]


def parquet_batches(path: Path, wanted: Sequence[str], budget: Budget) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a Parquet file, at most ``ROWS_PER_BATCH`` rows at a time.

    Text columns come dictionary-encoded, so that one long text is in memory once.

    Raises:
        DataRefusedError: the file is corrupt, its footer lies, or it is beyond the budget.
    """
    name = shown_name(path)
    with opened_regular(path) as file:
        metadata, schema = _metadata(path, file, budget)
        texts = [each for each in wanted if is_text(schema.field(each).type)]
        _check_pages(name, file, metadata, wanted, texts, budget)
        budget.take_rows(name, metadata.num_rows)
        rows = 0
        try:
            parquet = pq.ParquetFile(
                file,
                metadata=metadata,
                read_dictionary=texts,
                buffer_size=min(BUFFER_BYTES, BUFFERS_BYTES // len(wanted)),
                page_checksum_verification=True,
                thrift_string_size_limit=THRIFT_STRING_MAX,
                thrift_container_size_limit=THRIFT_ITEMS_MAX,
            )
            for batch in parquet.iter_batches(
                batch_size=min(ROWS_PER_BATCH, 1 + CELLS_PER_BATCH // len(wanted)),
                columns=list(wanted),
                use_threads=False,
            ):
                batch.validate(full=True)
                rows += batch.num_rows
                if rows > metadata.num_rows:
                    break
                yield batch
        except UNREADABLE as error:
            raise corrupt(name, error) from error
        if rows != metadata.num_rows:
            raise corrupt(name, ValueError("it has another number of rows than its footer says"))


def _metadata(path: Path, file: BinaryIO, budget: Budget) -> tuple[pq.FileMetaData, pa.Schema]:
    name = shown_name(path)
    size = os.fstat(file.fileno()).st_size
    tail = os.pread(file.fileno(), 8, max(0, size - 8))
    if tail[4:] != MAGIC:
        raise corrupt(name, ValueError("it does not end as a Parquet file"))
    footer = struct.unpack("<I", tail[:4])[0]
    if footer > FOOTER_BYTES_MAX:
        raise DataRefusedError(
            f"{name}: its footer has {footer:,} bytes, at most {FOOTER_BYTES_MAX:,} are read; "
            "write the file with fewer columns and row groups"
        )
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
    except UNREADABLE as error:
        raise corrupt(name, error) from error
    if duplicates:
        raise DataRefusedError(f"{name}: two columns have one name; remove one")
    return metadata, schema


def _check_pages(
    name: str,
    file: BinaryIO,
    metadata: pq.FileMetaData,
    wanted: Sequence[str],
    texts: Sequence[str],
    budget: Budget,
) -> None:
    """Refuse a file whose pages are not what its footer promises, or unpack to too much."""
    if metadata.num_rows > budget.limits.rows_max or metadata.num_rows < 0:
        budget.take_rows(name, abs(metadata.num_rows))
    read = read_at(file.fileno())
    places = {metadata.schema.column(at).path: at for at in range(metadata.num_columns)}
    total = 0
    try:
        for group in range(metadata.num_row_groups):
            part = metadata.row_group(group)
            total += part.num_rows
            for column in wanted:
                if (
                    column not in places
                    or metadata.schema.column(places[column]).max_repetition_level
                ):
                    raise UnfitPagesError(f"column {column} is nested")
                chunk = part.column(places[column])
                if chunk.file_path:
                    raise UnfitPagesError(f"column {column} is in another file")
                budget.take_unpacked(
                    name,
                    check_column(read, chunk, text=column in texts, rows=part.num_rows),
                )
        if total != metadata.num_rows:
            raise UnfitPagesError("its row groups have other rows than its footer says")
    except (UnfitPagesError, *UNREADABLE) as error:
        raise corrupt(name, error) from error
