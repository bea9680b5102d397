"""Files of market data, as they are found: which kind each is, and its columns.

The kind is told by the columns, not by the name:

| kind | columns |
|---|---|
| candles | ``symbol, ts, open, high, low, close, volume`` (more are ignored) |
| venue candles | ``venue, coin, ts, o, h, l, c, v``: needs a venue to be chosen |
| funding | ``symbol, ts, funding_rate``, or with ``venue, coin`` for ``symbol`` |
| open interest | ``symbol, ts, sum_open_interest`` in base units |

``ts`` is UTC milliseconds; of a candle, its open time. Parquet, CSV and gzipped CSV.
"""

from __future__ import annotations

import gzip
import zlib
from enum import Enum
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from kamou.core.bars import Floats, Ints
from kamou.errors import DataRefusedError

SUFFIXES = (".parquet", ".csv", ".csv.gz")
VENUE_QUOTE = "USDT"  # appended to a coin's name where files name coins, not symbols


class Kind(str, Enum):
    CANDLES = "candles"
    FUNDING = "funding"
    INTEREST = "open interest"


COLUMNS = {
    Kind.CANDLES: ("open", "high", "low", "close", "volume"),
    Kind.FUNDING: ("funding_rate",),
    Kind.INTEREST: ("sum_open_interest",),
}
VENUE_NAMES = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}


@attrs.frozen(kw_only=True, eq=False)
class Found:
    """One readable file and what it holds."""

    path: Path
    kind: Kind
    venue_column: bool


@attrs.frozen(kw_only=True)
class Skipped:
    """A file that was left out, and why."""

    file: str
    reason: str


@attrs.frozen(kw_only=True, eq=False)
class Columns:
    """A file's rows: ``symbols[code[i]]`` at ``ts[i]``; ``row[i]`` counts from 1 without header."""

    file: str
    symbols: tuple[str, ...]
    code: Ints
    row: Ints
    ts: Ints
    values: dict[str, Floats]


def find_files(source: Path, venue: str | None) -> tuple[list[Found], list[Skipped]]:
    """The market data files of a folder (not of its subfolders), by name.

    Raises:
        DataRefusedError: there is no such folder, or a file's header cannot be read.
    """
    if not source.is_dir():
        raise DataRefusedError(f"{source}: no such folder; give the folder that holds the files")
    found: list[Found] = []
    skipped: list[Skipped] = []
    for path in sorted(source.iterdir()):
        if not path.is_file() or path.name.startswith("."):
            continue
        if not path.name.endswith(SUFFIXES):
            skipped.append(Skipped(file=path.name, reason="not Parquet or CSV"))
            continue
        kind = _kind(_header(path))
        if isinstance(kind, str) and not isinstance(kind, Kind):
            skipped.append(Skipped(file=path.name, reason=kind))
            continue
        by_venue = "venue" in _header(path)
        if by_venue and venue is None:
            raise DataRefusedError(
                f"{path.name}: rows of several venues; choose one with --venue "
                f"({', '.join(_venues(path))})"
            )
        found.append(Found(path=path, kind=kind, venue_column=by_venue))
    return found, skipped


def _kind(names: set[str]) -> Kind | str:
    """The kind that these columns make, or why they make none."""
    keyed = {"symbol", "ts"} <= names or {"venue", "coin", "ts"} <= names
    if not keyed:
        return "no columns symbol and ts (or venue, coin and ts)"
    if set(VENUE_NAMES) <= names or set(COLUMNS[Kind.CANDLES]) <= names:
        return Kind.CANDLES
    if "funding_rate" in names:
        return Kind.FUNDING
    if "sum_open_interest" in names:
        return Kind.INTEREST
    if {"open", "high", "low", "close"} <= names:
        return "mark prices: the embedded exchange marks at the last price"
    if "oi_usd" in names:
        return "open interest in dollars: base units are needed"
    return f"columns of no known kind: {', '.join(sorted(names))}"


