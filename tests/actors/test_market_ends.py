"""A market that ends with an open position, which is settled without a halt."""

from __future__ import annotations

import contextlib
import sqlite3
from decimal import Decimal
from pathlib import Path

import attrs
import numpy as np
import pytest

from kamou.core.book.events import FillRecorded, StateChanged, TradeClosed
from kamou.core.day import MINUTE_MS
from kamou.runs.backtest import replay
from kamou.store.journal import read_events
from kamou.venue.market.recorded import RecordedMarket
from tests.actors import scripted_market
from tests.actors.still_market import MIDNIGHT_MS, still_market
from tests.actors.system_harness import strategy_files
from tests.actors.test_midnight import BARS

STEP_MS = 300_000


def ending(symbol: str, after_bars: int) -> RecordedMarket:
    """Return a market whose ``symbol`` has ``after_bars`` bars after midnight and no more."""
    whole = still_market(STEP_MS)
    bars, column = whole.data.bars, whole.symbols.index(symbol)
    columns = {}
    for name in ("open", "high", "low", "close", "volume"):
        columns[name] = getattr(bars, name).copy()
        columns[name][10 + after_bars :, column] = np.nan
    data = attrs.evolve(whole.data, bars=attrs.evolve(bars, **columns))
    return RecordedMarket(
        data, instruments=whole.instruments, half_spread=np.full(len(whole.symbols), 1.0)
    )


def test_a_position_in_a_market_that_ended_is_settled_without_a_halt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    minute = (MIDNIGHT_MS - scripted_market.START_MS) // MINUTE_MS
    monkeypatch.setitem(scripted_market.LINES, minute, (scripted_market.Line("AAA", 0.9),))
    path = tmp_path / "journal.sqlite3"
    whole = ending("AAA", 1)  # before the time limit
    assert whole.market_end("AAA") == (MIDNIGHT_MS + STEP_MS, 100.0)
    assert whole.market_end("BBB") is None
    with strategy_files():
        replay(BARS, whole, timerange=(MIDNIGHT_MS - 4 * STEP_MS, None), journal=path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        stored = [each.event for each in read_events(connection, 0)]
    settled = [e.fill for e in stored if type(e) is FillRecorded][-1]
    assert (settled.reason, settled.price) == ("settlement", Decimal(100))
    assert settled.at_ms == MIDNIGHT_MS + STEP_MS
    (closed,) = [e for e in stored if type(e) is TradeClosed]
    assert closed.exit_reason == "delisting"
    assert not [e for e in stored if type(e) is StateChanged]
