"""Later bars of a recording do not change what a backtest did before them."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from kamou.core.book.events import Event
from kamou.core.book.instrument_events import InstrumentChanged
from kamou.core.day import HOUR_MS
from kamou.core.market.bars import Bars, Dataset, Series, empty_series
from kamou.core.model import Instrument
from kamou.runs.backtest import replay
from kamou.settings.config import Settings
from kamou.store.journal import read_events
from kamou.venue.market.recorded import RecordedMarket

START_MS = 1_737_504_000_000  # 2025-01-22, so symbols are ranked again at hour 240
BARS = 360
SYMBOLS = tuple(f"{letter * 3}USDT" for letter in "ABCDEFGH")
FIRST_CUT = 200  # bars; trades begin after the warm-up
SWITCH_H = 240  # from this hour on funding settles each hour, from hour 290 on every 4 h
END_BAR = 330  # of CCCUSDT
RISEN_BAR = 260  # from here on HHHUSDT costs more than 10
FINER_BAR = 250  # from here on DDDUSDT has 3 decimals, before it has 1


def make_market() -> RecordedMarket:
    """Return hourly bars whose tick, lot, ranks of turnover and funding interval change.

    CCCUSDT ends early. Prices jump.
    """
    rng = np.random.default_rng(5)
    shape = (BARS, len(SYMBOLS))
    pulled = np.zeros(shape)
    for bar in range(1, BARS):
        shock = 0.004 * rng.standard_normal(shape[1])
        shock += 0.04 * rng.choice([-1, 1], shape[1]) * (rng.random(shape[1]) < 0.02)
        pulled[bar] = 0.9 * pulled[bar - 1] + shock
    pulled[RISEN_BAR:, 7] += np.log(3.0)
    close = np.round(np.geomspace(100.0, 5.0, len(SYMBOLS)) * np.exp(pulled), 3)
    opened = np.vstack([close[:1], close[:-1]])
    spread = 0.002 * close
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) + spread,
        "low": np.minimum(opened, close) - spread,
        "close": close,
        "volume": 5e6 * np.exp(np.cumsum(0.05 * rng.standard_normal(shape), axis=0)),
    }
    columns = {name: np.round(each, 3) for name, each in columns.items()}
    for each in columns.values():
        each[:FINER_BAR, 3] = np.round(each[:FINER_BAR, 3], 1)
    for each in columns.values():
        each[END_BAR:, 2] = np.nan
    open_ms = START_MS + HOUR_MS * np.arange(BARS, dtype=np.int64)
    hours = [*range(0, SWITCH_H, 8), *range(SWITCH_H, 290), *range(290, BARS, 4)]
    funding = Series(
        symbols=SYMBOLS,
        available_ms=START_MS + HOUR_MS * np.array(hours, dtype=np.int64),
        values=np.full((len(hours), len(SYMBOLS)), 0.0001),
        period_ms=8 * HOUR_MS,
    )
    bars = Bars(symbols=SYMBOLS, period_ms=HOUR_MS, open_ms=open_ms, **columns)
    interest = empty_series(SYMBOLS, 4 * HOUR_MS)
    return RecordedMarket(Dataset(name="cut", bars=bars, funding=funding, open_interest=interest))


def facts_until(market: RecordedMarket, until_ms: int, path: Path) -> list[Event]:
    """Return the events of a backtest before an instant."""
    replay(Settings(), market, journal=path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        stored = [each.event for each in read_events(connection, 0)]
    return [each for each in stored if each.at_ms < until_ms]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    path = tmp_path_factory.mktemp("whole") / "journal.sqlite3"
    return facts_until(make_market(), 2**62, path)


@pytest.mark.parametrize("seed", range(3))
def test_a_recording_that_is_cut_gives_the_same_backtest_until_the_cut(
    whole: list[Event], tmp_path: Path, seed: int
) -> None:
    bars = int(np.random.default_rng(seed).integers(FIRST_CUT, BARS))
    cut_ms = START_MS + bars * HOUR_MS
    cut = RecordedMarket(make_market().restrict(to_ms=cut_ms).data)
    facts = facts_until(cut, cut_ms, tmp_path / "journal.sqlite3")
    assert facts == [each for each in whole if each.at_ms < cut_ms]
    assert len(facts) > 300


def test_the_backtest_that_is_cut_has_changes_of_the_contracts_in_it(whole: list[Event]) -> None:
    listed = [each for each in whole if isinstance(each, InstrumentChanged)]
    changed: dict[str, list[Instrument]] = {symbol: [] for symbol in SYMBOLS}
    for each in listed:
        changed[each.instrument.symbol].append(each.instrument)
    finer = [each.tick for each in changed["DDDUSDT"]]
    assert finer[1] > finer[-1]
    assert changed["HHHUSDT"][1].lot > changed["HHHUSDT"][-1].lot
    intervals = {each.instrument.funding_interval_h for each in listed}
    assert intervals == {1, 4, 8}
