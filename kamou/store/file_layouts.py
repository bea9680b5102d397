"""Finding, classification and reading of files of market data from elsewhere.

``FoundFile`` has the layout of a file, ``FileColumns`` its rows, and ``SkippedFile`` the reason why
a file was left out.

The columns determine the kind, not the name:

| kind | columns |
|---|---|
| all | ``symbol, ts`` or ``venue, coin, ts``; others than those of the kind are ignored |
| bars | ``open, high, low, close, volume`` or ``o, h, l, c, v`` |
| funding | ``funding_rate`` |
| open interest | ``sum_open_interest`` in base units |

If a file has columns of several kinds, the first kind of the table counts. ``--venue`` chooses the
rows of one venue.

``ts`` is in UTC milliseconds, in Parquet a date or a timestamp as well; for a bar it is the time of
its open. Files are Parquet, CSV or gzipped CSV. No file is trusted: ``foreign_files.py`` opens it,
and it is read in batches within a ``Budget``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kamou.core.arrays import Floats, Ints
from kamou.core.market.symbols import SYMBOL_EXPECTED, is_symbol
from kamou.errors import InvalidDataError
from kamou.escaping import escape_text, show_text
from kamou.store.cells import (
    NO_NAME,
    Names,
    is_number,
    is_text,
    read_floats,
    read_names,
    read_times,
)
from kamou.store.foreign_files import list_entries, show_name, why_unfit
from kamou.store.parquet_tables import parquet_batches, read_schema
from kamou.store.read_budget import Budget
from kamou.store.text_tables import csv_batches, read_header

SUFFIXES = (".parquet", ".csv", ".csv.gz")
VENUE_QUOTE = "USDT"  # appended to a coin to make its symbol
VENUES_SHOWN = 10  # at most, in an error
TIME = "ts"


class Kind(StrEnum):
    """Kind of the rows of a file: bars, funding or open interest."""

    BARS = "bars"
    FUNDING = "funding"
    OPEN_INTEREST = "open interest"


COLUMNS = {
    Kind.BARS: ("open", "high", "low", "close", "volume"),
    Kind.FUNDING: ("funding_rate",),
    Kind.OPEN_INTEREST: ("sum_open_interest",),
}
SHORT_HEADER = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}


@attrs.frozen(kw_only=True, eq=False)
class FoundFile:
    """A file of market data, and the layout of its columns."""

    path: Path
    kind: Kind
    name_column: str  # symbol, or coin
    venue_column: bool
    short_names: bool  # o, h, l, c, v


@attrs.frozen(kw_only=True)
class SkippedFile:
    """A file that was left out, with the reason."""

    file: str
    reason: str


@attrs.frozen(kw_only=True, eq=False)
class FileColumns:
    """The rows of a file: row i is of ``symbols[code[i]]`` at ``ts[i]``.

    ``row[i]`` is its number in the file, from 1 without the header.
    """

    file: str
    symbols: tuple[str, ...]
    code: Ints
    row: Ints
    ts: Ints
    values: dict[str, Floats]


def find_files(
    source: Path, venue: str | None, budget: Budget
) -> tuple[list[FoundFile], list[SkippedFile]]:
    """Return the files of market data in a directory, and those left out.

    Both lists are sorted by name. Subdirectories are not searched, and names that begin with a dot
    are in neither list.

    Raises:
        InvalidDataError: the directory does not exist or has too many names; a file is not
            regular, is a link to a place outside, or its header cannot be read or has a column
            twice or too many; or a file has a column ``venue`` and ``venue`` is None.
    """
    if not source.is_dir():
        shown = escape_text(str(source))
        raise InvalidDataError(f"{shown}: no such directory; give the directory of the files")
    found: list[FoundFile] = []
    skipped: list[SkippedFile] = []
    for path in list_entries(source, budget.limits.files_max):
        if path.name.startswith(".") or (path.is_dir() and not path.is_symlink()):
            continue
        if not path.name.endswith(SUFFIXES):
            skipped.append(SkippedFile(file=show_name(path), reason="not Parquet or CSV"))
            continue
        if unfit := why_unfit(path):
            raise InvalidDataError(f"{show_name(path)}: {unfit}")
        names = _read_column_names(path, budget)
        kind = _find_kind(names)
        if not isinstance(kind, Kind):
            skipped.append(SkippedFile(file=show_name(path), reason=kind))
            continue
        found.append(_describe_file(path, kind, names, venue, budget))
    return found, skipped


def _describe_file(
    path: Path, kind: Kind, names: list[str], venue: str | None, budget: Budget
) -> FoundFile:
    by_venue = "venue" in names
    found = FoundFile(
        path=path,
        kind=kind,
        name_column="coin" if by_venue and "coin" in names else "symbol",
        venue_column=by_venue,
        short_names=kind is Kind.BARS and not set(COLUMNS[kind]) <= set(names),
    )
    for name in (
        "venue" if by_venue else TIME,
        TIME,
        found.name_column,
        *_source_columns(found).values(),
    ):
        if names.count(name) > 1:
            raise InvalidDataError(f"{show_name(path)}: two columns are named {name}; remove one")
    if by_venue and venue is None:
        raise InvalidDataError(
            f"{show_name(path)}: its rows are by venue; import those of one venue with "
            f"`kamou data import` and --venue ({_list_venues(found, budget)})"
        )
    return found


def _source_columns(found: FoundFile) -> dict[str, str]:
    """Return each column of numbers with its name in the file."""
    return {name: SHORT_HEADER[name] if found.short_names else name for name in COLUMNS[found.kind]}


def _find_kind(header: list[str]) -> Kind | str:
    """Return the kind of file that has these columns; for no kind, the reason."""
    names = set(header)
    keyed = {"symbol", TIME} <= names or {"venue", "coin", TIME} <= names
    if not keyed:
        return "no columns symbol and ts (or venue, coin and ts)"
    if set(SHORT_HEADER.values()) <= names or set(COLUMNS[Kind.BARS]) <= names:
        return Kind.BARS
    if "funding_rate" in names:
        return Kind.FUNDING
    if "sum_open_interest" in names:
        return Kind.OPEN_INTEREST
    if {"open", "high", "low", "close"} <= names:
        return (
            "mark prices, or bars without a column volume; the embedded venue marks at the last "
            "price; add the column to bars"
        )
    if "oi_usd" in names:
        return "open interest in dollars; base units are needed"
    shown = escape_text(", ".join(sorted(names)), chars_max=200)
    return (
        f"columns of no known kind: {shown}; bars have open, high, low, close and volume, funding "
        "has funding_rate, open interest has sum_open_interest"
    )


def _read_column_names(path: Path, budget: Budget) -> list[str]:
    if path.name.endswith(".parquet"):
        return list(read_schema(path, budget).names)
    return read_header(path, budget)


def _batches(path: Path, wanted: Sequence[str], budget: Budget) -> Iterator[pa.RecordBatch]:
    if path.name.endswith(".parquet"):
        return parquet_batches(path, wanted, budget)
    return csv_batches(path, wanted, budget)


def _check_types(found: FoundFile, budget: Budget) -> None:
    """Check the columns of a Parquet file and their types; do nothing for CSV.

    Raises:
        InvalidDataError: a column is missing, or its type does not fit its meaning.
    """
    if not found.path.name.endswith(".parquet"):
        return
    schema = read_schema(found.path, budget)
    texts = ("venue", found.name_column) if found.venue_column else (found.name_column,)
    checks = [(name, is_text, "text") for name in texts]
    checks += [(TIME, lambda kind: is_number(kind, time=True), "milliseconds or a timestamp")]
    checks += [
        (name, lambda kind: is_number(kind, time=False), "numbers")
        for name in _source_columns(found).values()
    ]
    for name, fits, expected in checks:
        if schema.get_field_index(name) < 0:
            raise InvalidDataError(
                f"{show_name(found.path)}: no column {name}; expected {expected}; add the column"
            )
        kind = schema.field(name).type
        if not fits(kind):
            raise InvalidDataError(
                f"{show_name(found.path)}: column {name} is of type "
                f"{escape_text(str(kind), chars_max=60)}; expected {expected}; convert the column"
            )


def _list_venues(found: FoundFile, budget: Budget) -> str:
    """Return some venues of a file, at most ``VENUES_SHOWN``, for an error."""
    seen: dict[str, None] = {}
    spare = Budget(limits=budget.limits)  # the file is read again for its rows
    first_row = 1
    _check_types(found, spare)
    for batch in _batches(found.path, ("venue",), spare):
        names = read_names(show_name(found.path), "venue", batch.column(0), first_row)
        first_row += batch.num_rows
        seen.update(dict.fromkeys(names.distinct))
        if len(seen) > VENUES_SHOWN:
            break
    shown = [escape_text(name, chars_max=60) for name in sorted(seen)[:VENUES_SHOWN]]
    return ", ".join(shown) + (", ..." if len(seen) > VENUES_SHOWN else "")


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

    def make_codes(self, names: Names, column: str, suffix: str, row: Ints) -> Ints:
        """Return the code of each row's symbol.

        Raises:
            InvalidDataError: a row has no symbol or one that cannot be a symbol, or the files have
                more than ``data.symbols_max`` symbols.
        """
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
        )


def _join(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    whole = np.concatenate(parts) if parts else np.empty(0)
    parts.clear()
    return whole


def read_columns(found: FoundFile, budget: Budget, venue: str | None = None) -> FileColumns:
    """Return all rows of one file.

    Raises:
        InvalidDataError: the file is corrupt or exceeds the budget, a column is missing or of a
            wrong type, a cell is not UTF-8 or not a number, a row has no time or no valid symbol,
            or no row is of ``venue``.
    """
    _check_types(found, budget)
    file, numbers = show_name(found.path), _source_columns(found)
    texts = ("venue", found.name_column) if found.venue_column else (found.name_column,)
    suffix = VENUE_QUOTE if found.name_column == "coin" else ""
    rows = _Rows(file, tuple(numbers), budget)
    first_row = 1
    for batch in _batches(found.path, (*texts, TIME, *numbers.values()), budget):
        kept = np.ones(batch.num_rows, dtype=bool)
        if found.venue_column:
            venues = read_names(file, "venue", batch.column("venue"), first_row)
            at = venues.distinct.index(venue) if venue in venues.distinct else None
            kept = venues.index == at if at is not None else np.zeros(batch.num_rows, dtype=bool)
        times = read_times(file, TIME, batch.column(TIME), first_row)[kept]
        row = np.flatnonzero(kept) + first_row
        names = read_names(file, found.name_column, batch.column(found.name_column), first_row)
        kept_names = attrs.evolve(names, index=names.index[kept])
        rows.code.append(rows.make_codes(kept_names, found.name_column, suffix, row))
        rows.row.append(row)
        rows.ts.append(times)
        for name, column in numbers.items():
            cells = read_floats(file, column, batch.column(column), first_row)
            rows.values[name].append(cells[kept])
        first_row += batch.num_rows
    columns = rows.join_columns()
    if found.venue_column and first_row > 1 and not len(columns.ts):
        raise InvalidDataError(
            f"{file}: no rows of venue {show_text(str(venue))}; "
            f"--venue can be {_list_venues(found, budget)}"
        )
    return columns
