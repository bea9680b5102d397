"""Ends and jumps of recorded symbols are in the report, with the trades that they touched."""

from __future__ import annotations

import sqlite3

import attrs
import numpy as np
import pytest

from kamou.core.day import HOUR_MS
from kamou.core.market.bars import Bars
from kamou.core.market.price_jumps import find_jumps
from kamou.runs.dataset_notes import describe_dataset_notes, find_dataset_notes
from kamou.venue.market.recorded import RecordedMarket
from tests.runs.test_backtest_cut import BARS, END_BAR, START_MS, make_market

JUMP_BAR = 100


@pytest.fixture
def market() -> RecordedMarket:
    """Return a market in which BBBUSDT misses 4 bars and goes on at a thousandth of its price."""
    data = make_market().data
    columns = {}
    for name in ("open", "high", "low", "close", "volume"):
        columns[name] = getattr(data.bars, name).copy()
        columns[name][JUMP_BAR - 4 : JUMP_BAR, 1] = np.nan
        if name != "volume":
            columns[name][JUMP_BAR:, 1] /= 1000
    return RecordedMarket(attrs.evolve(data, bars=attrs.evolve(data.bars, **columns)))


def journal(*trades: tuple[str, int, int, str, str]) -> sqlite3.Connection:
    """Return a journal with closed trades: symbol, opened, closed (bars), net, exit reason."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE trade (symbol, opened_at_ms, closed_at_ms, pnl_net, exit_reason)"
    )
    rows = [(s, START_MS + o * HOUR_MS, START_MS + c * HOUR_MS, n, r) for s, o, c, n, r in trades]
    connection.executemany("INSERT INTO trade VALUES (?, ?, ?, ?, ?)", rows)
    return connection


def test_a_jump_and_an_end_are_reported_with_their_trades(market: RecordedMarket) -> None:
    reader = journal(
        ("BBBUSDT", 90, 120, "-950.5", "stop_loss"),
        ("BBBUSDT", 20, 30, "7", "take_profit"),
        ("BBBUSDT", 101, 130, "5", "take_profit"),
        ("CCCUSDT", 320, END_BAR, "-3.25", "delisting"),
    )
    notes = find_dataset_notes(reader, market, START_MS, START_MS + BARS * HOUR_MS)
    (jump,), (ended,) = notes["jumps"], notes["ended"]
    assert (jump["symbol"], jump["missing_bars"], jump["trades"]) == ("BBBUSDT", 4, 1)
    assert jump["at_ms"] == START_MS + JUMP_BAR * HOUR_MS
    assert jump["factor"] == pytest.approx(0.001, rel=0.5)
    assert jump["pnl_net"] == "-950.5"
    assert (ended["symbol"], ended["settled"], ended["pnl_net"]) == ("CCCUSDT", 1, "-3.25")
    assert ended["at_ms"] == START_MS + END_BAR * HOUR_MS
    lines = describe_dataset_notes(notes)
    assert lines[0].startswith("CCCUSDT ended at 2025-02-04T18:00:00Z, last close ")
    assert lines[0].endswith("; 1 open trade settled at that close, net PnL -3.25")
    assert (
        "at 2025-01-26T04:00:00Z after 4 missing bars; 1 trade held over the jump, net PnL -950.50"
        in lines[1]
    )


def test_jumps_and_ends_outside_of_the_backtested_time_are_not_reported(
    market: RecordedMarket,
) -> None:
    until_ms = START_MS + (JUMP_BAR - 1) * HOUR_MS
    assert find_dataset_notes(journal(), market, START_MS, until_ms) == {"ended": [], "jumps": []}


def test_five_jumps_have_lines_and_the_others_are_counted(market: RecordedMarket) -> None:
    notes = find_dataset_notes(journal(), market, START_MS, START_MS + BARS * HOUR_MS)
    lines = describe_dataset_notes({**notes, "jumps": notes["jumps"] * 9})
    assert lines[-1] == "4 more jumps"
    assert len(lines) == 7


@pytest.mark.parametrize("start", [1.0, 0.07, 0.3, 0.0013])
@pytest.mark.parametrize(
    ("factor", "found"), [(9.9, 0), (10.0, 1), (10.1, 1), (0.11, 0), (0.1, 1), (0.09, 1)]
)
def test_a_jump_is_a_change_of_at_least_tenfold_up_or_down(
    start: float, factor: float, found: int
) -> None:
    close = np.array([[start], [np.nan], [round(start * factor, 9)]])
    bars = Bars(
        symbols=("A",),
        period_ms=HOUR_MS,
        open_ms=START_MS + HOUR_MS * np.arange(3, dtype=np.int64),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=close,
    )
    jumps = find_jumps(bars, 10.0)
    assert len(jumps) == found
    assert all(each.missing_bars == 1 and each.factor == pytest.approx(factor) for each in jumps)
