"""Text of open positions and pending entries, at any width and height."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from kamou.commands.figures import (
    NONE,
    moment_text,
    money_text,
    percent_text,
    price_text,
    r_multiple_text,
    span_text,
)
from kamou.commands.text_layout import (
    GAP,
    align_columns,
    count_cells,
    cut,
    flow,
    limit_lines,
    measure_widest,
    wrap,
)
from kamou.core.day import utc_day
from kamou.core.model import ZERO
from kamou.core.words import strategy_name
from kamou.escaping import escape_text

PositionRow = Mapping[str, Any]

SYMBOL_CELLS_MAX = 24  # of a symbol in a table; a longer one is cut, but not in --json
NO_STOP = "NO STOP"
UNCONFIRMED = "NOT CONFIRMED"

WIDE = (
    "symbol", "side", "size", "entry", "mark", "stop", "to stop", "unrealized", "R", "age",
    "strategy",
)  # fmt: skip
BRIEF = ("symbol", "side", "unrealized", "R", "to stop", "age", "size", "mark")
"""Columns by importance; as many as fit are shown."""
LEFT = frozenset({"symbol", "side", "strategy"})


def position_lines(book: Mapping[str, Any], width: int, height: int | None = None) -> list[str]:
    """Return a heading and the positions: a table if it fits, else a few lines each.

    If these lines exceed ``height``, each position gets one line with fewer figures, and positions
    that still do not fit are counted.

    Args:
        book: the document of ``commands.book.describe_account``.
        width: cells of a line.
        height: maximum number of lines; None: no maximum.
    """
    rows, now_ms = book["positions"], book["as_of_ms"]
    heading = flow(_heading(book), width, indent="")
    if not rows:
        return heading
    shown = [_format_figures(row, now_ms) for row in rows]
    table = _table(WIDE, shown)
    body = table if measure_widest(table) <= width else _cards(shown, width)
    if height is None or len(heading) + len(body) <= height:
        return [*heading, *body]
    heading = [cut(GAP.join(_heading(book, "at")), width)]
    brief = _brief_table(shown, width)
    room = height - len(heading)
    if len(brief) > room:
        kept = max(0, room - 2)  # the other lines: the table's header and the count of the rest
        brief = [*brief[: kept + 1], cut(_omitted_positions(rows[kept:]), width)][-max(0, room) :]
    return [*heading, *brief][: max(0, height)]


def entry_lines(book: Mapping[str, Any], width: int, height: int | None = None) -> list[str]:
    """Return lines about the entry orders that may still fill; empty without any.

    Each order is one line or more, of ``width`` cells. With a ``height``, each is one line, and
    orders beyond the height are counted.
    """
    rows = book["pending_entries"]
    if not rows:
        return []
    lines = [f"pending entries: {len(rows)}"]
    for row in rows:
        filled = f"filled {price_text(row['filled'])}" if Decimal(row["filled"]) else ""
        limit = (
            f"limit {price_text(row['limit_price'])}"
            if row["limit_price"]
            else _escape(row["type"])
        )
        parts = (
            f"{_escape(row['symbol'])} {_escape(row['side'])} "
            f"{price_text(row['quantity'])} contracts",
            limit,
            filled,
            f"{_escape(row['status'])}, {span_text(row['intended_at_ms'], book['as_of_ms'])}",
            strategy_name(_escape(row["strategy"])),
        )
        pieces = [part for part in parts if part]
        if height is None:
            lines += flow(pieces, width)
        else:
            lines.append(cut("  " + GAP.join(pieces), width))
    return lines if height is None else limit_lines(lines, height, "more pending entries")


def describe_unprotected(book: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each position whose stop is not confirmed."""
    return [
        _unprotected_sentence(row, book["as_of_ms"])
        for row in book["positions"]
        if _is_unprotected(row)
    ]


def _unprotected_sentence(row: PositionRow, now_ms: int) -> str:
    since = row.get("unprotected_since_ms")
    lasting = f" for {span_text(since, now_ms)}" if since else ""
    at = price_text(row["stop_price"])
    if row["stop_price"] is None:
        stop = "there is no stop"
    elif row["stop_quantity"] is None:
        status = _escape(row["stop_status"])
        stop = f"its stop at {at} was not read back from the venue (its order is {status})"
    else:
        covered, held = price_text(row["stop_quantity"]), price_text(row["quantity"])
        stop = f"its stop at {at} covers {covered} of {held} contracts"
    return f"{_escape(row['symbol'])} {_escape(row['side'])} is NOT PROTECTED{lasting}: {stop}"


