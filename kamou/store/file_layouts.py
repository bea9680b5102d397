"""Files of market data, as they are found: which kind each is, and its columns.

The kind is told by the columns, not by the name:

| kind | columns |
|---|---|
| bars | ``symbol, ts, open, high, low, close, volume`` (more are ignored) |
| venue bars | ``venue, coin, ts, o, h, l, c, v``: needs a venue to be chosen |
| funding | ``symbol, ts, funding_rate``, or with ``venue, coin`` for ``symbol`` |
| open interest | ``symbol, ts, sum_open_interest`` in base units |

``ts`` is UTC milliseconds; of a bar, its open time. Parquet, CSV and gzipped CSV. Every file is
a stranger's: it is opened by ``foreign_files.py`` and read in batches within a ``Budget``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kamou.core.arrays import Floats, Ints
from kamou.core.market.symbols import SYMBOL_EXPECTED, is_symbol, show_text
from kamou.errors import InvalidDataError
from kamou.escaping import escape_text
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
VENUE_QUOTE = "USDT"  # appended to a coin's name where files name coins, not symbols
VENUES_SHOWN = 10  # of a file, in one message
TIME = "ts"


class Kind(str, Enum):
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
    """One readable file and what it holds."""

    path: Path
    kind: Kind
    name_column: str  # symbol, or coin
    venue_column: bool
    short_names: bool  # o, h, l, c, v


@attrs.frozen(kw_only=True)
class SkippedFile:
    """A file that was left out, and why."""

    file: str
    reason: str


@attrs.frozen(kw_only=True, eq=False)
class FileColumns:
    """A file's rows: ``symbols[code[i]]`` at ``ts[i]``; ``row[i]`` counts from 1 without header."""

    file: str
    symbols: tuple[str, ...]
    code: Ints
    row: Ints
    ts: Ints
    values: dict[str, Floats]


def find_files(
    source: Path, venue: str | None, budget: Budget
) -> tuple[list[FoundFile], list[SkippedFile]]:
    """Return the market data files of a folder (not of its subfolders), by name.

    Raises:
        InvalidDataError: there is no such folder, or a file's header cannot be read.
    """
    if not source.is_dir():
        shown = escape_text(str(source))
        raise InvalidDataError(f"{shown}: no such folder; give the folder that holds the files")
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
        names = _header(path, budget)
        kind = _kind(names)
        if not isinstance(kind, Kind):
            skipped.append(SkippedFile(file=show_name(path), reason=kind))
            continue
        found.append(_found(path, kind, names, venue, budget))
    return found, skipped


def _found(
    path: Path, kind: Kind, names: list[str], venue: str | None, budget: Budget
) -> FoundFile:
    by_venue = "venue" in names
    it = FoundFile(
        path=path,
        kind=kind,
        name_column="coin" if by_venue and "coin" in names else "symbol",
        venue_column=by_venue,
        short_names=kind is Kind.BARS and not set(COLUMNS[kind]) <= set(names),
    )
    for name in ("venue" if by_venue else TIME, TIME, it.name_column, *_sources(it).values()):
        if names.count(name) > 1:
            raise InvalidDataError(f"{show_name(path)}: column {name} is there twice; remove one")
    if by_venue and venue is None:
        raise InvalidDataError(
            f"{show_name(path)}: rows of several venues; choose one with --venue "
            f"({_venues(it, budget)})"
        )
    return it


def _sources(found: FoundFile) -> dict[str, str]:
    """Our name of each column of numbers to the file's."""
    return {name: SHORT_HEADER[name] if found.short_names else name for name in COLUMNS[found.kind]}


def _kind(header: list[str]) -> Kind | str:
    """Return the kind that these columns make, or why they make none."""
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
        return "mark prices: the embedded exchange marks at the last price"
    if "oi_usd" in names:
        return "open interest in dollars: base units are needed"
    return f"columns of no known kind: {escape_text(', '.join(sorted(names)), chars_max=200)}"


def _header(path: Path, budget: Budget) -> list[str]:
    if path.name.endswith(".parquet"):
        return list(read_schema(path, budget).names)
    return read_header(path, budget)


def _batches(path: Path, wanted: Sequence[str], budget: Budget) -> Iterator[pa.RecordBatch]:
    if path.name.endswith(".parquet"):
        return parquet_batches(path, wanted, budget)
    return csv_batches(path, wanted, budget)


def _check_types(found: FoundFile, budget: Budget) -> None:
    """Check the types of the columns of a Parquet file.

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
        for name in _sources(found).values()
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
                f"{escape_text(str(kind), chars_max=60)}; expected {expected}"
            )


def _venues(found: FoundFile, budget: Budget) -> str:
    """The venues of a file for a message: the first ten that are met."""
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
    """The rows of one file, batch by batch; made into whole columns once."""

    def __init__(self, file: str, numbers: Sequence[str], budget: Budget) -> None:
        self.file = file
        self.budget = budget
        self.code_of: dict[str, int] = {}
        self.code: list[Ints] = []
        self.row: list[Ints] = []
        self.ts: list[Ints] = []
        self.values: dict[str, list[Floats]] = {name: [] for name in numbers}

    def codes(self, names: Names, column: str, suffix: str, row: Ints) -> Ints:
        """Each row's code. Raises ``InvalidDataError`` at the first unfit symbol, with its row."""
        nameless = np.flatnonzero(names.index == NO_NAME)
        if len(nameless):
            raise InvalidDataError(
                f"{self.file}: row {int(row[nameless[0]])}: no {column}; remove or repair the row"
            )
        place = np.full(len(names.distinct), NO_NAME, dtype=np.int64)
        for at in np.unique(names.index).tolist():
            name = names.distinct[at]
            if not is_symbol(name + suffix):
                first = int(row[np.flatnonzero(names.index == at)[0]])
                raise InvalidDataError(
                    f"{self.file}: row {first}: {column} is {show_text(name)}, "
                    f"expected {SYMBOL_EXPECTED}; repair the row"
                )
            symbol = name + suffix
            self.budget.take_symbol(self.file, symbol)
            place[at] = self.code_of.setdefault(symbol, len(self.code_of))
        return place[names.index]

    def columns(self) -> FileColumns:
        """One array per column; the batches are let go as each is made."""
        return FileColumns(
            file=self.file,
            symbols=tuple(self.code_of),
            code=_joined(self.code),
            row=_joined(self.row),
            ts=_joined(self.ts),
            values={name: _joined(parts) for name, parts in self.values.items()},
        )


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    whole = np.concatenate(parts) if parts else np.empty(0)
    parts.clear()
    return whole


def read_columns(found: FoundFile, budget: Budget, venue: str | None = None) -> FileColumns:
    """Return all rows of one file.

    Raises:
        InvalidDataError: the file is corrupt or beyond the budget; a cell is no number; a row has
            no symbol or time, or a symbol that cannot be one.
    """
    _check_types(found, budget)
    file, numbers = show_name(found.path), _sources(found)
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
        rows.code.append(rows.codes(kept_names, found.name_column, suffix, row))
        rows.row.append(row)
        rows.ts.append(times)
        for name, column in numbers.items():
            cells = read_floats(file, column, batch.column(column), first_row)
            rows.values[name].append(cells[kept])
        first_row += batch.num_rows
    columns = rows.columns()
    if found.venue_column and first_row > 1 and not len(columns.ts):
        raise InvalidDataError(
            f"{file}: no rows of venue {show_text(str(venue))}; it has {_venues(found, budget)}"
        )
    return columns
