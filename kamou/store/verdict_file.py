"""CSV files of closed shadow trades with verdicts, for ``kamou refiner value``."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from kamou.core.kinds import RefinerVerdict
from kamou.core.record.refiner_value import JudgedTrade
from kamou.errors import InvalidDataError
from kamou.escaping import show_text
from kamou.store.gate_file import DECIMAL_NUMBER, INTEGER, read_trade_lines

VERDICT_COLUMNS = ("verdict", "score", "p_win_pct", "cost_usd")
"""Columns beside those of a gate's file. ``p_win_pct`` and ``cost_usd`` may be blank."""

MODEL_VERDICTS = (RefinerVerdict.APPROVE, RefinerVerdict.REFUSE, RefinerVerdict.SHRINK)


def read_verdict_file(path: Path) -> tuple[JudgedTrade, ...]:
    """Return the trades of a CSV file on which a model gave a verdict, in its order.

    Lines without a verdict are left out: their verdict is blank, off, advisory or unanswered. A
    blank cost is 0.

    Raises:
        InvalidDataError: the file cannot be read, has no trade with a verdict, or a line is wrong.
    """
    judged = []
    for trade, where, cells in read_trade_lines(path, VERDICT_COLUMNS):
        verdict = _read_verdict(where, cells["verdict"])
        if verdict is None:
            continue
        judged.append(
            JudgedTrade(
                strategy=trade.strategy,
                symbol=trade.symbol,
                opened_at_ms=trade.opened_at_ms,
                closed_at_ms=trade.closed_at_ms,
                r=trade.r,
                verdict=verdict,
                score=_read_score(where, cells["score"]),
                p_win_pct=_read_percentage(where, cells),
                cost_usd=_read_cost(where, cells["cost_usd"]),
            )
        )
    if not judged:
        raise InvalidDataError(
            f"{path} has no trade with a verdict of a model; expected approve, refuse or shrink in"
            " the column verdict"
        )
    return tuple(judged)


def _read_verdict(where: str, cell: str) -> RefinerVerdict | None:
    """Return the verdict of a model; None for a line without one."""
    if not cell:
        return None
    if cell not in list(RefinerVerdict):
        raise InvalidDataError(
            f"{where}: verdict is {show_text(cell)}; expected approve, refuse or shrink, or a blank"
            " if no model was asked"
        )
    verdict = RefinerVerdict(cell)
    return verdict if verdict in MODEL_VERDICTS else None


def _read_score(where: str, cell: str) -> float:
    if not DECIMAL_NUMBER.fullmatch(cell) or not 0 <= Decimal(cell) <= 1:
        raise InvalidDataError(f"{where}: score is {show_text(cell)}, not a number from 0 to 1")
    return float(cell)


def _read_percentage(where: str, cells: Mapping[str, str]) -> int | None:
    cell = cells["p_win_pct"]
    if not cell:
        return None
    if not INTEGER.fullmatch(cell) or int(cell) > 100:
        raise InvalidDataError(
            f"{where}: p_win_pct is {show_text(cell)}, not a whole number from 0 to 100"
        )
    return int(cell)


def _read_cost(where: str, cell: str) -> Decimal:
    if not cell:
        return Decimal(0)
    if not DECIMAL_NUMBER.fullmatch(cell) or Decimal(cell) < 0:
        raise InvalidDataError(
            f"{where}: cost_usd is {show_text(cell)}, not a number of at least 0"
        )
    return Decimal(cell)