def _is_unprotected(row: PositionRow) -> bool:
    return not row["stop_confirmed"]


def _heading(book: Mapping[str, Any], as_of: str = "marks as of") -> list[str]:
    rows = book["positions"]
    if not rows:
        return ["positions: none"]
    pieces = [f"positions: {len(rows)}", _unrealized_sum(rows, str(book["currency"]))]
    times = [row["mark_at_ms"] for row in rows if row["mark_at_ms"] is not None]
    if times:
        pieces.append(f"{as_of} {_clock_time(min(times), book['as_of_ms'])}")
    return pieces


def _clock_time(at_ms: int, now_ms: int) -> str:
    """Return the UTC time of day, with the date unless it is the day of ``now_ms``."""
    said = moment_text(at_ms)
    return said.partition(" ")[2] if utc_day(at_ms) == utc_day(now_ms) else said


def _unrealized_sum(rows: Sequence[PositionRow], currency: str) -> str:
    known = [Decimal(row["unrealized_pnl"]) for row in rows if row["unrealized_pnl"] is not None]
    if not known:
        return "marks not known"
    total = f"unrealized {money_text(sum(known, ZERO), signed=True)} {_escape(currency)}"
    missing = len(rows) - len(known)
    return f"{total}, {missing} without a mark" if missing else total


def _omitted_positions(rows: Sequence[PositionRow]) -> str:
    """Return the number of positions left out, with their unrealized PnL if known."""
    known = [Decimal(row["unrealized_pnl"]) for row in rows if row["unrealized_pnl"] is not None]
    line = f"+ {len(rows)} more"
    return f"{line}, unrealized {money_text(sum(known, ZERO), signed=True)}" if known else line


def _format_figures(row: PositionRow, now_ms: int) -> dict[str, str]:
    stop, to_stop = price_text(row["stop_price"]), percent_text(row["stop_distance"])
    if row["stop_price"] is None:
        stop = to_stop = NO_STOP
    elif _is_unprotected(row):
        stop, to_stop = f"{stop} {UNCONFIRMED}", UNCONFIRMED
    return {
        "symbol": _escape(row["symbol"]),
        "side": _escape(row["side"]),
        "size": price_text(row["quantity_base"]),
        "entry": price_text(row["entry_price"]),
        "mark": price_text(row["mark_price"]),
        "stop": stop,
        "to stop": to_stop,
        "unrealized": money_text(row["unrealized_pnl"], signed=True),
        "R": NONE if row["r"] is None else money_text(row["r"], signed=True),
        "R in words": r_multiple_text(row["r"]),
        "age": span_text(row["opened_at_ms"], now_ms),
        "strategy": strategy_name(_escape(row["strategy"])) or NONE,
    }


def _table(names: Sequence[str], shown: Sequence[Mapping[str, str]]) -> list[str]:
    def cell(each: Mapping[str, str], name: str) -> str:
        return cut(each[name], SYMBOL_CELLS_MAX) if name in ("symbol", "strategy") else each[name]

    rows = [tuple(names), *(tuple(cell(each, name) for name in names) for each in shown)]
    right = [number for number, name in enumerate(names) if name not in LEFT]
    return ["  " + line for line in align_columns(rows, right=right)]


def _brief_table(shown: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Return a header and one line for each position, with the columns that fit."""
    for count in range(len(BRIEF), 1, -1):
        table = _table(BRIEF[:count], shown)
        if measure_widest(table) <= width:
            return table
    return [cut(line, width) for line in _table(BRIEF[:1], shown)]


def _cards(shown: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Return a few lines for each position, for a width too small for a table."""
    lines = []
    for each in shown:
        left = f"  {each['symbol']} {each['side']} {each['size']}"
        right = f"{each['unrealized']}{GAP}{each['R in words']}"
        gap = width - count_cells(left) - count_cells(right)
        if gap >= len(GAP):
            lines.append(left + " " * gap + right)
        else:
            lines += wrap(left, width, hang="    ") + wrap(f"    {right}", width, hang="    ")
        away = f" ({each['to stop']} away)" if each["to stop"][:1].isdigit() else ""
        beyond = f" (mark beyond it by {each['to stop'][1:]})"
        if each["to stop"].startswith("-") and each["to stop"] != NONE:
            away = beyond
        pieces = (
            f"entry {each['entry']}",
            f"mark {each['mark']}",
            each["stop"] if each["stop"] == NO_STOP else f"stop {each['stop']}{away}",
            each["age"],
            each["strategy"],
        )
        lines += flow(pieces, width, indent="    ")
    return lines


def _escape(text: object) -> str:
    return escape_text(str(text), chars_max=100)
