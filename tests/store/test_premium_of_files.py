"""The premium index comes from exchanges' bars of it, each known at its close."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kamou.core.market.bars import Series
from kamou.errors import InvalidDataError
from kamou.store.dataset_description import FILES, META, PREMIUM_FILE
from kamou.store.file_names import Role, read_names_of
from kamou.store.foreign_files import SourceFile
from kamou.store.importer import import_directory, open_directory, open_market
from kamou.store.market_data import load_dataset
from tests.store.malicious_files import rehash
from tests.store.market_files import (
    BARS,
    END_MS,
    HOUR_MS,
    NOW_MS,
    START_MS,
    Rows,
    bar_rows,
    write_csv,
)
from tests.store.people_files import write_lines
from tests.store.test_odd_files import have_same_data

FOLDER = "premiumIndexKlines"


def premium_rows(symbol: str = "BTCUSDT", every_h: int = 1) -> Rows:
    """Return bars of the premium index as Binance publishes them; values have both signs."""
    rng = np.random.default_rng([*symbol.encode()])
    return [
        {
            "open_time": START_MS + hour * HOUR_MS,
            **{name: round(float(rng.normal(0, 0.0005)), 8) for name in ("open", "high", "low")},
            "close": round(float(rng.normal(0, 0.0005)), 8),
            "volume": 0,
            "close_time": START_MS + (hour + every_h) * HOUR_MS - 1,
            "quote_volume": 0,
            "count": 12,
            "taker_buy_volume": 0,
            "taker_buy_quote_volume": 0,
            "ignore": 0,
        }
        for hour in range(0, BARS, every_h)
    ]


def write_files(directory: Path, change: Callable[[Rows], object] = lambda rows: None) -> Path:
    """Write bars, and the premium index of BTCUSDT in the folders of public archives."""
    write_csv(directory / "bars.csv", bar_rows())
    rows = premium_rows()
    change(rows)
    write_csv(directory / FOLDER / "BTCUSDT" / "1h" / "BTCUSDT-1h-2025-01.csv", rows)
    return directory


def premium_of(source: Path, data_dir: Path) -> Series:
    import_directory(source, data_dir, now_ms=NOW_MS)
    market = open_market(data_dir, source.name, now_ms=NOW_MS)
    assert market.data.premium is not None
    return market.premium_index(0, NOW_MS)


def cells_of(series: Series, symbol: str = "BTCUSDT") -> dict[int, float]:
    values = series.values[:, series.symbols.index(symbol)]
    pairs = zip(series.available_ms.tolist(), values.tolist(), strict=True)
    return {at_ms: value for at_ms, value in pairs if value == value}


def closes_of(path: Path) -> dict[int, float]:
    """Return the closes in a file by the times of the closes, read with the csv module."""
    with path.open(newline="") as file:
        return {int(row["close_time"]) + 1: float(row["close"]) for row in csv.DictReader(file)}


def test_each_close_of_the_premium_index_is_known_at_the_close_of_its_bar(tmp_path: Path) -> None:
    source = write_files(tmp_path / "s")
    (path,) = source.rglob("BTCUSDT-1h-2025-01.csv")
    found = cells_of(premium_of(source, tmp_path / "data"))
    assert found == closes_of(path)
    assert min(found.values()) < 0 < max(found.values())
    assert (min(found), max(found)) == (START_MS + HOUR_MS, END_MS)
    summary = load_dataset(tmp_path / "data" / "market" / "s").data
    assert summary.ratios is None


def test_a_zip_without_a_header_says_the_premium_index_by_its_name(tmp_path: Path) -> None:
    plain = premium_of(write_files(tmp_path / "s"), tmp_path / "data")
    write_csv(tmp_path / "z" / "bars.csv", bar_rows())
    lines = [",".join(map(str, row.values())) for row in premium_rows()]
    path = tmp_path / "z" / "BTCUSDT-1h-premiumIndexKlines-2025-01.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("BTCUSDT-1h-2025-01.csv", "\n".join(lines) + "\n")
    assert cells_of(premium_of(tmp_path / "z", tmp_path / "data")) == cells_of(plain)


def test_a_summary_counts_the_premium_index_of_symbols_with_bars(tmp_path: Path) -> None:
    source = write_files(tmp_path / "s")
    write_csv(source / FOLDER / "NEWUSDT-1h.csv", premium_rows("NEWUSDT"))
    report = import_directory(source, tmp_path / "data", now_ms=NOW_MS)
    assert report.summary.premium_rows == BARS
    assert "premium index of NEWUSDT left out; these symbols have no bars" in report.notes
    assert {each.kind for each in report.taken} == {"bars", "premium index"}


def test_a_dataset_with_a_premium_index_of_another_store_has_the_same_data(tmp_path: Path) -> None:
    path = import_directory(
        write_files(tmp_path / "s"), tmp_path / "data", now_ms=NOW_MS
    ).summary.path
    there = open_directory(path, now_ms=NOW_MS, data_dir=tmp_path / "other")
    assert have_same_data(load_dataset(path), there)
    assert set(json.loads((path / META).read_text())["files"]) == {*FILES, PREMIUM_FILE}


def test_a_premium_index_in_a_foreign_dataset_is_checked(tmp_path: Path) -> None:
    path = import_directory(
        write_files(tmp_path / "s"), tmp_path / "data", now_ms=NOW_MS
    ).summary.path
    table = pq.read_table(path / PREMIUM_FILE)
    cells = table["BTCUSDT"].to_pylist()
    cells[5] = 0.6
    at = table.schema.names.index("BTCUSDT")
    pq.write_table(table.set_column(at, "BTCUSDT", pa.array(cells)), path / PREMIUM_FILE)
    rehash(path)
    with pytest.raises(InvalidDataError, match=r"row 6, BTCUSDT, .*beyond"):
        open_market(tmp_path / "data", "s", now_ms=NOW_MS)


def test_the_finer_of_two_periods_is_used_and_the_coarser_before_it(tmp_path: Path) -> None:
    source = write_files(tmp_path / "s", lambda rows: rows.__delitem__(slice(0, 24)))
    coarse = premium_rows(every_h=4)
    write_csv(source / FOLDER / "BTCUSDT" / "4h" / "BTCUSDT-4h-2025-01.csv", coarse)
    found = cells_of(premium_of(source, tmp_path / "data"))
    fine = {row["open_time"] + HOUR_MS: row["close"] for row in premium_rows()[24:]}
    early = {row["open_time"] + 4 * HOUR_MS: row["close"] for row in coarse[:6]}
    assert found == early | fine


def test_bars_of_the_premium_index_of_another_period_than_their_name_are_known_later(
    tmp_path: Path,
) -> None:
    write_csv(tmp_path / "s" / "bars.csv", bar_rows())
    write_csv(tmp_path / "s" / FOLDER / "BTCUSDT-4h.csv", premium_rows())
    write_csv(tmp_path / "s" / FOLDER / "ETHUSDT-1h.csv", premium_rows("ETHUSDT", every_h=4))
    now_ms = END_MS + 4 * HOUR_MS
    import_directory(tmp_path / "s", tmp_path / "data", now_ms=now_ms)
    premium = load_dataset(tmp_path / "data" / "market" / "s").data.premium
    assert premium is not None
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert min(cells_of(premium, symbol)) == START_MS + 4 * HOUR_MS


def test_one_bar_without_a_period_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "s" / "bars.csv", bar_rows())
    write_csv(tmp_path / "s" / FOLDER / "BTCUSDT.csv", premium_rows()[:1])
    with pytest.raises(InvalidDataError, match=r"BTCUSDT.csv: .*no period in the name"):
        import_directory(tmp_path / "s", tmp_path / "data", now_ms=NOW_MS)


def put(row: int, column: str, value: object) -> Callable[[Rows], object]:
    return lambda rows: rows[row].update({column: value})


BAD: dict[str, tuple[Callable[[Rows], object], str]] = {
    "nan": (put(2, "close", "nan"), "row 3, BTCUSDT, .*the value is NaN"),
    "empty": (put(2, "close", None), "row 3, BTCUSDT, .*missing"),
    "above": (put(2, "close", 0.51), r"row 3, BTCUSDT, .*beyond \+-0.5; expected a fraction"),
    "below": (put(2, "close", -0.51), r"row 3, BTCUSDT, .*beyond \+-0.5"),
    "price": (put(9, "close", 97_000), r"row 10, BTCUSDT, .*beyond \+-0.5"),
    "text": (put(2, "close", "low"), "row 3: close is 'low', not a number"),
    "unsorted": (lambda rows: rows.insert(2, rows.pop(7)), "row 4, BTCUSDT, .*sort by time"),
    "twice": (lambda rows: rows.insert(2, rows[2]), "row 4, BTCUSDT, .*remove one of them"),
    "future": (
        put(BARS - 1, "open_time", NOW_MS - HOUR_MS + 1),
        "row 48, BTCUSDT, .*closes in the future",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_an_invalid_premium_index_is_refused_with_file_row_and_reason(
    tmp_path: Path, case: str
) -> None:
    change, reason = BAD[case]
    source = write_files(tmp_path / "s", change)
    with pytest.raises(InvalidDataError, match=f"(?s)BTCUSDT-1h-2025-01.csv: {reason}"):
        import_directory(source, tmp_path / "data", now_ms=NOW_MS)
    assert not (tmp_path / "data").exists()


def test_a_premium_index_that_is_as_large_as_half_the_price_is_valid(tmp_path: Path) -> None:
    source = write_files(tmp_path / "s", put(2, "close", -0.5))
    found = cells_of(premium_of(source, tmp_path / "data"))
    assert found[START_MS + 3 * HOUR_MS] == -0.5


@pytest.mark.parametrize("columns", ["time,premium", "time,mark_price,last_funding_rate"])
def test_a_file_with_the_name_but_without_bars_is_left_out(tmp_path: Path, columns: str) -> None:
    write_csv(tmp_path / "s" / "bars.csv", bar_rows())
    cells = ",".join(["1735689600000", *["0.1"] * columns.count(",")])
    write_lines(tmp_path / "s" / FOLDER / "BTCUSDT-1h.csv", [columns, cells])
    report = import_directory(tmp_path / "s", tmp_path / "data", now_ms=NOW_MS)
    assert (report.summary.premium_rows, report.summary.funding_rows) == (0, 0)
    assert report.skipped[0].reason.startswith("premium index by its name, but no bars")


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("premiumIndexKlines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip", Role.PREMIUM),
        ("binance_premiumIndexKlines/BTCUSDT-1h-2025-01.csv", Role.PREMIUM),
        ("premium_index/BTCUSDT.csv", Role.PREMIUM),
        ("x/BTCUSDT-1h-premiumIndexKlines-2025-01.csv", Role.PREMIUM),
        ("x/BTC_USDT_USDT-1h-premiumIndex.feather", Role.PREMIUM),
        ("markPriceKlines/BTCUSDT-1h.csv", Role.OTHER_PRICES),
        ("indexPriceKlines/BTCUSDT-1h.csv", Role.OTHER_PRICES),
        ("premium/BTCUSDT-1h.csv", Role.OTHER_PRICES),
        ("klines/BTCUSDT-1h.csv", None),
    ],
)
def test_names_say_the_premium_index_and_not_other_prices(path: str, role: Role | None) -> None:
    *folders, _ = path.split("/")
    found = read_names_of(SourceFile(path=Path(path), shown=path, folders=tuple(folders)))
    assert found.role is role
