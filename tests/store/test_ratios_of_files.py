"""Long/short ratios come from exchanges' files of metrics, with who published them."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kamou.core.day import DAY_MS, MINUTE_MS
from kamou.core.market.bars import RatioSeries
from kamou.errors import InvalidDataError
from kamou.store.dataset_description import FILES, META, RATIOS_FILE, TOP_RATIOS_FILE
from kamou.store.digests import dataset_digest
from kamou.store.importer import (
    ImportReport,
    StoreOptions,
    import_directory,
    open_directory,
    open_market,
)
from kamou.store.market_data import DatasetSummary, list_datasets, load_dataset
from tests.store.market_files import (
    BARS,
    END_MS,
    HOUR_MS,
    NOW_MS,
    START_MS,
    SYMBOLS,
    Rows,
    bar_rows,
    write_csv,
    write_valid_files,
)
from tests.store.people_files import iso
from tests.store.test_odd_files import have_same_data

EVERY_MS = 30 * MINUTE_MS
ACCOUNTS, TOP = "count_long_short_ratio", "count_toptrader_long_short_ratio"


def metrics_rows(symbol: str, first_ms: int = START_MS, count: int = 2 * BARS) -> Rows:
    """Return rows as in Binance's public metrics; the first is at ``first_ms`` + EVERY_MS."""
    rng = np.random.default_rng([first_ms // HOUR_MS, *symbol.encode()])
    return [
        {
            "create_time": iso(first_ms + (at + 1) * EVERY_MS, "%Y-%m-%d %H:%M:%S"),
            "symbol": symbol,
            "sum_open_interest": round(1000 + 10 * rng.random(), 3),
            "sum_open_interest_value": 1e6,
            TOP: round(float(np.exp(rng.normal(0.2, 0.3))), 8),
            "sum_toptrader_long_short_ratio": 77.0,
            ACCOUNTS: round(float(np.exp(rng.normal(0.5, 0.3))), 8),
            "sum_taker_long_short_vol_ratio": 88.0,
        }
        for at in range(count)
    ]


def write_metrics(directory: Path) -> Path:
    """Write bars of all symbols, and daily files of metrics of two of them."""
    write_csv(directory / "bars.csv", bar_rows())
    for symbol in SYMBOLS[:2]:
        rows = metrics_rows(symbol)
        for day in range(2):
            name = f"{symbol}-metrics-2025-01-0{day + 1}.csv"
            write_csv(directory / "metrics" / symbol / name, rows[48 * day : 48 * (day + 1)])
    return directory


def write_changed(directory: Path, change: Callable[[Rows], object]) -> Path:
    write_csv(directory / "bars.csv", bar_rows())
    rows = metrics_rows("BTCUSDT")
    change(rows)
    write_csv(directory / "BTCUSDT-metrics-2025-01-01.csv", rows)
    return directory


def import_files(directory: Path, data_dir: Path) -> ImportReport:
    return import_directory(directory, data_dir, now_ms=NOW_MS)


def ratios_of(data_dir: Path, name: str) -> RatioSeries:
    ratios = open_market(data_dir, name, now_ms=NOW_MS).data.ratios
    assert ratios is not None
    return ratios


def read_cells(directory: Path, column: str) -> dict[tuple[str, int], float]:
    """Return a column of all files by symbol and time in ms, read with the csv module."""
    found = {}
    for path in sorted(directory.rglob("*metrics*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                at = datetime.strptime(row["create_time"], "%Y-%m-%d %H:%M:%S")
                key = (row["symbol"], round(at.replace(tzinfo=UTC).timestamp() * 1000))
                found[key] = float(row[column])
    return found


def cells_of(series: RatioSeries, values: np.ndarray[Any, Any]) -> dict[tuple[str, int], float]:
    return {
        (symbol, int(at_ms)): float(values[row, column])
        for column, symbol in enumerate(series.symbols)
        for row, at_ms in enumerate(series.available_ms)
        if not np.isnan(values[row, column])
    }


def test_the_ratios_of_accounts_are_stored_as_the_metrics_have_them(tmp_path: Path) -> None:
    source = write_metrics(tmp_path / "s")
    report = import_files(source, tmp_path / "data")
    ratios = ratios_of(tmp_path / "data", "s")
    assert cells_of(ratios, ratios.values) == read_cells(source, ACCOUNTS)
    assert cells_of(ratios, ratios.top_traders) == read_cells(source, TOP)
    assert ratios.period_ms == EVERY_MS
    rows = 2 * 2 * BARS
    assert (report.summary.ratio_rows, report.summary.open_interest_rows) == (rows, rows)
    (listed,) = list_datasets(tmp_path / "data")
    assert isinstance(listed, DatasetSummary)
    assert (listed.ratio_rows, listed.ratio_source) == (rows, "binance")
    kinds = {each.kind for each in report.taken}
    assert kinds == {
        "bars",
        "open interest, long/short ratio, top traders' long/short ratio",
    }


def test_a_dry_run_counts_the_ratios_and_stores_nothing(tmp_path: Path) -> None:
    report = import_directory(
        write_metrics(tmp_path / "s"),
        tmp_path / "data",
        now_ms=NOW_MS,
        storing=StoreOptions(dry_run=True),
    )
    assert report.summary.ratio_rows == 4 * BARS
    assert not (tmp_path / "data").exists()


def test_a_dataset_without_ratios_is_stored_in_the_files_and_fields_of_before(
    tmp_path: Path,
) -> None:
    path = import_files(write_valid_files(tmp_path / "s"), tmp_path / "data").summary.path
    assert {each.name for each in path.iterdir()} == {META, *FILES}
    assert list(json.loads((path / META).read_text())) == [
        *("format", "source", "period_ms", "first_ms", "last_ms", "bars", "funding_rows"),
        *("open_interest_rows", "funding_period_ms", "open_interest_period_ms", "symbols"),
        *("ranges", "gaps", "gaps_total", "files", "sha256"),
    ]
    market = open_market(tmp_path / "data", "s", now_ms=NOW_MS)
    assert not len(market.long_short_ratios(0, NOW_MS).available_ms)


def test_a_dataset_with_ratios_of_another_store_is_checked_and_has_the_same_data(
    tmp_path: Path,
) -> None:
    path = import_files(write_metrics(tmp_path / "s"), tmp_path / "data").summary.path
    here = load_dataset(path)
    there = open_directory(path, now_ms=NOW_MS, data_dir=tmp_path / "other")
    assert have_same_data(here, there)
    assert there.data.ratio_source == "binance"
    copy = Path(shutil.copytree(path, tmp_path / "copies" / "s"))
    assert import_files(copy, tmp_path / "data").unchanged


@pytest.mark.parametrize("file", [RATIOS_FILE, TOP_RATIOS_FILE])
@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_changed_or_missing_file_of_ratios_is_an_error(
    tmp_path: Path, file: str, damage: str
) -> None:
    path = import_files(write_metrics(tmp_path / "s"), tmp_path / "data").summary.path
    table = pq.read_table(path / file)
    (path / file).unlink()
    if damage == "changed":
        pq.write_table(table.slice(1), path / file)
    with pytest.raises(InvalidDataError, match=file):
        open_market(tmp_path / "data", "s", now_ms=NOW_MS)


def put(row: int, column: str, value: object) -> Callable[[Rows], object]:
    return lambda rows: rows[row].update({column: value})


BAD: dict[str, tuple[Callable[[Rows], object], str]] = {
    "nan": (put(2, ACCOUNTS, "nan"), "row 3, BTCUSDT, .*the value is NaN"),
    "infinite": (put(2, ACCOUNTS, "inf"), "row 3, BTCUSDT, .*infinite"),
    "zero": (put(2, ACCOUNTS, 0), "row 3, BTCUSDT, .*the ratio is not positive"),
    "negative": (put(4, ACCOUNTS, -1.5), "row 5, BTCUSDT, .*the ratio is not positive"),
    "huge": (put(4, ACCOUNTS, 1e9), r"row 5, BTCUSDT, .*the ratio is above 1e\+06"),
    "top_nan": (put(2, TOP, "nan"), "row 3, BTCUSDT, .*the value is NaN"),
    "top_zero": (put(2, TOP, 0), "row 3, BTCUSDT, .*the ratio is not positive"),
    "text": (put(2, ACCOUNTS, "many"), "row 3: count_long_short_ratio is 'many', not a number"),
    "unsorted": (lambda rows: rows.insert(2, rows.pop(7)), "row 4, BTCUSDT, .*sort by time"),
    "twice": (lambda rows: rows.insert(2, rows[2]), "row 4, BTCUSDT, .*remove one of them"),
    "future": (
        put(2 * BARS - 1, "create_time", iso(END_MS + DAY_MS, "%Y-%m-%d %H:%M:%S")),
        "row 96, BTCUSDT, .*in the future",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_an_invalid_ratio_is_refused_with_file_row_and_reason(tmp_path: Path, case: str) -> None:
    change, reason = BAD[case]
    source = write_changed(tmp_path / "s", change)
    with pytest.raises(InvalidDataError, match=f"(?s)BTCUSDT-metrics-2025-01-01.csv: {reason}"):
        import_files(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_two_files_with_different_ratios_of_one_time_are_an_error(tmp_path: Path) -> None:
    source = write_metrics(tmp_path / "s")
    rows = metrics_rows("BTCUSDT")[:5]
    rows[3][ACCOUNTS] = 9.5
    write_csv(source / "BTCUSDT-metrics-2025-01-01b.csv", rows)
    with pytest.raises(InvalidDataError, match=r"two different long/short ratio values of BTCUSDT"):
        import_files(source, tmp_path / "data")


def test_an_empty_cell_is_no_ratio_and_a_note_counts_it(tmp_path: Path) -> None:
    def empty(rows: Rows) -> None:
        rows[2][ACCOUNTS] = rows[3][TOP] = rows[4][TOP] = None

    report = import_files(write_changed(tmp_path / "s", empty), tmp_path / "data")
    assert report.summary.ratio_rows == 2 * BARS - 1
    assert "1 row without a long/short ratio" in report.notes
    assert "2 rows without a top traders' long/short ratio" in report.notes
    ratios = ratios_of(tmp_path / "data", "s")
    column = ratios.symbols.index("BTCUSDT")
    assert np.isnan(ratios.top_traders[2:4, column]).all()
    assert START_MS + 3 * EVERY_MS not in ratios.available_ms.tolist()


def only(*names: str) -> Callable[[Rows], object]:
    def keep(rows: Rows) -> None:
        for row in rows:
            for name in set(row) - {"create_time", "symbol", *names}:
                del row[name]

    return keep


def test_ratios_of_accounts_are_read_without_open_interest_and_top_traders(tmp_path: Path) -> None:
    report = import_files(write_changed(tmp_path / "s", only(ACCOUNTS)), tmp_path / "data")
    assert (report.summary.ratio_rows, report.summary.open_interest_rows) == (2 * BARS, 0)
    assert not (report.summary.path / "top_trader_ratios.parquet").exists()
    assert np.isnan(ratios_of(tmp_path / "data", "s").top_traders).all()


def test_ratios_of_top_traders_alone_are_left_out_with_a_note(tmp_path: Path) -> None:
    report = import_files(write_changed(tmp_path / "s", only(TOP)), tmp_path / "data")
    assert report.summary.ratio_rows == 0
    assert any("used only beside that of all accounts" in each for each in report.notes)


@pytest.mark.parametrize("column", ["sum_toptrader_long_short_ratio", "long_account"])
def test_a_file_with_another_figure_of_accounts_is_left_out(tmp_path: Path, column: str) -> None:
    def rename(rows: Rows) -> None:
        only(TOP)(rows)
        for row in rows:
            row[column] = row.pop(TOP)

    report = import_files(write_changed(tmp_path / "s", rename), tmp_path / "data")
    assert report.summary.ratio_rows == 0
    assert "ratios have count_long_short_ratio" in report.skipped[0].reason


@pytest.mark.parametrize(
    ("folder", "column", "source"),
    [
        ("x", ACCOUNTS, "binance"),
        ("bybit", ACCOUNTS, "bybit"),
        ("x", "global_account_ls", ""),
        ("okx", "global_account_ls", "okx"),
    ],
)
def test_the_source_of_ratios_is_the_exchange_in_a_name_or_that_of_the_layout(
    tmp_path: Path, folder: str, column: str, source: str
) -> None:
    rows = metrics_rows("BTCUSDT")
    for row in rows:
        row[column] = row.pop(ACCOUNTS)
    write_csv(tmp_path / "s" / "bars.csv", bar_rows())
    write_csv(tmp_path / "s" / folder / "ratios.csv", rows)
    summary = import_files(tmp_path / "s", tmp_path / "data").summary
    assert (summary.ratio_rows, summary.ratio_source) == (2 * BARS, source)


def test_the_ratios_in_a_table_of_bars_are_not_read(tmp_path: Path) -> None:
    rows = [{**row, ACCOUNTS: 1.5} for row in bar_rows()]
    write_csv(tmp_path / "s" / "bars.csv", rows)
    assert import_files(tmp_path / "s", tmp_path / "data").summary.ratio_rows == 0


@pytest.mark.real
@pytest.mark.skipif("KAMOU_SHARED" not in os.environ, reason="KAMOU_SHARED is not set")
def test_the_recorded_ratios_of_a_real_market_are_imported(tmp_path: Path) -> None:
    recorded = Path(os.environ["KAMOU_SHARED"]) / "data" / "long_short_ratio_5m"
    start_ms = 1_715_212_800_000  # 2024-05-09
    bars = write_csv(tmp_path / "bars.csv", bar_rows(("BTCUSDT",), 48, start_ms))
    report = import_directory(
        (bars, recorded), tmp_path / "data", now_ms=NOW_MS, storing=StoreOptions(name="real")
    )
    assert (report.summary.ratio_rows, report.summary.ratio_source) == (139, "")
    assert report.summary.open_interest_rows == 139
    ratios = ratios_of(tmp_path / "data", "real")
    assert ratios.period_ms == 5 * MINUTE_MS
    assert (ratios.values[0, 0], ratios.top_traders[0, 0]) == (1.8369, 1.7747)
    assert (ratios.values[-1, 0], ratios.top_traders[-1, 0]) == (1.6441, 1.7465)


FOREIGN: dict[str, tuple[dict[str, object], str]] = {
    "rows": ({"ratio_rows": 5}, "the files in ratio_rows"),
    "period": ({"ratio_period_ms": 1}, "the files in ratio_period_ms"),
    "no_period": ({"ratio_period_ms": None}, "the files in ratio_period_ms"),
    "period_0": ({"ratio_period_ms": 0}, r"at `\$.ratio_period_ms`"),
    "source": ({"ratio_source": "a\nresults: http://x"}, "ratio_source must be"),
    "long_source": ({"ratio_source": "a" * 121}, "ratio_source must have at most"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_dataset_whose_description_differs_from_its_ratios_is_refused(
    tmp_path: Path, case: str
) -> None:
    changes, reason = FOREIGN[case]
    path = import_files(write_metrics(tmp_path / "s"), tmp_path / "data").summary.path
    fields = json.loads((path / META).read_text())
    (path / META).write_text(json.dumps(fields | changes))
    with pytest.raises(InvalidDataError, match=reason):
        open_market(tmp_path / "data", "s", now_ms=NOW_MS)


def test_a_ratio_in_a_foreign_dataset_is_checked(tmp_path: Path) -> None:
    path = import_files(write_metrics(tmp_path / "s"), tmp_path / "data").summary.path
    table = pq.read_table(path / RATIOS_FILE)
    cells = table["BTCUSDT"].to_pylist()
    cells[5] = -1.0
    at = table.schema.names.index("BTCUSDT")
    pq.write_table(table.set_column(at, "BTCUSDT", pa.array(cells)), path / RATIOS_FILE)
    fields = json.loads((path / META).read_text())
    names = (*FILES, RATIOS_FILE, TOP_RATIOS_FILE)
    hashes = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}
    together = hashlib.sha256("".join(hashes.values()).encode()).hexdigest()
    (path / META).write_text(json.dumps(fields | {"files": hashes, "sha256": together}))
    with pytest.raises(InvalidDataError, match=r"row 6, BTCUSDT.*the ratio is not positive"):
        open_market(tmp_path / "data", "s", now_ms=NOW_MS)


@pytest.mark.parametrize("file", [RATIOS_FILE, TOP_RATIOS_FILE])
def test_the_digest_of_a_dataset_covers_its_ratios(tmp_path: Path, file: str) -> None:
    path = import_files(write_metrics(tmp_path / "s"), tmp_path / "data").summary.path
    before = dataset_digest(path, 2**30)
    pq.write_table(pq.read_table(path / file).slice(1), path / file)
    assert dataset_digest(path, 2**30) != before
