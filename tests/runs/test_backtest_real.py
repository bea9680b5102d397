"""Tests of backtests over recorded months of bars, with the crash of October 2025."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import attrs
import pytest

from kamou.clock import SystemClock
from kamou.runs.backtest import replay
from kamou.settings.config import Settings
from kamou.store.importer import import_directory, open_market

SHARED = os.environ.get("KAMOU_SHARED", "")
CRASH_MS = 1_760_130_000_000  # 2025-10-10T21:00Z

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not SHARED, reason="KAMOU_SHARED does not name the recorded market data"),
]


def test_an_imported_dataset_trades_without_its_source_and_breaks_no_hard_rule(
    tmp_path: Path,
) -> None:
    now_ms = SystemClock().now_ms()
    source = tmp_path / "um_1h_wide"
    shutil.copytree(Path(SHARED) / "data" / "um_1h_wide", source)
    import_directory(source, tmp_path / "data", now_ms=now_ms)
    source.rename(tmp_path / "elsewhere")
    market = open_market(tmp_path / "data", "um_1h_wide", now_ms=now_ms)
    assert (len(market.symbols), market.recorded_bars) == (152, 683_544)
    found = replay(Settings(), market)
    assert found["bars"] == 683_544
    assert found["orders"] > 0
    assert found["trades"] > 0
    assert found["violation_list"] == []


def test_the_october_crash_hits_open_positions_and_breaks_no_hard_rule(tmp_path: Path) -> None:
    market = open_market(
        tmp_path, str(Path(SHARED) / "data" / "um_15m"), now_ms=SystemClock().now_ms()
    )
    journal = tmp_path / "crash.sqlite3"
    days = (CRASH_MS - 2 * 86_400_000, CRASH_MS + 86_400_000)
    found = replay(Settings(), market, timerange=days, journal=journal)
    with sqlite3.connect(journal) as reader:
        (held,) = reader.execute(
            "SELECT count(*) FROM trade WHERE opened_at_ms < ? AND closed_at_ms >= ?",
            (CRASH_MS, CRASH_MS),
        ).fetchone()
    assert held > 0
    assert found["violation_list"] == []
    assert float(found["worst_overshoot_r"]) > 0.0


def test_the_same_days_give_the_same_report_and_another_currency_another_digest(
    tmp_path: Path,
) -> None:
    market = open_market(
        tmp_path, str(Path(SHARED) / "data" / "um_15m"), now_ms=SystemClock().now_ms()
    )
    days = (CRASH_MS - 86_400_000, CRASH_MS)
    # The recording has neither order flow nor account ratios, so two strategies abstain everywhere.
    first, second = (replay(Settings(), market, timerange=days) for _ in range(2))
    assert first["trades"] > 0
    assert first == second
    abstained = {line["code"]: line["count"] for line in first["refusals"] if line["tier"] == "T1"}
    assert abstained["SOURCE_MISSING"] >= 2 * first["symbols"] * first["cycles"]
    other = replay(attrs.evolve(Settings(), currency="USDC"), market, timerange=days)
    assert other["digest"] != first["digest"]
