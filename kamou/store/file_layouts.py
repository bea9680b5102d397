"""The layout of each file of an import: format, kind, columns, symbol.

``FoundFile`` has the layout of a file, ``SkippedFile`` the reason why a file was left out.
``column_meanings.py`` has the meanings of columns, ``file_names.py`` those of names. If a column
and a name differ, the column is used. No file is trusted: ``foreign_files.py`` opens it, and a
``Budget`` limits what is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import attrs
import pyarrow as pa

from kamou.errors import InvalidDataError
from kamou.escaping import escape_text
from kamou.store.cells import is_number, is_text, read_names
from kamou.store.column_meanings import Columns, find_columns, name_columns
from kamou.store.feather_tables import feather_batches, read_feather_schema
from kamou.store.file_names import (
    STABLE_QUOTE_NAMES,
    NameFacts,
    plain_symbol,
    read_names_of,
)
from kamou.store.foreign_files import SourceFile, why_unfit
from kamou.store.parquet_tables import parquet_batches, read_schema
from kamou.store.read_budget import Budget
from kamou.store.text_dialects import Dialect, OtherJsonError
from kamou.store.text_tables import TextFile, read_dialect, text_batches
from kamou.store.zipped_files import OtherArchiveError

VENUES_SHOWN = 10  # at most, in an error


class Format(StrEnum):
    """The format of a file, by the end of its name."""

    PARQUET = "Parquet"
    FEATHER = "Feather"
    CSV = "CSV"
    JSON = "JSON"


FORMAT_OF_SUFFIX = {
    ".parquet": Format.PARQUET,
    ".feather": Format.FEATHER,
    ".csv": Format.CSV,
    ".csv.gz": Format.CSV,
    ".zip": Format.CSV,
    ".json": Format.JSON,
    ".json.gz": Format.JSON,
}


@attrs.frozen(kw_only=True, eq=False)
class FoundFile:
    """A file of market data with its layout."""

    source: SourceFile
    format: Format
    columns: Columns
    name: NameFacts
    symbol: str | None = None  # of all rows; None: a column has the symbols, or each is a column
    symbol_source: str = ""  # where ``symbol`` stands
    text: TextFile | None = None  # of CSV and JSON


@attrs.frozen(kw_only=True)
class SkippedFile:
    """A file that was left out, with the reason."""

    file: str
    reason: str


@attrs.frozen(kw_only=True)
class Choice:
    """The operator's choice among the files; None: no choice."""

    venue: str | None = None  # the venue whose files, and rows of a column of venues, are read
    symbol: str | None = None  # the symbol of files that have none in a column or in their name
    period_ms: int | None = None  # of bars, if the files have several


def describe_files(
    sources: Sequence[SourceFile], choice: Choice, budget: Budget
) -> tuple[list[FoundFile], list[SkippedFile]]:
    """Return the files of market data, and those left out, each in the given order.

    Raises:
        InvalidDataError: a file is not regular or is a link to a place outside its directory; its
            header cannot be read, has a column twice or has too many columns; it has a column of
            venues and none is chosen; or its name says another symbol than the chosen one.
    """
    found: list[FoundFile] = []
    skipped: list[SkippedFile] = []
    for source in sources:
        kind = find_format(source.path.name)
        if kind is None:
            skipped.append(
                SkippedFile(
                    file=source.shown,
                    reason="its name has no known ending, such as .csv, .json or .parquet",
                )
            )
            continue
        if unfit := why_unfit(source.path):
            raise InvalidDataError(f"{source.shown}: {unfit}")
        described = _describe(source, kind, choice, budget)
        if isinstance(described, FoundFile):
            found.append(described)
        else:
            skipped.append(SkippedFile(file=source.shown, reason=described))
    return found, skipped


def find_format(name: str) -> Format | None:
    """Return the format that the end of a file's name says; None for another end."""
    ends = [each for each in FORMAT_OF_SUFFIX if name.lower().endswith(each)]
    return FORMAT_OF_SUFFIX[ends[0]] if ends else None


