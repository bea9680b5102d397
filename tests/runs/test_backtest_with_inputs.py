"""A backtest trades on the inputs of a dataset, and only on those known by then.

The inputs are long/short ratios and the premium index.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import attrs
import numpy as np
import pytest

from kamou.core.book.events import Event
from kamou.core.day import HOUR_MS
from kamou.core.market.bars import RatioSeries
from kamou.core.record.backtest_document import BacktestReport
from kamou.core.strategies.funding_fade import FundingFadeParameters
from kamou.runs.backtest import replay
from kamou.settings.config import Settings
from kamou.settings.strategies import StrategySettings
from kamou.store.importer import import_directory, open_market
from kamou.store.journal import read_events
from kamou.venue.market.recorded import RecordedMarket
from tests.runs.test_backtest_cut import BARS, START_MS, SYMBOLS, make_market
from tests.store.market_files import Rows, write_csv
from tests.store.people_files import iso

NOW_MS = START_MS + 2 * BARS * HOUR_MS
CUT_MS = START_MS + 300 * HOUR_MS
FADE = Settings(strategies=StrategySettings(enabled=("ratio_fade",)))
OF_FUNDING = Settings(
    strategies=StrategySettings(
        enabled=("funding_fade",),
        parameters={"funding_fade": FundingFadeParameters(settlements=12)},
    )
)


def write_bars(directory: Path) -> None:
    bars = make_market().data.bars
    names = ("open", "high", "low", "close", "volume")
    rows = [
        {
            "symbol": symbol,
            "ts": int(open_ms),
            **{name: float(getattr(bars, name)[row, column]) for name in names},
        }
        for column, symbol in enumerate(bars.symbols)
        for row, open_ms in enumerate(bars.open_ms)
        if not np.isnan(bars.close[row, column])
    ]
    write_csv(directory / "bars.csv", rows)


def write_metrics(directory: Path) -> None:
    """Write hourly ratios of each symbol; in one hour of ten most accounts are on one side."""
    rng = np.random.default_rng(11)
    for symbol in SYMBOLS:
        logs = rng.normal(0.2, 0.02, BARS)
        logs += 0.5 * rng.choice([-1, 1], BARS) * (rng.random(BARS) < 0.1)
        rows: Rows = [
            {
                "create_time": iso(START_MS + (at + 1) * HOUR_MS, "%Y-%m-%d %H:%M:%S"),
                "symbol": symbol,
                "count_long_short_ratio": round(float(np.exp(log)), 6),
            }
            for at, log in enumerate(logs)
        ]
        write_csv(directory / "metrics" / f"{symbol}-metrics.csv", rows)


def write_premium(directory: Path) -> None:
    """Write hourly bars of the premium index of each symbol, and a rate that never changes.

    A rate that never changes has no z-score, so that every signal is of the premium index.
    """
    rng = np.random.default_rng(12)
    rates: Rows = []
    for symbol in SYMBOLS:
        premium = np.cumsum(rng.normal(0, 0.0001, BARS)) / 3
        rows: Rows = [
            {
                "open_time": START_MS + at * HOUR_MS,
                **dict.fromkeys(("open", "high", "low"), 0.0),
                "close": round(float(value), 8),
            }
            for at, value in enumerate(premium)
        ]
        write_csv(directory / "premiumIndexKlines" / f"{symbol}-1h.csv", rows)
        rates += [
            {"symbol": symbol, "ts": START_MS + hour * HOUR_MS, "funding_rate": 0.0003}
            for hour in range(0, BARS, 8)
        ]
    write_csv(directory / "funding.csv", rates)


@pytest.fixture(scope="module")
def premium_market(tmp_path_factory: pytest.TempPathFactory) -> RecordedMarket:
    base = tmp_path_factory.mktemp("with_premium")
    write_bars(base / "s")
    write_premium(base / "s")
    import_directory(base / "s", base / "data", now_ms=NOW_MS)
    return open_market(base / "data", "s", now_ms=NOW_MS)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> RecordedMarket:
    base = tmp_path_factory.mktemp("with_ratios")
    write_bars(base / "s")
    write_metrics(base / "s")
    import_directory(base / "s", base / "data", now_ms=NOW_MS)
    return open_market(base / "data", "s", now_ms=NOW_MS)


def trade(
    market: RecordedMarket, path: Path, settings: Settings = FADE
) -> tuple[BacktestReport, list[Event]]:
    report = replay(settings, market, journal=path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return report, [each.event for each in read_events(connection, 0)]


@pytest.fixture(scope="module")
def whole(
    market: RecordedMarket, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BacktestReport, list[Event]]:
    return trade(market, tmp_path_factory.mktemp("whole") / "journal.sqlite3")


def before_cut(events: list[Event]) -> list[Event]:
    return [each for each in events if each.at_ms < CUT_MS]


def change_after(market: RecordedMarket, at_ms: int) -> RecordedMarket:
    """Return the market with the ratios after an instant turned around."""
    ratios = market.data.ratios
    assert ratios is not None
    later = (ratios.available_ms > at_ms)[:, np.newaxis]
    changed = attrs.evolve(ratios, values=np.where(later, 1 / ratios.values, ratios.values))
    return RecordedMarket(attrs.evolve(market.data, ratios=changed))


def test_the_ratio_fade_trades_on_imported_ratios(
    whole: tuple[BacktestReport, list[Event]],
) -> None:
    report, _ = whole
    fade = report["by_strategy"]["ratio_fade"]
    assert fade["candidates"] > 5
    assert fade["trades"] > 0
    assert report["violations"] == 0


def test_the_report_names_the_ratios_as_an_external_input_with_their_source(
    market: RecordedMarket, whole: tuple[BacktestReport, list[Event]]
) -> None:
    (line,) = [each for each in whole[0]["data_notes"] if each.startswith("external input")]
    rows = BARS * len(SYMBOLS)
    assert line == (
        f"external input: {rows:,} long/short ratios, not of this venue's accounts; source: binance"
    )
    assert market.data.ratio_source == "binance"


def test_without_ratios_the_ratio_fade_abstains_for_want_of_its_source(tmp_path: Path) -> None:
    report, _ = trade(make_market(), tmp_path / "journal.sqlite3")
    fade = report["by_strategy"]["ratio_fade"]
    assert fade["candidates"] == 0
    assert fade["abstained"]["SOURCE_MISSING"] > 0
    assert not any(each.startswith("external") for each in report["data_notes"])


def test_later_ratios_change_nothing_before_them(
    market: RecordedMarket, whole: tuple[BacktestReport, list[Event]], tmp_path: Path
) -> None:
    _, other = trade(change_after(market, CUT_MS - 1), tmp_path / "changed.sqlite3")
    assert before_cut(other) == before_cut(whole[1])
    assert other != whole[1], "the ratios after the cut have an effect after it"
    cut = RecordedMarket(market.restrict(to_ms=CUT_MS).data)
    _, ended = trade(cut, tmp_path / "cut.sqlite3")
    assert before_cut(ended) == before_cut(whole[1])


def test_a_ratio_counts_from_its_time_on_and_not_a_millisecond_before(
    market: RecordedMarket,
) -> None:
    ratios = market.data.ratios
    assert isinstance(ratios, RatioSeries)
    for row in (0, 1, BARS - 1):
        at_ms = int(ratios.available_ms[row])
        assert at_ms == START_MS + (row + 1) * HOUR_MS
        assert not len(market.long_short_ratios(at_ms - HOUR_MS, at_ms - 1).available_ms)
        assert market.long_short_ratios(at_ms - HOUR_MS, at_ms).available_ms.tolist() == [at_ms]


def test_a_restricted_market_has_the_ratios_of_its_symbols_and_of_its_past(
    market: RecordedMarket,
) -> None:
    part = market.restrict(("CCCUSDT", "AAAUSDT"), START_MS + 50 * HOUR_MS, CUT_MS)
    found = part.long_short_ratios(0, NOW_MS)
    whole = market.long_short_ratios(0, CUT_MS)
    assert isinstance(found, RatioSeries)
    assert found.symbols == ("AAAUSDT", "CCCUSDT")
    assert found.top_traders.shape == found.values.shape
    assert np.array_equal(found.available_ms, whole.available_ms)
    assert np.array_equal(found.values, whole.values[:, [0, 2]])


def test_the_funding_fade_trades_on_an_imported_premium_index_and_not_on_a_rate_that_stays(
    premium_market: RecordedMarket, tmp_path: Path
) -> None:
    report, _ = trade(premium_market, tmp_path / "premium.sqlite3", OF_FUNDING)
    fade = report["by_strategy"]["funding_fade"]
    assert fade["candidates"] > 5
    assert fade["trades"] > 0
    assert report["violations"] == 0
    without = RecordedMarket(attrs.evolve(premium_market.data, premium=None))
    report, _ = trade(without, tmp_path / "rate.sqlite3", OF_FUNDING)
    fade = report["by_strategy"]["funding_fade"]
    assert fade["candidates"] == 0
    assert fade["abstained"]["NO_TRIGGER"] > 0


def test_a_later_premium_index_changes_nothing_before_it(
    premium_market: RecordedMarket, tmp_path: Path
) -> None:
    premium = premium_market.data.premium
    assert premium is not None
    later = (premium.available_ms >= CUT_MS)[:, np.newaxis]
    changed = attrs.evolve(premium, values=np.where(later, -premium.values, premium.values))
    other = RecordedMarket(attrs.evolve(premium_market.data, premium=changed))
    cut = RecordedMarket(premium_market.restrict(to_ms=CUT_MS).data)
    _, whole = trade(premium_market, tmp_path / "whole.sqlite3", OF_FUNDING)
    _, found = trade(other, tmp_path / "changed.sqlite3", OF_FUNDING)
    assert before_cut(found) == before_cut(whole)
    assert found != whole, "the premium index after the cut has an effect after it"
    _, ended = trade(cut, tmp_path / "cut.sqlite3", OF_FUNDING)
    assert before_cut(ended) == before_cut(whole)


def test_a_restricted_market_has_the_premium_index_of_its_symbols_and_of_its_past(
    premium_market: RecordedMarket,
) -> None:
    part = premium_market.restrict(("CCCUSDT", "AAAUSDT"), START_MS + 50 * HOUR_MS, CUT_MS)
    found, whole = part.premium_index(0, NOW_MS), premium_market.premium_index(0, CUT_MS)
    assert found.symbols == ("AAAUSDT", "CCCUSDT")
    assert found.available_ms.tolist() == whole.available_ms.tolist()
    assert whole.available_ms[0] == START_MS + HOUR_MS
    assert np.array_equal(found.values, whole.values[:, [0, 2]])
