"""Notes on a backtest's data: symbols that ended, and tenfold jumps of prices."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from kamou.core.day import show_utc
from kamou.core.kinds import ExitReason
from kamou.core.market.price_jumps import find_jumps
from kamou.core.model import ZERO
from kamou.core.record.backtest_document import DatasetNotes, EndedSymbol, PriceJump
from kamou.core.words import count_words
from kamou.venue.market.recorded import RecordedMarket

JUMP_FACTOR = 10.0  # no market moves so far between two bars; a contract was redenominated
NOTES_SHOWN_MAX = 5  # lines of each kind; the document has all

_SETTLED = "SELECT pnl_net FROM trade WHERE symbol = ? AND exit_reason = ?"
_TRADES = "SELECT opened_at_ms, closed_at_ms, pnl_net FROM trade WHERE symbol = ?"


def find_dataset_notes(
    reader: sqlite3.Connection, market: RecordedMarket, from_ms: int, to_ms: int
) -> DatasetNotes:
    """Return the ended symbols and price jumps in ``[from_ms, to_ms]``, with trades.

    The trades of an ended symbol were settled at its end; those of a jump were open across it.

    Args:
        reader: a connection to the backtest's journal.
        market: the recorded market.
        from_ms: the first instant of the backtest.
        to_ms: the last instant of the backtest.
    """
    return {
        "ended": [
            each for each in _ended_symbols(reader, market) if from_ms <= each["at_ms"] <= to_ms
        ],
        "jumps": [
            each for each in _price_jumps(reader, market) if from_ms <= each["at_ms"] <= to_ms
        ],
    }


def describe_dataset_notes(notes: DatasetNotes) -> list[str]:
    """Return a line for each of the first ``NOTES_SHOWN_MAX`` notes of each kind.

    If there are more notes of a kind, one more line has their number.
    """
    ended = [
        f"{each['symbol']} ended at {show_utc(each['at_ms'])}, last close {each['last_close']:g}"
        + _settled_words(each)
        for each in notes["ended"]
    ]
    jumps = [
        f"{each['symbol']} jumped by a factor of {each['factor']:.3g} at {show_utc(each['at_ms'])}"
        + f" after {count_words(each['missing_bars'], 'missing bar')}" * (each["missing_bars"] > 0)
        + _jumped_words(each)
        for each in notes["jumps"]
    ]
    return [*_shorten(ended, "symbols ended"), *_shorten(jumps, "jumps")]


def describe_inputs(market: RecordedMarket) -> list[str]:
    """Return a line if the market has ratios: they are of another exchange."""
    data = market.data
    if data.ratios is None:
        return []
    rows = int(np.count_nonzero(~np.isnan(data.ratios.values)))
    source = data.ratio_source or "unknown, because no file or folder has its name"
    return [
        f"external input: {count_words(rows, 'long/short ratio')}, not of this venue's accounts; "
        f"source: {source}"
    ]


def _settled_words(ended: EndedSymbol) -> str:
    if not ended["settled"]:
        return ""
    trades = count_words(ended["settled"], "open trade")
    return f"; {trades} settled at that close, net PnL {Decimal(ended['pnl_net']):,.2f}"


def _jumped_words(jump: PriceJump) -> str:
    if not jump["trades"]:
        return "; no trade was open"
    net = f"{Decimal(jump['pnl_net']):,.2f}"
    return f"; {count_words(jump['trades'], 'trade')} held over the jump, net PnL {net}"


def _shorten(lines: Sequence[str], what: str) -> list[str]:
    more = len(lines) - NOTES_SHOWN_MAX
    return [*lines[:NOTES_SHOWN_MAX], *([f"{more:,} more {what}"] if more > 0 else [])]


def _ended_symbols(reader: sqlite3.Connection, market: RecordedMarket) -> list[EndedSymbol]:
    found: list[EndedSymbol] = []
    for symbol in market.symbols:
        end = market.market_end(symbol)
        if end is None:
            continue
        results = [
            Decimal(net) for (net,) in reader.execute(_SETTLED, (symbol, ExitReason.DELISTING))
        ]
        found.append(
            {
                "symbol": symbol,
                "at_ms": end[0],
                "last_close": end[1],
                "settled": len(results),
                "pnl_net": str(sum(results, ZERO)),
            }
        )
    return found


def _price_jumps(reader: sqlite3.Connection, market: RecordedMarket) -> list[PriceJump]:
    found: list[PriceJump] = []
    for jump in find_jumps(market.data.bars, JUMP_FACTOR):
        results = [
            Decimal(net)
            for opened_ms, closed_ms, net in reader.execute(_TRADES, (jump.symbol,))
            if opened_ms < jump.at_ms <= closed_ms
        ]
        found.append(
            {
                "symbol": jump.symbol,
                "after_ms": jump.after_ms,
                "at_ms": jump.at_ms,
                "factor": jump.factor,
                "missing_bars": jump.missing_bars,
                "trades": len(results),
                "pnl_net": str(sum(results, ZERO)),
            }
        )
    return found
