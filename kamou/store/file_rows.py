"""The rows of one file: symbols, times and numbers as columns, read in batches.

Times become UTC milliseconds; for a bar that is the time of its open. The rows of a file that has
the newest first, as several exchanges write it, are returned in reverse order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kamou.core.arrays import Floats, Ints
from kamou.core.market.symbols import SYMBOL_EXPECTED, is_symbol
from kamou.errors import InvalidDataError
from kamou.escaping import show_text
from kamou.store.cells import NO_NAME, Names, read_floats, read_names
from kamou.store.column_meanings import RATIO_KINDS, Columns, Kind
from kamou.store.file_layouts import FoundFile, check_types, found_batches, list_venues
from kamou.store.read_budget import Budget
from kamou.store.time_columns import TimeColumn, TimeUnit

KINDS_OF_MARKETS = frozenset(
    ("spot", "margin", "perp", "perpetual", "swap", "future", "futures", "linear", "inverse")
)


@attrs.frozen(kw_only=True, eq=False)
class FileColumns:
    """The rows of a file: row i is of ``symbols[code[i]]`` at ``ts[i]``, in ms UTC.

    ``row[i]`` is its number in the file, from 1 without headers. ``values`` has a column of numbers
    for each meaning, NaN for an empty cell, and one for each kind of ratios beside it. All columns
    are ``[rows]``.
    """

    file: str
    symbols: tuple[str, ...]
    code: Ints
    row: Ints
    ts: Ints
    values: dict[str, Floats]
    unit: TimeUnit | None = None  # None: no rows, or no time in a known unit
    # Of ratios, by the name in ``values``: False where the cell is empty. A NaN is not empty.
    present: dict[str, npt.NDArray[np.bool_]] = attrs.field(factory=dict)

    def keep(self, mask: npt.NDArray[np.bool_] | Ints) -> FileColumns:
        """Return only the rows of a mask ``[rows]``, or those of indices in their order."""
        return attrs.evolve(
            self,
            code=self.code[mask],
            row=self.row[mask],
            ts=self.ts[mask],
            values={name: each[mask] for name, each in self.values.items()},
            present={name: each[mask] for name, each in self.present.items()},
        )


class _Rows:
    """The rows of one file, collected batch by batch."""

    def __init__(self, file: str, numbers: Sequence[str], budget: Budget) -> None:
        self.file = file
        self.budget = budget
        self.code_of: dict[str, int] = {}
        self.code: list[Ints] = []
        self.row: list[Ints] = []
        self.ts: list[Ints] = []
        self.values: dict[str, list[Floats]] = {name: [] for name in numbers}
        self.present: dict[str, list[npt.NDArray[np.bool_]]] = {}

    def make_codes(self, names: Names, found: FoundFile, row: Ints) -> Ints:
        """Return the code of each row's symbol; count new symbols in the budget.

        Raises:
            InvalidDataError: a row has no symbol, one that cannot be a symbol, or a kind of market
                such as spot in its place; or the files have more than ``data.symbols_max`` symbols.
        """
        column, suffix = found.columns.symbol, found.columns.suffix
        nameless = np.flatnonzero(names.index == NO_NAME)
        if len(nameless):
            raise InvalidDataError(
                f"{self.file}: row {int(row[nameless[0]])}: no {column}; correct or remove the row"
            )
        place = np.full(len(names.distinct), NO_NAME, dtype=np.int64)
        for at in np.unique(names.index).tolist():
            name = names.distinct[at]
            if not is_symbol(name + suffix):
                first = int(row[np.flatnonzero(names.index == at)[0]])
                raise InvalidDataError(
                    f"{self.file}: row {first}: {column} is {show_text(name)}, "
                    f"expected {SYMBOL_EXPECTED}; correct the row"
                )
            if name.lower() in KINDS_OF_MARKETS and str(column).lower() in ("market", "contract"):
                raise InvalidDataError(
                    f"{self.file}: {column} is {show_text(name)}, a kind of market and no symbol; "
                    "remove the column"
                )
            symbol = name + suffix
            self.budget.take_symbol(self.file, symbol)
            place[at] = self.code_of.setdefault(symbol, len(self.code_of))
        return place[names.index]

    def join_columns(self) -> FileColumns:
        """Join the batches into one array per column; free each batch on the way."""
        return FileColumns(
            file=self.file,
            symbols=tuple(self.code_of),
            code=_join(self.code),
            row=_join(self.row),
            ts=_join(self.ts),
            values={name: _join(parts) for name, parts in self.values.items()},
            present={name: _join(parts) for name, parts in self.present.items()},
        )


def _join(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    whole = np.concatenate(parts) if parts else np.empty(0)
    parts.clear()
    return whole


def read_columns(found: FoundFile, budget: Budget, venue: str | None = None) -> FileColumns:
    """Return all rows of one file.

    Args:
        found: the file with its layout.
        budget: counts what is read.
        venue: the venue whose rows are read, if the file has a column of venues.

    Raises:
        InvalidDataError: the file is corrupt or exceeds the budget, a column is missing or of a
            wrong type, a cell is not UTF-8 or not a number, a row has no time or no valid symbol,
            or no row is of ``venue``.
    """
    check_types(found, budget)
    file, columns = found.source.shown, found.columns
    if columns.wide:
        return _read_wide(found, budget)
    read = {**columns.numbers, **{str(kind): column for kind, column in columns.beside}}
    ratios = _names_of_ratios(columns)
    rows = _Rows(file, tuple(read), budget)
    times = TimeColumn(file, columns.time)
    comma = found.text is not None and found.text.dialect.decimal_comma
    first_row = 1
    for batch in found_batches(found, columns.wanted, budget):
        kept = np.ones(batch.num_rows, dtype=bool)
        if columns.venue is not None:
            venues = read_names(file, columns.venue, batch.column(columns.venue), first_row)
            at = venues.distinct.index(venue) if venue in venues.distinct else None
            kept = venues.index == at if at is not None else np.zeros(batch.num_rows, dtype=bool)
        row = np.flatnonzero(kept) + first_row
        rows.ts.append(times.read(batch.column(columns.time), first_row)[kept])
        rows.code.append(rows.make_codes(_names(found, batch, kept, first_row), found, row))
        rows.row.append(row)
        for name, column in read.items():
            cells = read_floats(file, column, batch.column(column), first_row, decimal_comma=comma)
            rows.values[name].append(cells[kept])
            if name in ratios:
                present = batch.column(column).is_valid().to_numpy(zero_copy_only=False)
                rows.present.setdefault(name, []).append(present[kept])
        first_row += batch.num_rows
    joined = _put_oldest_first(attrs.evolve(rows.join_columns(), unit=times.unit))
    if columns.venue is not None and first_row > 1 and not len(joined.ts):
        raise InvalidDataError(
            f"{file}: no rows of venue {show_text(str(venue))}; "
            f"--venue can be {list_venues(found, budget)}"
        )
    return joined


def _names_of_ratios(columns: Columns) -> dict[str, Kind]:
    """Return the kind of each column of ratios, by its name in ``FileColumns.values``."""
    names = {str(kind): kind for kind, _ in columns.beside}
    if columns.kind in RATIO_KINDS:
        names |= dict.fromkeys(columns.numbers, columns.kind)
    return names


def split_kinds(rows: FileColumns, columns: Columns) -> list[tuple[Kind, FileColumns]]:
    """Return the rows of each kind in a file; an empty cell of a ratio gives no row."""
    ratios = _names_of_ratios(columns)
    others = {name: each for name, each in rows.values.items() if name not in ratios}
    parts = []
    if others:
        parts.append((columns.kind, attrs.evolve(rows, values=others, present={})))
    for name, kind in ratios.items():
        part = attrs.evolve(rows, values={name: rows.values[name]}, present={})
        present = rows.present[name]
        parts.append((kind, part if present.all() else part.keep(present)))
    return parts


def _put_oldest_first(columns: FileColumns) -> FileColumns:
    """Return the rows in reverse order if those of each symbol go back in time."""
    order = np.argsort(columns.code, kind="stable")
    steps = np.diff(columns.ts[order])[np.diff(columns.code[order]) == 0]
    if not len(steps) or not (steps < 0).all():
        return columns
    return columns.keep(np.arange(len(columns.ts))[::-1])


def _names(found: FoundFile, batch: pa.RecordBatch, kept: npt.NDArray[np.bool_], row: int) -> Names:
    """Return the symbols of the kept rows of a batch, whose first row is ``row``."""
    column = found.columns.symbol
    if column is None:
        assert found.symbol is not None
        return Names(
            distinct=(found.symbol,),
            index=np.zeros(int(kept.sum()), dtype=np.int64),
            first=np.zeros(1, dtype=np.int64),
        )
    names = read_names(found.source.shown, column, batch.column(column), row)
    return attrs.evolve(names, index=names.index[kept])


def _read_wide(found: FoundFile, budget: Budget) -> FileColumns:
    """Return the rows of a file with a column per symbol; an empty cell gives none."""
    file, columns = found.source.shown, found.columns
    rows = _Rows(file, ("value",), budget)
    times = TimeColumn(file, columns.time)
    comma = found.text is not None and found.text.dialect.decimal_comma
    for symbol in columns.wide:
        budget.take_symbol(file, symbol)
    first_row = 1
    for batch in found_batches(found, columns.wanted, budget):
        at_ms = times.read(batch.column(columns.time), first_row)
        budget.check_cells(file, first_row + batch.num_rows, len(columns.wide))
        for code, symbol in enumerate(columns.wide):
            cells = read_floats(file, symbol, batch.column(symbol), first_row, decimal_comma=comma)
            known = np.flatnonzero(~np.isnan(cells))
            rows.code.append(np.full(len(known), code))
            rows.row.append(known + first_row)
            rows.ts.append(at_ms[known])
            rows.values["value"].append(cells[known])
        first_row += batch.num_rows
    joined = attrs.evolve(rows.join_columns(), symbols=columns.wide, unit=times.unit)
    return _put_oldest_first(joined)
