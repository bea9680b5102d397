"""Unusual files are imported with the same data, or the error names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kamou.core.market.bars import RatioSeries
from kamou.errors import InvalidDataError
from kamou.settings.config import DataSettings
from kamou.store.file_layouts import Choice, describe_files
from kamou.store.file_rows import read_columns
from kamou.store.foreign_files import source_of
from kamou.store.importer import ReadOptions, import_directory, open_directory
from kamou.store.read_budget import Budget
from kamou.venue.market.recorded import RecordedMarket
from tests.store.market_files import (
    BARS,
    NOW_MS,
    START_MS,
    SYMBOLS,
    bar_rows,
    funding_rows,
    write_csv,
    write_parquet,
    write_valid_files,
)

DAY_MS = 86_400_000


def open_files(folder: Path, **options: Any) -> RecordedMarket:
    return open_directory(folder, now_ms=NOW_MS, options=ReadOptions(**options))


def have_same_data(left: RecordedMarket, right: RecordedMarket) -> bool:
    """Return True if two markets have the same data, bit for bit."""
    fields = ("open_ms", "open", "high", "low", "close", "volume")
    pairs = [(getattr(left.data.bars, each), getattr(right.data.bars, each)) for each in fields]
    for name in ("funding", "open_interest", "ratios", "premium"):
        one, other = getattr(left.data, name), getattr(right.data, name)
        if one is None or other is None:
            if one is not other:
                return False
            continue
        pairs += [(one.available_ms, other.available_ms), (one.values, other.values)]
        if isinstance(one, RatioSeries):
            pairs.append((one.top_traders, other.top_traders))
        if one.period_ms != other.period_ms:
            return False
    equal = all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    return equal and left.symbols == right.symbols and left.step_ms == right.step_ms


@pytest.fixture
def plain(tmp_path: Path) -> RecordedMarket:
    write_parquet(tmp_path / "plain" / "c.parquet", bar_rows())
    return open_files(tmp_path / "plain")


def open_with_column(folder: Path, name: str, values: Any) -> RecordedMarket:
    table = pa.Table.from_pylist(bar_rows())
    folder.mkdir()
    at = table.schema.names.index(name)
    pq.write_table(table.set_column(at, name, values(table[name])), folder / "c.parquet")
    return open_files(folder)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("symbol", "binary"),
        ("symbol", "large_string"),
        ("symbol", "string_view"),
        ("ts", "timestamp[us]"),
        ("ts", "timestamp[ns]"),
        ("ts", "timestamp[ms, tz=Europe/Berlin]"),
        ("ts", "double"),
        ("ts", "string"),
        ("ts", "uint64"),
        ("close", "string"),
        ("close", "large_string"),
        ("close", "decimal128(12, 2)"),
        ("volume", "int32"),
        ("volume", "float"),
        ("volume", "float16"),
    ],
)
def test_a_column_of_another_type_with_equal_values_is_the_same_dataset(
    tmp_path: Path, plain: RecordedMarket, name: str, kind: str
) -> None:
    kinds = {
        "timestamp[ms, tz=Europe/Berlin]": pa.timestamp("ms", "Europe/Berlin"),
        "decimal128(12, 2)": pa.decimal128(12, 2),
        "timestamp[us]": pa.timestamp("us"),
        "timestamp[ns]": pa.timestamp("ns"),
    }
    to = kinds.get(kind) or pa.type_for_alias(kind)

    def cast(column: Any) -> Any:
        if name == "ts" and pa.types.is_timestamp(to):
            column = column.cast(pa.timestamp("ms", to.tz))
        return column.cast(to)

    assert have_same_data(open_with_column(tmp_path / "odd", name, cast), plain)


def test_dictionary_encoded_symbols_are_the_same_dataset(
    tmp_path: Path, plain: RecordedMarket
) -> None:
    assert have_same_data(
        open_with_column(tmp_path / "odd", "symbol", lambda column: column.dictionary_encode()),
        plain,
    )


def test_the_time_column_may_have_dates(tmp_path: Path) -> None:
    rows = [row for row in bar_rows() if row["ts"] % DAY_MS == 0]
    days = pa.array([row["ts"] // DAY_MS for row in rows], pa.int32())
    for kind in (pa.date32(), pa.date64()):
        folder = tmp_path / str(kind.bit_width)
        folder.mkdir()
        table = pa.Table.from_pylist(rows)
        dates = days.cast(pa.date32()).cast(kind)
        pq.write_table(table.set_column(1, "ts", dates), folder / "c.parquet")
        market = open_files(folder)
        assert (market.step_ms, market.first_ms, market.recorded_bars) == (DAY_MS, START_MS, 6)


def test_a_byte_order_mark_is_no_part_of_a_column_name(tmp_path: Path) -> None:
    for name, rows in (("c.csv", bar_rows()), ("funding.csv", funding_rows())):
        path = write_csv(tmp_path / "marked" / name, rows)
        path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
        write_csv(tmp_path / "bare" / name, rows)
    assert have_same_data(open_files(tmp_path / "marked"), open_files(tmp_path / "bare"))
    assert open_files(tmp_path / "marked").data.funding.values.any()


def test_the_error_for_a_symbol_with_a_blank_has_its_row(
    tmp_path: Path,
) -> None:
    rows = bar_rows()
    rows[30]["symbol"] = "ETHUSDT "
    write_csv(tmp_path / "s" / "c.csv", rows)
    with pytest.raises(InvalidDataError, match=r"c.csv: row 31: symbol is 'ETHUSDT ', expected"):
        open_files(tmp_path / "s")


def test_a_chosen_venue_selects_the_rows_of_a_market_file_with_symbols(
    tmp_path: Path, plain: RecordedMarket
) -> None:
    rows = [{"venue": venue, **row} for venue in ("binance", "other") for row in bar_rows()]
    write_csv(tmp_path / "s" / "c.csv", rows)
    assert have_same_data(open_files(tmp_path / "s", venue="binance"), plain)
    with pytest.raises(InvalidDataError, match=r"--venue \(binance, other\)"):
        open_files(tmp_path / "s")


def test_an_error_lists_some_of_many_venues_escaped(tmp_path: Path) -> None:
    venues = ["\x1b[31m", *(f"venue{at}" for at in range(40))]
    rows = [{"venue": venue, **row} for venue in venues for row in bar_rows()[:2]]
    write_csv(tmp_path / "s" / "c.csv", rows)
    with pytest.raises(InvalidDataError) as caught:
        open_files(tmp_path / "s")
    assert "\\x1b[31m, venue0, " in str(caught.value)
    assert str(caught.value).count("venue") < 20
    assert str(caught.value).isprintable()


def test_rows_without_a_venue_are_left_out(tmp_path: Path, plain: RecordedMarket) -> None:
    rows = [{"venue": "v", **row} for row in bar_rows()]
    rows[40:40] = [{**rows[3], "venue": None}, {**rows[3], "venue": "w"}]
    write_csv(tmp_path / "s" / "c.csv", rows)
    assert have_same_data(open_files(tmp_path / "s", venue="v"), plain)


def test_a_note_names_ten_symbols_without_bars_and_counts_the_rest(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "s")
    more = [{**funding_rows()[0], "symbol": f"X{at}USDT"} for at in range(40)]
    write_csv(source / "funding.csv.gz", funding_rows() + more)
    (note,) = import_directory(source, tmp_path / "data", now_ms=NOW_MS).notes
    assert " and 30 more left out; these symbols have no bars" in note


def test_an_error_shows_a_file_name_escaped(tmp_path: Path) -> None:
    write_csv(tmp_path / "s" / "c\x1b[2J\n.csv", [{"symbol": "A B", "ts": 1, "funding_rate": 0}])
    with pytest.raises(InvalidDataError) as caught:
        open_files(tmp_path / "s")
    assert str(caught.value).startswith(r"c\x1b[2J\n.csv: row 1: symbol is 'A B'")


def test_the_error_for_a_column_that_was_removed_meanwhile_names_it(tmp_path: Path) -> None:
    write_parquet(tmp_path / "c.parquet", bar_rows())
    budget = Budget(limits=DataSettings())
    ((found,), _) = describe_files([source_of(tmp_path / "c.parquet")], Choice(), budget)
    write_parquet(
        tmp_path / "c.parquet",
        [{k: v for k, v in row.items() if k != "ts"} for row in bar_rows()],
    )
    with pytest.raises(InvalidDataError, match=r"^c\.parquet: no column ts; expected times[^\n]*$"):
        read_columns(found, budget)


def test_an_error_in_a_later_batch_has_the_row_number_of_the_file(tmp_path: Path) -> None:
    rows = bar_rows(tuple(f"S{at}USDT" for at in range(50)), bars=2_000, start=START_MS // 2 * 2)
    for row in rows:
        row["ts"] -= 2_000 * 3_600_000
    assert len(rows) > 65_536
    write_parquet(tmp_path / "good" / "c.parquet", rows)
    assert open_files(tmp_path / "good").recorded_bars == 100_000
    rows[90_000]["symbol"] = "no symbol"
    for name, write in (("c.csv", write_csv), ("c.parquet", write_parquet)):
        write(tmp_path / name / name, rows)
        with pytest.raises(InvalidDataError, match="row 90001: symbol is 'no symbol'"):
            open_files(tmp_path / name)


@pytest.mark.parametrize(
    ("limit", "fits", "reason"),
    [
        ("rows_max", 3 * BARS, "143 rows"),
        ("symbols_max", 3, "2 symbols"),
        ("columns_max", 7, "6 columns"),
        ("files_max", 1, "0 files"),
        ("cells_max", 3 * BARS, "143 cells"),
    ],
)
def test_a_market_file_at_a_limit_is_read_and_the_error_beyond_names_the_setting(
    tmp_path: Path, limit: str, fits: int, reason: str
) -> None:
    for name, write in (("c.csv", write_csv), ("c.parquet", write_parquet)):
        write(tmp_path / name / name, bar_rows())
        assert len(
            open_files(tmp_path / name, limits=DataSettings(**{limit: fits})).symbols
        ) == len(SYMBOLS)
        with pytest.raises(InvalidDataError, match=rf"more than {reason}.*data\.{limit}"):
            open_files(tmp_path / name, limits=DataSettings(**{limit: fits - 1}))


def test_the_error_without_memory_names_the_directory_and_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "s" / "c.csv", bar_rows())

    def raise_memory_error(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("kamou.store.joined_files.find_problems", raise_memory_error)
    with pytest.raises(InvalidDataError, match=r"s: not enough memory for its 144 rows"):
        open_files(tmp_path / "s")