def _header(path: Path) -> set[str]:
    try:
        if path.name.endswith(".parquet"):
            return set(pq.read_schema(path).names)
        opened = gzip.open if path.name.endswith(".gz") else open
        with opened(path, "rb") as file:
            return set(file.readline(65_536).decode().strip().replace('"', "").split(","))
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise _corrupt(path.name, error) from error


def _venues(path: Path) -> list[str]:
    return sorted(set(map(str, _table(path, ("venue",), ())["venue"].to_pylist())))


def read_columns(found: Found, venue: str | None = None) -> Columns:
    """All rows of one file.

    Raises:
        DataRefusedError: the file is corrupt; a cell is no number; a row has no symbol or time.
    """
    short = {long: name for name, long in VENUE_NAMES.items()}
    renamed = found.venue_column and found.kind is Kind.CANDLES
    numbers = {name: short[name] if renamed else name for name in COLUMNS[found.kind]}
    texts = ("venue", "coin") if found.venue_column else ("symbol",)
    table = _table(found.path, texts, ("ts", *numbers.values()))
    row = np.arange(1, table.num_rows + 1)
    if found.venue_column:
        kept = pc.equal(table["venue"], venue)
        row = row[_numpy(pc.fill_null(kept, False)).astype(bool)]
        table = table.filter(kept)
        if not table.num_rows:
            raise DataRefusedError(
                f"{found.path.name}: no rows of venue {venue!r}; "
                f"it has {', '.join(_venues(found.path))}"
            )
    for name in (texts[-1], "ts"):
        if table[name].null_count:
            at = int(np.flatnonzero(_numpy(pc.is_null(table[name])))[0])
            raise DataRefusedError(
                f"{found.path.name}: row {int(row[at])}: no {name}; remove or repair the row"
            )
    names = pc.dictionary_encode(table[texts[-1]]).combine_chunks()
    suffix = VENUE_QUOTE if found.venue_column else ""
    return Columns(
        file=found.path.name,
        symbols=tuple(f"{name}{suffix}" for name in names.dictionary.to_pylist()),
        code=_numpy(names.indices).astype(np.int64),
        row=row,
        ts=_numpy(table["ts"]).astype(np.int64),
        values={
            name: _numpy(pc.cast(table[column], pa.float64())).astype(np.float64)
            for name, column in numbers.items()
        },
    )


def _numpy(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.generic]:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    array: npt.NDArray[np.generic] = column.to_numpy(zero_copy_only=False)
    return array


def _table(path: Path, texts: tuple[str, ...], numbers: tuple[str, ...]) -> pa.Table:
    wanted = [*texts, *numbers]
    try:
        if path.name.endswith(".parquet"):
            table = pq.read_table(path, columns=wanted, page_checksum_verification=True)
        else:
            table = pa.csv.read_csv(
                path,
                convert_options=pa.csv.ConvertOptions(
                    include_columns=wanted,
                    column_types={name: pa.string() for name in wanted},
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
    except (pa.ArrowException, OSError, EOFError) as error:
        raise _corrupt(path.name, error) from error
    for name in numbers:
        table = table.set_column(
            table.schema.get_field_index(name), name, _number(path.name, name, table[name])
        )
    return table


def _number(file: str, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as numbers; the first cell that is none is named with its row."""
    kind = pa.int64() if name == "ts" else pa.float64()
    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.timestamp("ms", tz=column.type.tz))
    try:
        return pc.cast(column, kind)
    except pa.ArrowInvalid as error:
        for row, cell in enumerate(column.to_pylist(), start=1):
            try:
                pc.cast(pa.array([cell], type=column.type), kind)
            except pa.ArrowInvalid:
                raise DataRefusedError(
                    f"{file}: row {row}: {name} is {cell!r}, not a number; repair the row"
                ) from error
        raise


def _corrupt(file: str, error: BaseException) -> DataRefusedError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataRefusedError(
        f"{file}: cannot be read: {reason}; the file is corrupt or cut short, fetch it again"
    )