def _describe(source: SourceFile, kind: Format, choice: Choice, budget: Budget) -> FoundFile | str:
    """Return the layout of a file, or the reason why the file is left out."""
    name = read_names_of(source)
    text: TextFile | None = None
    names: Sequence[str] | None
    if kind in (Format.CSV, Format.JSON):
        try:
            dialect = read_dialect(source, budget)
        except OtherJsonError as error:
            return str(error)
        except OtherArchiveError as error:
            if source.named:
                raise
            return error.reason
        names = dialect.names or name_columns(_first_row(dialect), name.role)
        if names is None:
            return (
                f"no header, and rows of {dialect.cells} values that can mean several things; add "
                "a header"
            )
        text = TextFile(source=source, dialect=dialect, columns=_column_names(dialect, names))
    else:
        schema = read_schema if kind is Format.PARQUET else read_feather_schema
        names = schema(source, budget).names
    try:
        columns = find_columns(names, name.role, own_role=name.own_role)
    except ValueError as error:
        raise InvalidDataError(f"{source.shown}: {error}") from error
    if isinstance(columns, str):
        return columns
    found = FoundFile(source=source, format=kind, columns=columns, name=name, text=text)
    if columns.venue is not None and choice.venue is None:
        raise InvalidDataError(
            f"{source.shown}: its rows are by venue; import those of one venue with "
            f"`kamou data import` and --venue ({list_venues(found, budget)})"
        )
    if columns.symbol is not None or columns.wide:
        return found
    if name.expiry is not None:
        return (
            f"a delivery contract by its name, with the expiry {name.expiry}; if that is a date, "
            "write it in the name as 2025-01-31"
        )
    symbol = _choose_symbol(source, choice.symbol, name.symbol)
    if symbol is None:
        return (
            "no column of symbols such as symbol, and no symbol in its name; name the file "
            "BTCUSDT.csv, for example, or pass --symbol"
        )
    by = "its name" if choice.symbol is None else "--symbol"
    return attrs.evolve(found, symbol=symbol, symbol_source=by)


def _choose_symbol(source: SourceFile, chosen: str | None, named: str | None) -> str | None:
    """Return the chosen symbol, or without a choice that of the file's name.

    Return None without either. A choice may complete a name: BTCUSDT of ``BTC.csv``.

    Raises:
        InvalidDataError: the name says another symbol than the choice.
    """
    if chosen is None or named is None:
        return chosen or named
    if named not in (plain_symbol(chosen), _coin_of(chosen)):
        raise InvalidDataError(
            f"{source.shown}: the symbol is {named} by its name and "
            f"{escape_text(chosen, chars_max=60)} by --symbol; import the files of one symbol, or "
            "leave out --symbol"
        )
    return chosen


def _coin_of(symbol: str) -> str:
    """Return a symbol without its quote: BTC of BTCUSDT; itself if it has none."""
    plain = plain_symbol(symbol)
    quotes = (each for each in STABLE_QUOTE_NAMES if plain.endswith(each))
    return plain.removesuffix(next(quotes, ""))


def _first_row(dialect: Dialect) -> list[str]:
    """Return the cells of the first line of a file without a header."""
    line = dialect.first_line.decode("utf-8")
    return [each.strip(' "') for each in line.split(dialect.delimiter)]


def _column_names(dialect: Dialect, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns that each row has."""
    return tuple(names[:-1] if dialect.cut_header else names)


def found_batches(
    found: FoundFile, wanted: Sequence[str], budget: Budget
) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a file in batches; of CSV and JSON as texts."""
    if found.text is not None:
        return text_batches(found.text, wanted, budget)
    read = parquet_batches if found.format is Format.PARQUET else feather_batches
    return read(found.source, wanted, budget)


def check_types(found: FoundFile, budget: Budget) -> None:
    """Check the columns of a typed file and their types; do nothing for CSV and JSON.

    Raises:
        InvalidDataError: a column is missing, or its type does not fit its meaning.
    """
    if found.text is not None:
        return
    read = read_schema if found.format is Format.PARQUET else read_feather_schema
    schema = read(found.source, budget)
    columns = found.columns
    checks = [(name, is_text, "text") for name in columns.texts]
    checks += [(columns.time, lambda kind: is_number(kind, time=True), "times")]
    checks += [
        (name, lambda kind: is_number(kind, time=False), "numbers")
        for name in (
            *columns.numbers.values(),
            *columns.wide,
            *(column for _, column in columns.beside),
        )
    ]
    for name, fits, expected in checks:
        shown = escape_text(name, chars_max=60)
        if schema.get_field_index(name) < 0:
            raise InvalidDataError(
                f"{found.source.shown}: no column {shown}; expected {expected}; add the column"
            )
        kind = schema.field(name).type
        if not fits(kind):
            raise InvalidDataError(
                f"{found.source.shown}: column {shown} is of type "
                f"{escape_text(str(kind), chars_max=60)}; expected {expected}; convert the column"
            )


def list_venues(found: FoundFile, budget: Budget) -> str:
    """Return some venues of a file, at most ``VENUES_SHOWN``, for an error."""
    column = found.columns.venue
    assert column is not None
    seen: dict[str, None] = {}
    spare = Budget(limits=budget.limits)  # the file is read again for its rows
    first_row = 1
    check_types(found, spare)
    for batch in found_batches(found, (column,), spare):
        names = read_names(found.source.shown, column, batch.column(0), first_row)
        first_row += batch.num_rows
        seen.update(dict.fromkeys(names.distinct))
        if len(seen) > VENUES_SHOWN:
            break
    shown = [escape_text(name, chars_max=60) for name in sorted(seen)[:VENUES_SHOWN]]
    return ", ".join(shown) + (", ..." if len(seen) > VENUES_SHOWN else "")
