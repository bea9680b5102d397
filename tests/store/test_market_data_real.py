"""Imports of real recorded data. They need the directory that KAMOU_SHARED names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from kamou.core.day import HOUR_MS
from kamou.errors import InvalidDataError
from kamou.store.importer import ReadOptions, import_directory, open_directory
from kamou.store.market_data import load_dataset

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("KAMOU_SHARED" not in os.environ, reason="KAMOU_SHARED is not set"),
]

NOW_MS = 1_780_000_000_000  # 2026-05-28: after the last recording
CRASH_MS = 1_760_130_000_000  # 2025-10-10T21:00Z


def recorded_directory(name: str) -> Path:
    return Path(os.environ["KAMOU_SHARED"]) / "data" / name


def test_the_recorded_hourly_bars_of_152_symbols_import_completely(tmp_path: Path) -> None:
    report = import_directory(recorded_directory("um_1h_wide"), tmp_path, now_ms=NOW_MS)
    summary = report.summary
    assert (summary.symbols, summary.bars, summary.gaps_total) == (152, 683_544, 0)
    assert (summary.period_ms, summary.funding_rows, summary.open_interest_rows) == (
        HOUR_MS,
        30_400,
        25_534,
    )
    market = load_dataset(summary.path)
    assert market.recorded_bars == 683_544
    assert all(each.tick > 0 and each.lot > 0 for each in market.instruments)
    assert {each.funding_interval_h for each in market.instruments} <= {1, 4, 8}
    bar = market.segment(CRASH_MS, CRASH_MS + HOUR_MS)
    assert np.median(bar.low / bar.open - 1) < -0.5, "the crash of 2025-10-10 is missing"
    assert np.median(bar.range_atr) > 5


@pytest.mark.parametrize(
    ("name", "symbols", "bars"),
    [
        ("um_15m", 66, 913_176),
        ("um_1h_year", 38, 296_623),
        ("um_1h_long", 3, 97_272),
        ("um_5m_2023-07", 38, 353_321),
        ("um_1m_2023-07", 11, 537_792),
        ("um_1m_2025-06", 5, 215_997),
    ],
)
def test_a_recorded_directory_of_bars_opens_without_gaps(
    name: str, symbols: int, bars: int
) -> None:
    market = open_directory(recorded_directory(name), now_ms=NOW_MS)
    assert (len(market.symbols), market.recorded_bars) == (symbols, bars)


def test_a_recorded_venue_with_gaps_imports_only_if_gaps_are_allowed(tmp_path: Path) -> None:
    source = recorded_directory("multi_venue_1h")
    with pytest.raises(InvalidDataError, match="--venue"):
        import_directory(source, tmp_path, now_ms=NOW_MS)
    with pytest.raises(InvalidDataError, match="20 rows invalid"):
        import_directory(source, tmp_path, now_ms=NOW_MS, reading=ReadOptions(venue="hyperliquid"))
    report = import_directory(
        source, tmp_path, now_ms=NOW_MS, reading=ReadOptions(venue="hyperliquid", allow_gaps=True)
    )
    assert (report.summary.bars, report.summary.gaps_total) == (4_000, 20)


@pytest.mark.parametrize("name", ["macro", "um_funding_2025-05_2026-04"])
def test_a_recorded_directory_without_bars_is_invalid(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=": no bars; add a file"):
        import_directory(recorded_directory(name), tmp_path, now_ms=NOW_MS)
