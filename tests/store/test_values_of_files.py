"""Values of files mean one thing, or the error says what is doubtful."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamou.core.day import DAY_MS
from kamou.store.importer import read_directory
from tests.store.market_files import BARS, START_MS, bar_rows
from tests.store.people_files import PLAIN, bar_lines, iso, write_lines

BEGIN_MS = START_MS - BARS * DAY_MS


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S-00:00"])
def test_daily_bars_with_iso_dates_open_at_midnight_of_utc(tmp_path: Path, form: str) -> None:
    rows = bar_rows(("BTCUSDT",))
    daily = [{**row, "ts": BEGIN_MS + at * DAY_MS} for at, row in enumerate(rows)]
    write_lines(
        tmp_path / "BTCUSDT.csv",
        [PLAIN.replace("ts", "date"), *bar_lines(daily, lambda at: iso(at, form))],
    )
    bars = read_directory([tmp_path], now_ms=START_MS, name="s").data.bars
    assert bars.open_ms.tolist() == [row["ts"] for row in daily]
    assert bars.period_ms == DAY_MS
