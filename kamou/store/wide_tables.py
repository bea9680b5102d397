"""Reading of a series that has a time column and a column for each symbol.

The series belongs to a dataset that this store did not write, so every cell is checked.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.errors import InvalidDataError
from kamou.store.cells import is_number, read_floats
from kamou.store.dataset_description import AVAILABLE, META
from kamou.store.file_rows import FileColumns
from kamou.store.foreign_files import source_of
from kamou.store.parquet_tables import parquet_batches, read_schema
from kamou.store.read_budget import Budget
from kamou.store.time_columns import TimeColumn


def read_wide(path: Path, symbols: tuple[str, ...], budget: Budget) -> FileColumns:
    """Return the observations of a series as rows, sorted by symbol and row.

    A NaN gives no row.

    Raises:
        InvalidDataError: the file cannot be read, is corrupt or exceeds the budget, its columns are
            not ``available_ms`` and these symbols, or a column or a cell is not a number.
    """
    source = source_of(path)
    file = source.shown
    wide = attrs.evolve(budget.limits, columns_max=budget.limits.symbols_max + 1)
    spare = Budget(limits=wide, rows=budget.rows, unpacked_bytes=budget.unpacked_bytes)
    schema = read_schema(source, spare)
    if list(schema.names) != [AVAILABLE, *symbols]:
        raise InvalidDataError(
            f"{file}: its columns are not {AVAILABLE} and the symbols of {META}; remove {META} to "
            "import the other files without this one"
        )
    for name in schema.names:
        if not is_number(schema.field(name).type, time=name == AVAILABLE):
            raise InvalidDataError(f"{file}: column {name} is not of numbers; convert the column")
    times: list[Ints] = []
    values: list[Floats] = []
    times_read = TimeColumn(file, AVAILABLE)
    first_row = 1
    for batch in parquet_batches(source, schema.names, spare):
        budget.check_cells(file, first_row + batch.num_rows, len(symbols))
        times.append(times_read.read(batch.column(0), first_row))
        columns = [
            read_floats(file, name, batch.column(at + 1), first_row)
            for at, name in enumerate(symbols)
        ]
        values.append(np.column_stack(columns))
        first_row += batch.num_rows
    return _make_rows(file, symbols, times, values)


def _make_rows(
    file: str, symbols: tuple[str, ...], times: list[Ints], values: list[Floats]
) -> FileColumns:
    at_ms = np.concatenate(times) if times else np.empty(0, dtype=np.int64)
    grid = np.concatenate(values) if values else np.empty((0, len(symbols)))
    code, row = np.nonzero(~np.isnan(grid).T)
    return FileColumns(
        file=file,
        symbols=symbols,
        code=code,
        row=row + 1,
        ts=at_ms[row],
        values={"value": grid[row, code]},
    )
