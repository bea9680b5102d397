"""Import, list and load datasets; every error leaves nothing behind."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from kamou.errors import DiskFullError, InvalidDataError, StoreError
from kamou.store.importer import (
    ReadOptions,
    StoreOptions,
    import_directory,
    open_directory,
    open_market,
)
from kamou.store.market_data import (
    DamagedDataset,
    dataset_path,
    list_datasets,
    load_dataset,
    market_directory,
)
from tests.store.market_files import (
    BARS,
    END_MS,
    HOUR_MS,
    NOW_MS,
    START_MS,
    SYMBOLS,
    bar_rows,
    funding_rows,
    open_interest_rows,
    write_csv,
    write_parquet,
    write_valid_files,
)


def import_error(folder: Path, tmp_path: Path, **options: Any) -> str:
    """Return the text of the import's error; check that nothing was left behind."""
    store = tmp_path / "data"
    before = sorted(market_directory(store).glob("**/*"))
    with pytest.raises(InvalidDataError) as caught:
        import_directory(folder, store, now_ms=NOW_MS, **options)
    assert sorted(market_directory(store).glob("**/*")) == before
    return str(caught.value)


def test_an_imported_dataset_is_listed_and_loads_with_the_same_data(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "year")
    seen: list[tuple[str, int, int]] = []
    report = import_directory(
        source,
        tmp_path / "data",
        now_ms=NOW_MS,
        reading=ReadOptions(progress=lambda *step: seen.append(step)),
    )
    assert not report.unchanged
    assert seen[0] == ("reading files", 0, 3)
    assert seen[-1] == ("storing", 1, 1)

    (summary,) = list_datasets(tmp_path / "data")
    assert summary == report.summary
    assert (summary.name, summary.symbols, summary.bars) == ("year", 3, 3 * BARS)
    assert (summary.first_ms, summary.last_ms, summary.period_ms) == (START_MS, END_MS, HOUR_MS)
    assert [each.symbol for each in summary.ranges] == sorted(SYMBOLS)
    assert (summary.funding_rows, summary.open_interest_rows, summary.gaps_total) == (18, 36, 0)

    stored = load_dataset(summary.path)
    direct = open_directory(source, now_ms=NOW_MS)
    assert stored.symbols == direct.symbols == tuple(sorted(SYMBOLS))
    assert stored.instruments == direct.instruments
    for name in ("open_ms", "open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(stored.data.bars, name), getattr(direct.data.bars, name))
    for series in ("funding", "open_interest"):
        for name in ("available_ms", "values"):
            left, right = (getattr(getattr(each.data, series), name) for each in (stored, direct))
            assert np.array_equal(left, right)


def test_csv_and_parquet_of_the_same_rows_are_the_same_dataset(tmp_path: Path) -> None:
    rows = bar_rows()
    names = {}
    for kind, write in (
        ("a.csv", write_csv),
        ("a.csv.gz", write_csv),
        ("a.parquet", write_parquet),
    ):
        write(tmp_path / kind.replace(".", "_") / kind, rows)
        names[kind] = import_directory(
            tmp_path / kind.replace(".", "_"), tmp_path / "data", now_ms=NOW_MS
        ).summary.sha256
    assert len(set(names.values())) == 1


def test_one_file_for_each_symbol_is_one_dataset(tmp_path: Path) -> None:
    for symbol in SYMBOLS:
        rows = [row for row in bar_rows() if row["symbol"] == symbol]
        write_csv(tmp_path / "many" / f"{symbol}.csv", rows)
    market = open_directory(tmp_path / "many", now_ms=NOW_MS)
    assert market.recorded_bars == 3 * BARS


def test_funding_is_rounded_to_its_minute_and_the_finest_open_interest_is_kept(
    tmp_path: Path,
) -> None:
    source = write_valid_files(tmp_path / "s")
    write_csv(source / "open_interest_1d.csv.gz", open_interest_rows(24))
    write_csv(source / "more_funding.csv", funding_rows())  # the same rates in a second file
    report = import_directory(source, tmp_path / "data", now_ms=NOW_MS)
    (skipped,) = report.skipped
    assert skipped.file == "open_interest_1d.csv.gz"
    assert skipped.reason == "open interest of a longer period; that of a shorter one is used"
    assert load_dataset(report.summary.path).data.open_interest.period_ms == 4 * HOUR_MS
    funding = load_dataset(report.summary.path).data.funding
    assert funding.period_ms == 8 * HOUR_MS
    assert (funding.available_ms % (8 * HOUR_MS) == 0).all()
    assert not np.isnan(funding.values).any()


def test_a_note_names_the_symbols_whose_funding_is_left_out_without_bars(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "s")
    unknown = [{**row, "symbol": "XRPUSDT"} for row in funding_rows()[:6]]
    write_csv(source / "funding.csv.gz", funding_rows() + unknown)
    report = import_directory(source, tmp_path / "data", now_ms=NOW_MS)
    assert report.notes == ("funding of XRPUSDT left out; these symbols have no bars",)


def test_the_report_names_skipped_files_with_the_reason(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "s")
    mark = [{k: v for k, v in row.items() if k != "volume"} for row in bar_rows()]
    write_parquet(source / "mark.parquet", bar_rows())
    write_parquet(source / "three.parquet", mark)
    write_csv(source / "dollars.csv", [{"venue": "v", "coin": "BTC", "ts": 1, "oi_usd": 2.0}])
    write_csv(source / "odd.csv", [{"symbol": "BTCUSDT", "ts": 1, "mood": 2.0}])
    write_csv(source / "other.csv", [{"day": 1, "mood": 2.0}])
    (source / "notes.md").write_text("x")
    (source / ".hidden.csv").write_text("x")
    (source / "folder").mkdir()
    report = import_directory(source, tmp_path / "data", now_ms=NOW_MS)
    reasons = {each.file: each.reason for each in report.skipped}
    assert sorted(reasons) == [
        "dollars.csv",
        "mark.parquet",
        "notes.md",
        "odd.csv",
        "other.csv",
        "three.parquet",
    ]
    assert reasons["mark.parquet"].startswith("mark, index or premium prices, by the name")
    assert reasons["three.parquet"].startswith("mark prices, or bars without a column volume")
    assert "base units" in reasons["dollars.csv"]
    assert "no known kind" in reasons["odd.csv"]
    assert "no column of times" in reasons["other.csv"]


# --- errors ----------------------------------------------------------------------------------


def test_a_missing_directory_or_one_without_bars_is_invalid(tmp_path: Path) -> None:
    assert "no such file or directory" in import_error(tmp_path / "nowhere", tmp_path)
    write_csv(tmp_path / "f" / "funding.csv", funding_rows())
    write_csv(tmp_path / "f" / "x.csv", [{"day": 1, "mood": 2.0}])
    assert ": no bars; add a file" in import_error(tmp_path / "f", tmp_path)
    assert "x.csv: no column of times" in import_error(tmp_path / "f", tmp_path)


def test_the_error_for_a_corrupt_parquet_file_names_it(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "s")
    whole = (source / "bars_1h.parquet").read_bytes()
    for content in (whole[: len(whole) // 2], b"nonsense", b""):
        (source / "bars_1h.parquet").write_bytes(content)
        assert import_error(source, tmp_path).startswith("bars_1h.parquet: cannot be read: ")
    middle = len(whole) // 4
    (source / "bars_1h.parquet").write_bytes(whole[:middle] + b"\0" * 64 + whole[middle + 64 :])
    assert "bars_1h.parquet" in import_error(source, tmp_path)


def test_the_error_for_a_truncated_gzip_file_names_it(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "s")
    whole = (source / "funding.csv.gz").read_bytes()
    for content in (whole[:100], whole[:5], b"not gzip at all"):
        (source / "funding.csv.gz").write_bytes(content)
        assert import_error(source, tmp_path).startswith("funding.csv.gz: cannot be read: ")


def test_the_error_for_a_short_csv_row_names_the_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s" / "c.csv", bar_rows())
    path.write_text(path.read_text() + "BTCUSDT,17,1\n")
    assert import_error(tmp_path / "s", tmp_path).startswith(
        "c.csv: cannot be read: CSV parse error"
    )


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("open", "abc", "c.csv: row 7: open is 'abc', not a number"),
        (
            "ts",
            "2025-01-01",
            "c.csv: row 7: ts is '2025-01-01', expected a time in whole seconds",
        ),
        ("ts", None, "c.csv: row 7: no ts"),
        ("symbol", None, "c.csv: row 7: no symbol"),
        ("high", None, "c.csv: row 7, ETHUSDT, 2025-01-01T06:00:00Z: a price or the volume is NaN"),
        ("low", "nan", "c.csv: row 7, ETHUSDT, 2025-01-01T06:00:00Z: a price or the volume is NaN"),
        ("close", "-3", "c.csv: row 7, ETHUSDT, 2025-01-01T06:00:00Z: a price is not positive"),
        ("high", "1", "c.csv: row 7, ETHUSDT, 2025-01-01T06:00:00Z: high is below"),
        ("ts", str(START_MS + 5 * HOUR_MS), "is there twice"),
        ("ts", str(START_MS), "not sorted by time"),
        ("ts", "1735689600", "row 7: ts is '1735689600', in seconds, expected milliseconds as in"),
        ("ts", str(10**17), "in microseconds, expected milliseconds"),
        ("ts", str(10**13), "closes in the future"),
    ],
)
def test_the_error_for_an_invalid_bar_has_the_reason(
    tmp_path: Path, column: str, cell: str | None, reason: str
) -> None:
    rows = bar_rows()
    rows[6][column] = cell
    write_csv(tmp_path / "s" / "c.csv", rows)
    assert reason in import_error(tmp_path / "s", tmp_path)


def test_a_gap_between_two_files_and_a_bar_in_both_are_invalid(tmp_path: Path) -> None:
    rows = bar_rows(("BTCUSDT",))
    write_csv(tmp_path / "gap" / "a.csv", rows[:10])
    write_csv(tmp_path / "gap" / "b.csv", rows[12:])
    assert "b.csv: row 1, BTCUSDT, 2025-01-01T12:00:00Z: the symbol's bars" in import_error(
        tmp_path / "gap", tmp_path
    )
    write_csv(tmp_path / "twice" / "a.csv", rows[:10])
    write_csv(tmp_path / "twice" / "b.csv", rows[9:])
    twice = import_error(tmp_path / "twice", tmp_path)
    assert "b.csv: row 1, BTCUSDT, 2025-01-01T09:00:00Z: is there twice" in twice
    assert "the same time as row 10 of a.csv" in twice


def test_a_bar_that_has_not_closed_is_invalid(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "s")
    with pytest.raises(InvalidDataError, match="closes in the future"):
        import_directory(source, tmp_path / "data", now_ms=END_MS - 1)
    import_directory(source, tmp_path / "data", now_ms=END_MS)


def test_a_market_file_of_fewer_than_two_bars_is_invalid(tmp_path: Path) -> None:
    write_csv(tmp_path / "s" / "c.csv", bar_rows()[:1])
    assert "no symbol has two bars" in import_error(tmp_path / "s", tmp_path)
    (tmp_path / "s" / "c.csv").write_text("symbol,ts,open,high,low,close,volume\n")
    assert "c.csv: no rows" in import_error(tmp_path / "s", tmp_path)


@pytest.mark.parametrize(
    ("file", "column", "cell", "reason"),
    [
        ("funding.csv", "funding_rate", None, "row 3, ETHUSDT, 2025-01-01T16:00:00Z: the value is"),
        ("funding.csv", "funding_rate", "0.5", "beyond 5 %; rates are fractions"),
        ("funding.csv", "ts", str(NOW_MS + 1), "is in the future"),
        ("funding.csv", "ts", str(START_MS - 1), "sort by time"),
        ("funding.csv", "ts", "1700000000", "in seconds, expected milliseconds"),
        ("funding.csv", "ts", "100", "before 2009"),
        ("open_interest.csv", "sum_open_interest", "-1", "open interest is negative"),
    ],
)
def test_the_error_for_an_invalid_observation_has_row_and_reason(
    tmp_path: Path, file: str, column: str, cell: str | None, reason: str
) -> None:
    rows = {"funding.csv": funding_rows(), "open_interest.csv": open_interest_rows()}[file]
    rows[2][column] = cell
    write_csv(tmp_path / "s" / "c.csv", bar_rows())
    write_csv(tmp_path / "s" / file, rows)
    error = import_error(tmp_path / "s", tmp_path)
    assert f"{file}: row 3" in error
    assert reason in error


def test_two_different_funding_rates_of_one_time_are_invalid(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "s")
    other = [{**row, "funding_rate": 0.003} for row in funding_rows()]
    write_csv(source / "other_funding.csv", other)
    error = import_error(source, tmp_path)
    assert "two different funding values of BTCUSDT" in error or "of ETHUSDT" in error


def test_the_time_column_of_a_parquet_file_may_have_timestamps(tmp_path: Path) -> None:
    table = pq.read_table(write_valid_files(tmp_path / "s") / "bars_1h.parquet")
    stamped = table.set_column(1, "ts", table["ts"].cast("timestamp[ms]"))
    pq.write_table(stamped, tmp_path / "s" / "bars_1h.parquet")
    assert open_directory(tmp_path / "s", now_ms=NOW_MS).first_ms == START_MS


# --- the store ---------------------------------------------------------------------------------


def test_an_import_changes_a_stored_dataset_only_with_replace(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "s")
    first = import_directory(source, tmp_path / "data", now_ms=NOW_MS)
    again = import_directory(source, tmp_path / "data", now_ms=NOW_MS)
    assert again.unchanged
    assert again.summary == first.summary
    write_csv(source / "funding.csv.gz", funding_rows(4))
    assert "a different dataset named 's' is already stored" in import_error(source, tmp_path)
    assert load_dataset(first.summary.path).data.funding.period_ms == 8 * HOUR_MS
    replaced = import_directory(
        source, tmp_path / "data", now_ms=NOW_MS, storing=StoreOptions(replace=True)
    )
    assert not replaced.unchanged
    assert load_dataset(replaced.summary.path).data.funding.period_ms == 4 * HOUR_MS
    # The first contract specification is that of the beginning, when no settlement is known yet.
    assert load_dataset(replaced.summary.path).instruments[0].funding_interval_h == 8


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "x" * 65])
def test_an_import_under_an_invalid_dataset_name_fails(tmp_path: Path, name: str) -> None:
    source = write_valid_files(tmp_path / "s")
    assert "cannot name a dataset" in import_error(
        source, tmp_path, storing=StoreOptions(name=name)
    )


