"""CSV files of closed shadow trades, for ``kamou gate evaluate``."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from kamou.core.day import midnight_ms_of, utc_day
from kamou.core.record.e_values import ResultOfTrade
from kamou.errors import InvalidDataError
from kamou.escaping import escape_text, show_text

COLUMNS = ("strategy", "opened_at_ms", "closed_at_ms", "symbol", "r", "pnl_usd")
TIMES_FROM_MS, TIMES_UNTIL_MS = midnight_ms_of("2009-01-01"), midnight_ms_of("2100-01-01")
CELL_CHARS_MAX = 100
TRADES_READ_MAX = 5_000_000
ROW_CHARS_MAX = 10_000
INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
DECIMAL_NUMBER = re.compile(
    r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})(e[+-]?[0-9]{1,2})?", re.I | re.A
)


def read_gate_file(path: Path) -> tuple[ResultOfTrade, ...]:
    """Return the closed trades of a CSV file, in the order of their openings.

    The first line names the columns ``COLUMNS``, in any order; other columns are ignored. ``r`` is
    R, ``pnl_usd`` money, both net.

    Raises:
        InvalidDataError: the file cannot be read, has no trade, or a line is wrong.
    """
    trades = [trade for trade, _, _ in read_trade_lines(path)]
    trades.sort(key=lambda each: (each.opened_at_ms, each.closed_at_ms, each.strategy, each.symbol))
    return tuple(trades)


def read_trade_lines(
    path: Path, further: tuple[str, ...] = ()
) -> tuple[tuple[ResultOfTrade, str, Mapping[str, str]], ...]:
    """Return each line's trade, its place for messages, and its cells by column.

    Args:
        path: a CSV file; its first line names ``COLUMNS`` and ``further``, in any order.
        further: columns that the caller reads; their cells may be blank.

    Raises:
        InvalidDataError: the file cannot be read, has no trade, or a line is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            trades = tuple(_read_lines(path, file, further))
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from error
    except OSError as error:
        raise InvalidDataError(
            f"{path} cannot be read: {error.strerror}; check the path and its permissions"
        ) from error
    if not trades:
        raise InvalidDataError(f"{path} has no trades; expected one line for each closed trade")
    return trades


def _read_lines(
    path: Path, file: TextIO, further: tuple[str, ...]
) -> Iterator[tuple[ResultOfTrade, str, Mapping[str, str]]]:
    columns = (*COLUMNS, *further)
    rows = csv.reader(_bounded(path, file), strict=True)
    line_of: dict[tuple[str, str, int], int] = {}
    place: dict[str, int] | None = None
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise InvalidDataError(
                f"{path}: line {rows.line_num} is not CSV: {error}; correct the line"
            ) from error
        line = rows.line_num
        if row is None:
            break
        if not row:
            continue  # an empty line
        cells = [cell.strip() for cell in row]
        if place is None:
            place = _place_columns(path, cells, columns)
            continue
        if len(cells) < len(place) or max(place.values()) >= len(cells):
            raise InvalidDataError(
                f"{path}: line {line} has {len(cells)} values, too few for the columns of line 1"
            )
        where, named = f"{path}: line {line}", {name: cells[at] for name, at in place.items()}
        trade = _read_trade(where, named)
        key = (trade.strategy, trade.symbol, trade.closed_at_ms)
        if key in line_of:
            raise InvalidDataError(
                f"{path}: line {line} repeats line {line_of[key]}: {show_text(trade.strategy)}"
                f" closed {show_text(trade.symbol)} at {trade.closed_at_ms} twice; delete one"
            )
        line_of[key] = line
        yield trade, where, named
    if place is None:
        raise InvalidDataError(f"{path} is empty; its first line must be {','.join(columns)}")


def _bounded(path: Path, file: TextIO) -> Iterator[str]:
    """Yield the lines of a file.

    Raises:
        InvalidDataError: there are more than ``TRADES_READ_MAX`` lines, or a line has more than
            ``ROW_CHARS_MAX`` characters.
    """
    for number in range(1, TRADES_READ_MAX + 2):
        line = file.readline(ROW_CHARS_MAX + 1)
        if not line:
            return
        if len(line) > ROW_CHARS_MAX or number > TRADES_READ_MAX:
            raise InvalidDataError(
                f"{path}: line {number} is beyond the limits of {TRADES_READ_MAX:,} lines and"
                f" {ROW_CHARS_MAX:,} characters a line; split the file"
            )
        yield line


def _place_columns(path: Path, header: list[str], columns: tuple[str, ...]) -> dict[str, int]:
    """Return the index of each of ``columns``.

    Raises:
        InvalidDataError: a column is missing or stands twice.
    """
    names = [name.lower() for name in header]
    missing = [name for name in columns if name not in names]
    twice = sorted({name for name in columns if names.count(name) > 1})
    if missing or twice:
        what = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(twice)} twice"
        raise InvalidDataError(
            f"{path}: line 1 {what}; its first line must be {','.join(columns)}, not"
            f" {show_text(','.join(header))}"
        )
    return {name: names.index(name) for name in columns}


def _read_trade(where: str, cells: Mapping[str, str]) -> ResultOfTrade:
    for name in COLUMNS:
        if not cells[name]:
            raise InvalidDataError(f"{where}: {name} is blank; a closed trade has every value")
    for name in ("strategy", "symbol"):
        if len(cells[name]) > CELL_CHARS_MAX:
            raise InvalidDataError(
                f"{where}: {name} has more than {CELL_CHARS_MAX} characters; shorten it"
            )
    opened_at_ms, closed_at_ms = (_read_time(where, name, cells[name]) for name in COLUMNS[1:3])
    r, pnl = (_read_number(where, name, cells[name]) for name in COLUMNS[4:])
    if closed_at_ms < opened_at_ms:
        raise InvalidDataError(
            f"{where}: closed_at_ms {closed_at_ms} is before opened_at_ms {opened_at_ms}"
        )
    if r * pnl < 0:
        raise InvalidDataError(
            f"{where}: r {r} and pnl_usd {pnl} have opposite signs; both are net of all costs"
        )
    return ResultOfTrade(
        strategy=cells["strategy"],
        symbol=cells["symbol"],
        opened_at_ms=opened_at_ms,
        closed_at_ms=closed_at_ms,
        r=r,
        pnl=pnl,
    )


def _read_time(where: str, name: str, cell: str) -> int:
    if not INTEGER.fullmatch(cell):
        raise InvalidDataError(
            f"{where}: {name} is {show_text(cell)}, not a whole number of ms since 1970"
        )
    if not TIMES_FROM_MS <= int(cell) < TIMES_UNTIL_MS:
        raise InvalidDataError(
            f"{where}: {name} is {cell}, which in ms since 1970 is not between"
            f" {utc_day(TIMES_FROM_MS)} and {utc_day(TIMES_UNTIL_MS)}; seconds or us must be"
            " converted to ms"
        )
    return int(cell)


def _read_number(where: str, name: str, cell: str) -> Decimal:
    if not DECIMAL_NUMBER.fullmatch(cell):
        raise InvalidDataError(
            f"{where}: {name} is {show_text(escape_text(cell))}, not a finite decimal number"
        )
    return Decimal(cell)
