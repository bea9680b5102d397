"""Schema and batches of untrusted Feather files (Arrow IPC).

The sizes of all batches are checked first (``arrow_messages.py``). Only then does Arrow unpack one
batch after the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.ipc

from kamou.store.arrow_messages import read_batch_sizes
from kamou.store.foreign_files import SourceFile, open_file
from kamou.store.parquet_pages import positional_reader
from kamou.store.parquet_tables import UNREADABLE_ERRORS, unreadable_file_error
from kamou.store.read_budget import Budget
from kamou.store.thrift_compact import MalformedError

UNREADABLE_FEATHER = (MalformedError, *UNREADABLE_ERRORS)


def read_feather_schema(source: SourceFile, budget: Budget) -> pa.Schema:
    """Return the schema of a Feather file.

    Raises:
        InvalidDataError: the file cannot be read, is corrupt, has too many columns, or has two
            columns of one name.
    """
    name = source.shown
    with open_file(source) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            for _ in read_batch_sizes(positional_reader(file.fileno()), size):
                break  # the footer and the first batch are whole
            schema = pa.ipc.open_file(file).schema
            budget.check_columns(name, len(schema.names))
            if len(set(schema.names)) != len(schema.names):
                raise ValueError("two columns have the same name, and one must be removed")
        except UNREADABLE_FEATHER as error:
            raise unreadable_file_error(name, error) from error
    return schema


def feather_batches(
    source: SourceFile, wanted: Sequence[str], budget: Budget
) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a Feather file, one batch of the file at a time.

    Raises:
        InvalidDataError: as ``read_feather_schema``; or the file exceeds the budget.
    """
    name = source.shown
    with open_file(source) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            for each in read_batch_sizes(positional_reader(file.fileno()), size):
                budget.take_unpacked(name, each.unpacked)
                budget.take_rows(name, each.rows)
            reader = pa.ipc.open_file(file)
            for at in range(reader.num_record_batches):
                batch = reader.get_batch(at)
                batch.validate(full=True)
                yield batch.select(list(wanted))
        except UNREADABLE_FEATHER as error:
            raise unreadable_file_error(name, error) from error
