"""The same data in any layout that people have is the same dataset, or the error says why not."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pytest

from kamou.core.day import HOUR_MS
from kamou.errors import InvalidDataError
from kamou.store.importer import ReadOptions, StoreOptions, import_directory, read_directory
from kamou.store.joined_files import CheckedFiles
from kamou.venue.market.recorded import RecordedMarket
from tests.store.market_files import (
    NOW_MS,
    bar_rows,
    write_csv,
    write_parquet,
    write_valid_files,
)
from tests.store.people_files import (
    BARS_ONLY,
    FREQTRADE,
    PLAIN,
    bar_lines,
    bars_of,
    frame,
    iso,
    per_symbol,
    write_lines,
    write_stranger,
)
from tests.store.test_odd_files import have_same_data


def read(*sources: Path, **options: Any) -> CheckedFiles:
    return read_directory(sources, now_ms=NOW_MS, name="s", options=ReadOptions(**options))


def import_error(*sources: Path, **options: Any) -> str:
    with pytest.raises(InvalidDataError) as caught:
        read(*sources, **options)
    return str(caught.value)


def have_same_rows(left: CheckedFiles, right: CheckedFiles) -> bool:
    return have_same_data(RecordedMarket(left.data), RecordedMarket(right.data))


@pytest.fixture
def bars(tmp_path: Path) -> CheckedFiles:
    write_parquet(tmp_path / "plain" / "c.parquet", bar_rows())
    return read(tmp_path / "plain")


@pytest.mark.parametrize("layout", BARS_ONLY)
def test_the_same_bars_in_another_layout_are_the_same_dataset(
    tmp_path: Path, bars: CheckedFiles, layout: str
) -> None:
    BARS_ONLY[layout](tmp_path / "s")
    assert have_same_rows(read(tmp_path / "s"), bars)


def test_a_folder_of_each_kind_is_one_dataset_by_one_path_or_by_three(tmp_path: Path) -> None:
    write_stranger(tmp_path / "s")
    plain = read(write_valid_files(tmp_path / "plain"))
    one = read(tmp_path / "s")
    three = read(*(tmp_path / "s" / each for each in ("oi_4h", "candles", "funding")))
    assert have_same_rows(one, plain)
    assert have_same_rows(three, plain)
    report = import_directory(
        [tmp_path / "s" / "candles", tmp_path / "s" / "funding"], tmp_path / "data", now_ms=NOW_MS
    )
    assert (report.summary.name, report.summary.funding_rows) == ("s", 18)


@pytest.mark.parametrize("layout", FREQTRADE)
def test_the_data_directory_of_freqtrade_is_a_dataset_without_marks_and_spot(
    tmp_path: Path, layout: str
) -> None:
    FREQTRADE[layout](tmp_path / "user_data")
    found = read(tmp_path / "user_data")
    plain = write_valid_files(tmp_path / "plain")
    (plain / "open_interest_4h.csv.gz").unlink()
    assert have_same_rows(found, read(plain))
    assert {each.reason for each in found.skipped} == {
        "mark, index or premium prices, by the name of the file or its folder",
        "spot bars; another file has those of the perpetual",
    }


def test_bars_of_several_periods_need_a_choice(tmp_path: Path, bars: CheckedFiles) -> None:
    BARS_ONLY["microseconds"](tmp_path / "s" / "1h")
    for row in bars_of("BTCUSDT")[:3]:
        write_lines(tmp_path / "s" / "1d" / "BTCUSDT.csv", [PLAIN, *bar_lines([row])])
    error = import_error(tmp_path / "s")
    assert "bars of several periods: 1 h (3 files), 1 d (1 file); choose one with" in error
    chosen = read(tmp_path / "s", period_ms=HOUR_MS)
    assert have_same_rows(chosen, bars)
    assert [each.file for each in chosen.skipped] == ["1d/BTCUSDT.csv"]


def test_bars_of_several_exchanges_need_a_choice(tmp_path: Path, bars: CheckedFiles) -> None:
    BARS_ONLY["microseconds"](tmp_path / "s" / "bybit")
    BARS_ONLY["seconds"](tmp_path / "s" / "okx")
    assert "several exchanges: bybit (3 files), okx (3 files)" in import_error(tmp_path / "s")
    assert have_same_rows(read(tmp_path / "s", venue="okx"), bars)


def test_a_file_that_does_not_say_its_symbol_needs_the_option_for_it(tmp_path: Path) -> None:
    write_lines(tmp_path / "s" / "c.csv", [PLAIN, *bar_lines(bars_of("BTCUSDT"))])
    assert "no symbol in its name" in import_error(tmp_path / "s")
    for source in (tmp_path / "s", tmp_path / "s" / "c.csv"):
        assert read(source, symbol="XUSDT").data.bars.symbols == ("XUSDT",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (lambda at: at // 1000, "row 31: ts is '{s}', in seconds, expected milliseconds as in"),
        (lambda at: at * 1000, "row 31: ts is '{us}', in microseconds, expected milliseconds as"),
        (iso, "row 31: ts is '2025-01-02T06:00:00+00:00', expected a time in whole seconds"),
    ],
)
def test_a_file_with_times_in_two_units_is_invalid(tmp_path: Path, row: Any, reason: str) -> None:
    rows = bars_of("BTCUSDT")
    at_ms = rows[30]["ts"]
    rows[30]["ts"] = row(at_ms)
    write_lines(tmp_path / "BTCUSDT.csv", [PLAIN, *bar_lines(rows, lambda at: at)])
    expected = reason.format(s=at_ms // 1000, us=at_ms * 1000)
    assert f"BTCUSDT.csv: {expected}" in import_error(tmp_path)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (
            per_symbol(PLAIN, time=lambda at: f"{at:.5E}"),
            "row 1: ts is '1.73569E+12', a number that a spreadsheet shortened",
        ),
        (
            per_symbol(PLAIN, time=lambda at: iso(at, "%d/%m/%Y %H:%M")),
            "row 1: ts is '01/01/2025 00:00', expected a time in whole",
        ),
        (per_symbol(PLAIN, time=lambda at: at + 0.5), "expected a time in whole"),
        (per_symbol(PLAIN, time=lambda at: at * 1000 + 7), "not a whole millisecond"),
        (
            per_symbol(PLAIN, change=lambda line: line.replace(",", ";").replace(".", ",", 1)),
            "not a number with a decimal comma",
        ),
        (per_symbol("close_time,open,high,low,close,volume"), "no column of times"),
    ],
)
def test_the_error_for_a_layout_that_can_mean_several_things_is_one_line(
    tmp_path: Path, write: Any, reason: str
) -> None:
    write(tmp_path / "s")
    error = import_error(tmp_path / "s")
    assert reason in error
    assert len(error.splitlines()) == 1


def test_the_error_for_hourly_bars_whose_times_are_dates_is_one_line(tmp_path: Path) -> None:
    table = frame(bars_of("BTCUSDT"))
    (tmp_path / "s").mkdir()
    dates = table.set_column(0, "date", table["date"].cast(pa.date32()))
    pa.feather.write_feather(dates, tmp_path / "s" / "BTCUSDT.feather", compression="zstd")
    error = import_error(tmp_path / "s")
    assert "its times are dates without hours): 46 rows invalid: BTCUSDT.feather: row 2" in error
    assert len(error.splitlines()) == 1


def test_a_name_with_other_dates_than_its_rows_gives_a_note(tmp_path: Path) -> None:
    per_symbol("", name="{}-1h-2020-01.csv")(tmp_path / "s")
    (note,) = read(tmp_path / "s").notes
    assert note == (
        "the dates of the rows are used, not those of the name, in BTCUSDT-1h-2020-01.csv, "
        "DOGEUSDT-1h-2020-01.csv, ETHUSDT-1h-2020-01.csv"
    )


def test_an_archive_of_two_files_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with zipfile.ZipFile(tmp_path / "s" / "BTCUSDT.zip", "w") as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, "\n".join([PLAIN, *bar_lines(bars_of("BTCUSDT"))]))
    assert "BTCUSDT.zip: the archive has 2 files, expected one" in import_error(tmp_path / "s")


def test_a_table_with_a_column_for_each_symbol_is_funding_if_its_name_says_so(
    tmp_path: Path,
) -> None:
    BARS_ONLY["seconds"](tmp_path / "s")
    rates = ["timestamp,BTCUSDT,ETHUSDT", "1735689600000,0.0001,", "1735718400000,0.0002,0.0003"]
    write_lines(tmp_path / "s" / "funding_rates.csv", rates)
    funding = read(tmp_path / "s").data.funding
    assert [[*map(str, row)] for row in funding.values.tolist()] == [
        ["0.0001", "nan", "nan"],
        ["0.0002", "nan", "0.0003"],
    ]


def test_funding_with_another_writing_of_a_symbol_is_funding_of_that_symbol(tmp_path: Path) -> None:
    BARS_ONLY["seconds"](tmp_path / "s")
    rates = ["symbol,fundingTime,fundingRate", "BTC/USDT:USDT,1735689600000,0.0001"]
    write_lines(tmp_path / "s" / "f.csv", rates)
    found = read(tmp_path / "s")
    assert found.data.funding.values.tolist()[0][0] == 0.0001
    assert not found.notes


def test_a_dry_run_says_what_each_file_was_taken_for_and_stores_nothing(tmp_path: Path) -> None:
    write_stranger(tmp_path / "s")
    report = import_directory(
        tmp_path / "s", tmp_path / "data", now_ms=NOW_MS, storing=StoreOptions(dry_run=True)
    )
    assert (report.summary.name, report.summary.bars) == ("s", 144)
    taken = {each.file: each for each in report.taken}
    assert len(taken) == 9
    file = taken["oi_4h/BTCUSDT.csv"]
    assert (file.kind, file.symbols, file.period_ms) == (
        "open interest",
        "1 symbol by the column symbol",
        4 * HOUR_MS,
    )
    assert file.time == "timestamp in milliseconds"
    assert taken["candles/BTCUSDT.csv"].symbols == "BTCUSDT by its name"
    assert not (tmp_path / "data").exists()


def test_invalid_rows_are_counted_by_kind_with_the_first_of_each(tmp_path: Path) -> None:
    rows = bar_rows()
    for row in rows[3:25]:
        row["low"] = row["high"] + 1
    rows[30]["volume"] = -1.0
    write_csv(tmp_path / "s" / "c.csv", rows)
    error = import_error(tmp_path / "s")
    assert "23 rows invalid (rows count from 1, without headers):\n" in error
    assert error.count("c.csv: row 4, ETHUSDT, 2025-01-01T03:00:00Z: ") == 2  # high and low
    assert error.count("; 21 more like it\n") == 2
    assert "c.csv: row 31, ETHUSDT, 2025-01-02T06:00:00Z: a price is not positive or" in error
    assert "--allow-gaps" not in error
    assert len(error.splitlines()) == 5


def test_invalid_rows_of_one_kind_in_many_files_are_one_line_of_the_error(tmp_path: Path) -> None:
    for at in range(40):
        rows = bar_rows((f"S{at:02}USDT",))
        for row in rows:
            row["high"] = row["low"] - 1
            del row["symbol"]
        write_csv(tmp_path / "s" / f"S{at:02}USDT.csv", rows)
        (tmp_path / "s" / f"S{at:02}.md").touch()
    error = import_error(tmp_path / "s")
    assert "S00USDT.csv: row 1, S00USDT, 2025-01-01T00:00:00Z: high is below" in error
    assert error.count("; 1,919 more like it in 40 files") == 2  # of high, of low
    assert len(error.splitlines()) == 4


def test_arrays_on_one_long_line_are_bars_and_other_json_is_left_out(
    tmp_path: Path, bars: CheckedFiles
) -> None:
    rows = [{**row, "close": f"{row['close']:.2000f}"} for row in bar_rows()]
    for symbol in ("BTCUSDT", "ETHUSDT", "DOGEUSDT"):
        lines = bar_lines([row for row in rows if row["symbol"] == symbol])
        text = "[[" + "],[".join(lines) + "]]"
        write_lines(tmp_path / "s" / f"{symbol}.json", [text])
    write_lines(tmp_path / "s" / "status.json", ['{"symbols": 3}'])
    write_lines(tmp_path / "s" / "BTC_USDT_USDT-trades.json", ['[[1,"a","b","buy",1,1,1]]'])
    found = read(tmp_path / "s")
    assert have_same_rows(found, bars)
    assert {each.file for each in found.skipped} == {"status.json", "BTC_USDT_USDT-trades.json"}
