"""Values of files mean one thing, or the error says what is doubtful."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pytest

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.store.importer import read_directory
from tests.store.market_files import BARS, START_MS, bar_rows, write_csv
from tests.store.people_files import (
    BARS_ONLY,
    FIELDS,
    PLAIN,
    bar_lines,
    bars_of,
    iso,
    per_symbol,
    write_lines,
)
from tests.store.test_files_as_people_have_them import have_same_rows, import_error, read

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


@pytest.mark.parametrize("finer_last", [True, False])
@pytest.mark.parametrize("coarse", [range(0, 24, 4), [0]])
def test_open_interest_of_a_longer_period_stays_outside_of_the_times_of_a_shorter_one(
    tmp_path: Path, coarse: range | list[int], *, finer_last: bool
) -> None:
    def interest(hours: range | list[int], value: float) -> list[dict[str, object]]:
        return [
            {"symbol": "BTCUSDT", "ts": START_MS + hour * HOUR_MS, "open_interest": value}
            for hour in hours
        ]

    write_csv(tmp_path / "bars.csv", bar_rows(("BTCUSDT",)))
    parts = [interest([*coarse, 25], 4.0), interest(range(24, 48), 1.0)]
    for name, part in zip("ab" if finer_last else "ba", parts, strict=True):
        write_csv(tmp_path / f"open_interest_{name}.csv", part)
    found = read(tmp_path).data.open_interest
    hours = ((found.available_ms - START_MS) // HOUR_MS).tolist()
    assert hours == [*coarse, *range(24, 48)]
    assert found.values[:, 0].tolist() == [4.0] * len(coarse) + [1.0] * 24


def test_bars_whose_name_does_not_say_spot_join_those_of_the_perpetual(tmp_path: Path) -> None:
    rows = bars_of("BTCUSDT")
    write_lines(tmp_path / "um" / "BTCUSDT-1h-2025-01-01.csv", [PLAIN, *bar_lines(rows[:24])])
    write_lines(tmp_path / "recent" / "BTCUSDT-1h-2025-01-02.csv", [PLAIN, *bar_lines(rows[24:])])
    found = read(tmp_path)
    assert (len(found.data.bars.open_ms), found.skipped) == (BARS, ())
    write_lines(tmp_path / "spot" / "BTCUSDT-1h-2025-01-02.csv", [PLAIN, *bar_lines(rows[24:])])
    (skipped,) = read(tmp_path).skipped
    assert skipped.file == "spot/BTCUSDT-1h-2025-01-02.csv"


@pytest.mark.parametrize("text", ["", "\n", PLAIN + "\n"])
def test_a_file_without_rows_is_invalid(tmp_path: Path, text: str) -> None:
    write_lines(tmp_path / "BTCUSDT.csv", [PLAIN, *bar_lines(bars_of("BTCUSDT"))])
    (tmp_path / "ETHUSDT.csv").write_text(text)
    assert import_error(tmp_path) == ("ETHUSDT.csv: no rows; remove the file or download it again")


def test_the_error_for_a_time_of_an_unknown_zone_shows_its_value(tmp_path: Path) -> None:
    rows = bars_of("BTCUSDT")
    stamps = [row["ts"] * 10**6 + 1 for row in rows]
    columns: dict[str, object] = {name: [float(row[name]) for row in rows] for name in FIELDS}
    columns["ts"] = pa.array(stamps, pa.timestamp("ns", "Mars/Phobos"))
    pa.feather.write_feather(pa.table(columns), tmp_path / "BTCUSDT.feather")
    assert f"BTCUSDT.feather: row 1: ts is {stamps[0]}" in import_error(tmp_path)


def test_a_file_with_the_newest_bar_first_is_the_same_dataset(tmp_path: Path) -> None:
    BARS_ONLY["seconds"](tmp_path / "plain")
    for name, symbols in (("one", ("BTCUSDT",)), ("all", ("ETHUSDT", "BTCUSDT", "DOGEUSDT"))):
        write_csv(tmp_path / name / "a.csv", bar_rows(symbols))
        write_csv(tmp_path / f"{name}_newest" / "a.csv", bar_rows(symbols)[::-1])
        assert have_same_rows(read(tmp_path / f"{name}_newest"), read(tmp_path / name))
    rows = bar_rows(("BTCUSDT",))[::-1]
    write_csv(tmp_path / "mixed" / "a.csv", [*rows[:5], rows[6], rows[5], *rows[7:]])
    assert "not sorted by time" in import_error(tmp_path / "mixed")
    write_csv(tmp_path / "twice" / "a.csv", [*rows[:5], rows[4], *rows[5:]])
    assert "is there twice" in import_error(tmp_path / "twice")


def test_semicolons_with_as_many_decimal_commas_are_the_delimiter(tmp_path: Path) -> None:
    per_symbol("", change=lambda line: line.replace(",", ";").replace(".", ","))(tmp_path / "s")
    BARS_ONLY["no header"](tmp_path / "plain")
    assert have_same_rows(read(tmp_path / "s"), read(tmp_path / "plain"))


def test_the_index_that_pandas_writes_to_parquet_is_the_time(tmp_path: Path) -> None:
    per_symbol(PLAIN.replace("ts", "__index_level_0__"))(tmp_path / "s")
    BARS_ONLY["seconds"](tmp_path / "plain")
    assert have_same_rows(read(tmp_path / "s"), read(tmp_path / "plain"))


@pytest.mark.parametrize("note", ["https://www.example.com", "sep=,", "sep=;"])
def test_a_line_above_the_header_is_named_in_the_error(tmp_path: Path, note: str) -> None:
    write_lines(tmp_path / "BTCUSDT.csv", [note, PLAIN, *bar_lines(bars_of("BTCUSDT"))])
    assert import_error(tmp_path) == (
        f"BTCUSDT.csv: line 1 is {note!r}, above the header; remove the line"
    )


@pytest.mark.parametrize("base", ["base_volume", "volume_base", "volCcy", "base_asset_volume"])
@pytest.mark.parametrize("other", ["volume", "vol", "v"])
def test_a_volume_in_base_units_counts_before_one_in_an_unknown_unit(
    tmp_path: Path, base: str, other: str
) -> None:
    header = f"{PLAIN.removesuffix('volume')}{other},{base}"
    lines = [f"{line},77" for line in bar_lines(bars_of("BTCUSDT"))]
    write_lines(tmp_path / "BTCUSDT.csv", [header, *lines])
    assert set(read(tmp_path).data.bars.volume[:, 0].tolist()) == {77.0}


def test_commas_that_may_separate_thousands_are_invalid(tmp_path: Path) -> None:
    rows = [{**row, **dict.fromkeys(FIELDS[:4], "97,000")} for row in bars_of("BTCUSDT")]
    lines = [";".join(map(str, (row["ts"], *(row[each] for each in FIELDS)))) for row in rows]
    write_lines(tmp_path / "BTCUSDT.csv", [PLAIN.replace(",", ";"), *lines])
    error = import_error(tmp_path)
    assert error.startswith(
        "BTCUSDT.csv: a number is '97,000': a decimal comma, or a comma between"
    )
    decimal = [line.replace("97,000", "97,00").replace("20.0", "1,000") for line in lines]
    write_lines(tmp_path / "BTCUSDT.csv", [PLAIN.replace(",", ";"), *decimal])
    assert set(read(tmp_path).data.bars.close[:, 0].tolist()) == {97.0}


def test_json_that_is_cut_after_its_first_row_is_invalid(tmp_path: Path) -> None:
    rows = [[row["ts"], *(row[name] for name in FIELDS)] for row in bars_of("BTCUSDT")[:4]]
    text = json.dumps(rows)
    path = tmp_path / "BTCUSDT.json"
    path.write_text(text + "\n")
    assert len(read(tmp_path).data.bars.open_ms) == 4
    for end in range(text.index("]") + 1, len(text)):
        path.write_text(text[:end])
        assert "the file is cut" in import_error(tmp_path)


@pytest.mark.parametrize("writing", ["BTC/USDT:USDT", "btcusdt", "BTC-USDT"])
def test_bars_of_one_symbol_in_two_writings_are_invalid(tmp_path: Path, writing: str) -> None:
    write_lines(tmp_path / "BTCUSDT.csv", [PLAIN, *bar_lines(bars_of("BTCUSDT")[:20])])
    write_csv(tmp_path / "c.csv", [{**row, "symbol": writing} for row in bars_of("BTCUSDT")[20:]])
    assert import_error(tmp_path).startswith(
        f"c.csv: the symbol {writing} is BTCUSDT of BTCUSDT.csv in another writing"
    )


def test_a_kind_of_market_in_the_column_of_symbols_is_invalid(tmp_path: Path) -> None:
    lines = [f"{line},spot" for line in bar_lines(bars_of("BTCUSDT"))]
    write_lines(tmp_path / "BTCUSDT.csv", [f"{PLAIN},market", *lines])
    assert "market is 'spot', a kind of market and no symbol; remove" in import_error(tmp_path)


def test_a_note_names_the_file_whose_name_says_another_symbol_than_its_column(
    tmp_path: Path,
) -> None:
    write_csv(tmp_path / "BTCUSDT.csv", bar_rows(("BTCUSDT",)))
    write_csv(tmp_path / "SOLUSDT.csv", bar_rows(("ETHUSDT",)))
    assert read(tmp_path).notes == (
        "the symbol of the column is used, not that of the name, in SOLUSDT.csv",
    )
