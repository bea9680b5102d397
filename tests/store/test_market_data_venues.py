"""Imports of files with several venues, and of bars with gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kamou.errors import InvalidDataError
from kamou.store.importer import ReadOptions, import_directory
from kamou.store.market_data import list_datasets, load_dataset
from tests.store.market_files import HOUR_MS, NOW_MS, START_MS, Rows, bar_rows, write_parquet


def import_error(source: Path, tmp_path: Path, reading: ReadOptions | None = None) -> str:
    with pytest.raises(InvalidDataError) as caught:
        import_directory(source, tmp_path / "data", now_ms=NOW_MS, reading=reading or ReadOptions())
    assert list_datasets(tmp_path / "data") == ()
    return str(caught.value)


def venue_folder(folder: Path) -> Path:
    rows: Rows = []
    for venue, missing in (("good", -1), ("gaps", 5)):
        for at, row in enumerate(bar_rows(("BTC", "ETH"))):
            if at != missing:
                short = {key[0]: row[key] for key in ("open", "high", "low", "close", "volume")}
                rows.append({"venue": venue, "coin": row["symbol"], **short, "ts": row["ts"]})
    write_parquet(folder / "bars.parquet", rows)
    return folder


def test_one_venue_of_several_must_be_chosen(tmp_path: Path) -> None:
    source = venue_folder(tmp_path / "venues")
    assert "and --venue (gaps, good)" in import_error(source, tmp_path)
    assert "no rows of venue 'other'; --venue can be gaps, good" in import_error(
        source, tmp_path, reading=ReadOptions(venue="other")
    )
    report = import_directory(
        source, tmp_path / "data", now_ms=NOW_MS, reading=ReadOptions(venue="good")
    )
    assert [each.symbol for each in report.summary.ranges] == ["BTCUSDT", "ETHUSDT"]


def test_gaps_are_invalid_unless_allowed_and_then_stored_as_missing_bars(tmp_path: Path) -> None:
    source = venue_folder(tmp_path / "venues")
    error = import_error(source, tmp_path, reading=ReadOptions(venue="gaps"))
    assert "bars.parquet: row 102, BTCUSDT, 2025-01-01T06:00:00Z: " in error
    assert "missing, 1 of them" in error
    assert "--allow-gaps" in error
    report = import_directory(
        source, tmp_path / "data", now_ms=NOW_MS, reading=ReadOptions(venue="gaps", allow_gaps=True)
    )
    assert report.summary.gaps_total == len(report.summary.gaps) == 1
    assert report.summary.gaps[0].after_ms == START_MS + 4 * HOUR_MS
    assert np.isnan(load_dataset(report.summary.path).data.bars.close[5, 0])