def test_a_dataset_opens_by_name_and_by_its_directory(tmp_path: Path) -> None:
    source = write_valid_files(tmp_path / "s")
    store = tmp_path / "data"
    report = import_directory(source, store, now_ms=NOW_MS, storing=StoreOptions(name="mine"))
    assert open_market(store, "mine", now_ms=NOW_MS).name == "mine"
    assert open_market(store, str(source), now_ms=NOW_MS).name == "s"
    assert open_directory(report.summary.path, now_ms=NOW_MS).recorded_bars == 3 * BARS
    for name in ("yours", str(tmp_path / "nowhere"), ".x/y"):
        with pytest.raises(InvalidDataError, match="neither a dataset nor a directory"):
            open_market(store, name, now_ms=NOW_MS)


def test_a_dataset_with_a_changed_file_does_not_load(tmp_path: Path) -> None:
    path = import_directory(
        write_valid_files(tmp_path / "s"), tmp_path / "data", now_ms=NOW_MS
    ).summary.path
    bars = path / "bars.parquet"
    content = bytearray(bars.read_bytes())
    content[100] ^= 1
    bars.write_bytes(content)
    with pytest.raises(InvalidDataError, match="SHA-256 differs"):
        load_dataset(path)
    bars.unlink()
    with pytest.raises(InvalidDataError, match="cannot be read"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "no readable meta.json"), ('{"format": 3}', "format 3"), ("{}", "no readable")],
)
def test_a_dataset_with_unreadable_or_newer_meta_does_not_load(
    tmp_path: Path, content: str, reason: str
) -> None:
    path = import_directory(
        write_valid_files(tmp_path / "s"), tmp_path / "data", now_ms=NOW_MS
    ).summary.path
    (path / "meta.json").write_text(content)
    with pytest.raises(InvalidDataError, match=reason):
        load_dataset(path)
    with pytest.raises(InvalidDataError, match=reason):
        open_market(tmp_path / "data", "s", now_ms=NOW_MS)
    (listed,) = list_datasets(tmp_path / "data")
    assert isinstance(listed, DamagedDataset)
    assert reason in listed.reason


def test_an_unfinished_dataset_is_not_listed(tmp_path: Path) -> None:
    assert list_datasets(tmp_path) == ()
    (market_directory(tmp_path) / ".s.77").mkdir(parents=True)
    assert list_datasets(tmp_path) == ()


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, DiskFullError), (errno.EACCES, StoreError)]
)
def test_a_failed_write_leaves_no_dataset_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    source = write_valid_files(tmp_path / "s")
    store = tmp_path / "data"

    def raise_error(*_: Any, **__: Any) -> None:
        raise OSError(number, "the disk fails")

    with monkeypatch.context() as broken:
        broken.setattr(json, "dumps", raise_error)
        with pytest.raises(error, match=str(dataset_path(store, "s"))):
            import_directory(source, store, now_ms=NOW_MS)
    assert list(market_directory(store).iterdir()) == []
    import_directory(source, store, now_ms=NOW_MS)
    assert [each.name for each in list_datasets(store)] == ["s"]
