"""Invalid market data: an error of every verb that reads it, and never stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.market_files import (
    END_MS,
    HOUR_MS,
    Rows,
    bar_rows,
    write_parquet,
    write_valid_files,
)

Cli = Callable[..., tuple[int, str, str]]
Spoil = Callable[[Rows], None]


def not_a_number(rows: Rows) -> None:
    rows[5]["close"] = float("nan")


def duplicate(rows: Rows) -> None:
    rows.insert(6, dict(rows[5]))


def unsorted(rows: Rows) -> None:
    rows[5], rows[9] = rows[9], rows[5]


def gap(rows: Rows) -> None:
    del rows[5:8]


def impossible(rows: Rows) -> None:
    rows[5]["high"] = rows[5]["low"] - 1


def from_the_future(rows: Rows) -> None:
    for row in rows:
        row["ts"] += 100 * 365 * 24 * HOUR_MS


def write_bad_data(directory: Path, spoil: Spoil) -> Path:
    rows = bar_rows()
    spoil(rows)
    write_parquet(directory / "bars_1h.parquet", rows)
    return directory


@pytest.mark.parametrize(
    "spoil", [not_a_number, duplicate, unsorted, gap, impossible, from_the_future]
)
def test_a_market_file_with_invalid_rows_fails_every_verb_that_reads_it_and_is_not_stored(
    cli: Cli, tmp_path: Path, spoil: Spoil
) -> None:
    bad = write_bad_data(tmp_path / "bad", spoil)
    for verb in (
        ("data", "import", bad, "--name", "bad"),
        ("backtest", "--data", bad),
        ("run", "--replay", bad, "--port", 0, "--operator-port", 0),
    ):
        code, _, err = cli(*verb)
        assert code == 1, (verb, err)
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, err
        assert "bars_1h.parquet" in err, "the rows are listed under it"
        assert "Traceback" not in err
    assert not list((tmp_path / "kamou-data").glob("market/*"))


def test_the_error_for_data_that_is_no_dataset_names_its_market_file_or_the_import_verb(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "bars_1h.parquet").write_text("these are not the rows")
    code, _, err = cli("data", "import", tmp_path / "notes")
    assert code == 1
    assert "bars_1h.parquet" in err
    code, _, err = cli("backtest", "--data", "nothing-of-that-name")
    assert code == 1
    assert "kamou data import" in err


def test_a_timerange_beyond_the_data_is_a_configuration_error(cli: Cli, tmp_path: Path) -> None:
    good = write_valid_files(tmp_path / "good")
    assert END_MS < 1_767_225_600_000
    code, _, err = cli("backtest", "--data", good, "--timerange", "20260101-20260201")
    assert code == 4
    assert "no cycle" in err


def test_the_error_for_an_unknown_symbol_suggests_the_most_similar_one(
    cli: Cli, tmp_path: Path
) -> None:
    good = write_valid_files(tmp_path / "good")
    code, _, err = cli("backtest", "--data", good, "--symbols", "BTCUSD")
    assert code == 1
    assert "BTCUSDT" in err


@pytest.mark.parametrize(
    "verb",
    [
        ("backtest", "--data", "good"),
        ("run", "--replay", "good", "--port", 0, "--operator-port", 0),
    ],
)
def test_a_timeframe_that_is_no_multiple_of_the_bar_period_is_one_error_line(
    cli: Cli, tmp_path: Path, verb: tuple[object, ...]
) -> None:
    write_valid_files(tmp_path / "good")
    Path("kamou.toml").write_text("cycle.timeframe_s = 5400\n")
    code, _, err = cli(*verb)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 4, err
    assert errors == [
        "error: cycle.timeframe_s = 5400 does not fit this data, whose bars are of 3600 s: "
        "choose a multiple of 3600"
    ]
    assert "crashed" not in err
    assert "Traceback" not in err
