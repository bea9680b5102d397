"""The symbol, period, exchange and kind that the name of a file says."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pyarrow.feather
import pytest
from click.testing import CliRunner

from kamou.commands.data import import_
from kamou.core.day import HOUR_MS
from kamou.store.file_names import read_names_of
from kamou.store.foreign_files import source_of
from tests.store.market_files import START_MS, bar_rows
from tests.store.people_files import BARS_ONLY, PLAIN, bar_lines, bars_of, frame, write_lines
from tests.store.test_files_as_people_have_them import import_error, read


@pytest.mark.parametrize(
    ("name", "symbol", "exchange"),
    [
        ("DYDX_USDT_USDT-1h-futures.feather", "DYDXUSDT", None),
        ("ASTER_USDT_USDT-1h-futures.feather", "ASTERUSDT", None),
        ("DYDX-USDT.csv", "DYDXUSDT", None),
        ("dydx_ETH_USD.csv", "ETHUSD", "dydx"),
        ("dydx_BTC-USD-1h.csv", "BTCUSD", "dydx"),
        ("binance_DYDX_USDT.csv", "DYDXUSDT", "binance"),
        ("binance_BTC_USDT_USDT-1h.csv", "BTCUSDT", "binance"),
        ("BTC_USDT_bybit.csv", "BTCUSDT", "bybit"),
        ("candles_BTC_USDT.csv", "BTCUSDT", None),
        ("candles_ETH_USDT.csv", "ETHUSDT", None),
        ("candles_SOL_USDT.csv", "SOLUSDT", None),
        ("open_interest_BTC_USDT.csv", "BTCUSDT", None),
        ("1h_BTC_USDT.csv", "BTCUSDT", None),
        ("2025-01_BTC_USDT.csv", "BTCUSDT", None),
        ("binance_1h_SOL_USDT.csv", "SOLUSDT", "binance"),
        ("PERP_USDT_USDT-1h-futures.feather", "PERPUSDT", None),
        ("BTC_USD_BTC-1h-futures.feather", "BTCUSD:BTC", None),
        ("ETH_BTC-1h.csv", "ETHBTC", None),
        ("candles_USDT.csv", None, None),
        ("binance_USDT.csv", None, "binance"),
        ("1h_USDT.csv", None, None),
        ("export_BTC_USDT.csv", None, None),
        ("ETH_BTC_USDT.csv", None, None),
    ],
)
def test_a_name_says_its_exchange_and_the_symbol_of_its_pair_and_no_others(
    name: str, symbol: str | None, exchange: str | None
) -> None:
    found = read_names_of(source_of(Path("files") / name))
    assert (found.symbol, found.exchange) == (symbol, exchange)


def test_a_coin_whose_name_is_index_does_not_make_its_bars_index_prices() -> None:
    found = read_names_of(source_of(Path("files/INDEX_USDT_USDT-1h-futures.feather")))
    assert (found.symbol, found.role) == ("INDEXUSDT", None)


def test_a_folder_of_freqtrade_may_have_coins_with_names_of_exchanges(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "binance" / "futures"
    folder.mkdir(parents=True)
    for coin in ("BTC", "DYDX", "ASTER"):
        path = folder / f"{coin}_USDT_USDT-1h-futures.feather"
        pyarrow.feather.write_feather(frame(bars_of("BTCUSDT")), path, compression="lz4")
    symbols = read(tmp_path / "data").data.bars.symbols
    assert symbols == ("ASTERUSDT", "BTCUSDT", "DYDXUSDT")


@pytest.mark.parametrize("name", ["ETHUSDT-1h-2025-02.csv", "ETH_USDT-1h.csv"])
def test_a_chosen_symbol_never_replaces_the_one_in_the_name_of_a_file(
    tmp_path: Path, name: str
) -> None:
    write_lines(tmp_path / "BTCUSDT-1h-2025-01.csv", bar_lines(bars_of("BTCUSDT")[:24]))
    write_lines(tmp_path / name, bar_lines(bars_of("BTCUSDT")[24:]))
    error = import_error(tmp_path, symbol="BTCUSDT")
    assert f"{name}: the symbol is ETHUSDT by its name and BTCUSDT by --symbol; " in error


@pytest.mark.parametrize(
    ("name", "symbol", "shown"),
    [
        ("c.csv", "XUSDT", "XUSDT by --symbol"),
        ("BTC.csv", "BTCUSDT", "BTCUSDT by --symbol"),
        ("BTCUSDT.csv", "BTC/USDT:USDT", "BTC/USDT:USDT by --symbol"),
        ("BTCUSDT.csv", None, "BTCUSDT by its name"),
    ],
)
def test_a_taken_file_says_whether_its_name_or_the_option_gave_its_symbol(
    tmp_path: Path, name: str, symbol: str | None, shown: str
) -> None:
    write_lines(tmp_path / name, [PLAIN, *bar_lines(bars_of("BTCUSDT"))])
    (taken,) = read(tmp_path, symbol=symbol).taken
    assert taken.symbols == shown


def test_an_invalid_symbol_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(import_, [str(tmp_path), "--symbol", "BTC USDT"])
    assert result.exit_code == 2
    assert "'BTC USDT' is no symbol; expected 1 to 40 of" in result.output


@pytest.mark.parametrize("hours", [4, 24])
@pytest.mark.parametrize("allow_gaps", [False, True])
def test_bars_of_a_longer_period_are_no_bars_with_gaps(
    tmp_path: Path, hours: int, allow_gaps: bool
) -> None:
    rows = bar_rows(("BTCUSDT", "ETHUSDT"), bars=240, start=START_MS - 240 * HOUR_MS)
    write_lines(tmp_path / "BTCUSDT.csv", [PLAIN, *bar_lines(rows[:240])])
    write_lines(tmp_path / "ETHUSDT.csv", [PLAIN, *bar_lines(rows[240::hours])])
    error = import_error(tmp_path, allow_gaps=allow_gaps)
    assert "the files have bars of several periods: 1 h (1 file), " in error


def test_bars_with_gaps_stay_bars_of_their_period(tmp_path: Path) -> None:
    rows = bars_of("BTCUSDT")
    write_lines(tmp_path / "BTCUSDT.csv", [PLAIN, *bar_lines(rows)])
    write_lines(tmp_path / "ETHUSDT.csv", [PLAIN, *bar_lines([*rows[:-8:4], *rows[-2:]])])
    assert read(tmp_path, allow_gaps=True).data.bars.period_ms == HOUR_MS


def test_a_name_with_another_period_than_its_rows_gives_a_note(tmp_path: Path) -> None:
    write_lines(tmp_path / "BTCUSDT-4h.csv", bar_lines(bars_of("BTCUSDT")))
    assert read(tmp_path).notes == (
        "the period of the rows is used, not that of the name, in BTCUSDT-4h.csv",
    )


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ("1.5", True),  # of seven columns
        ("97000.5,12.5", False),  # Kraken: vwap before volume
        ("12.5,12.5,1", False),  # OKX: contracts, coins, quote
        ("{close},1,2,3", True),
        ("{close},1,2,3,4,0", True),
        ("{open},1", False),
    ],
)
def test_bars_without_a_header_beyond_seven_columns_need_a_close_time(
    tmp_path: Path, values: str, fits: bool
) -> None:
    for factor in (1, 1000):
        lines = [
            f"{line.replace(str(row['ts']), str(row['ts'] * factor))},"
            + values.format(open=row["ts"] * factor, close=(row["ts"] + HOUR_MS) * factor - 1)
            for line, row in zip(bar_lines(bars_of("BTCUSDT")), bars_of("BTCUSDT"), strict=True)
        ]
        write_lines(tmp_path / "BTCUSDT.csv", lines)
        if fits:
            assert set(read(tmp_path).data.bars.volume[:, 0].tolist()) == {20.0}
        else:
            error = import_error(tmp_path)
            assert "values that can mean several things; add a header" in error


@pytest.mark.parametrize(
    "name",
    [
        "BTCUSDT_250328-1h-2025-01.csv",
        "BTC-USDT-250328.csv",
        "BTC_USDT_USDT_250328-1h-futures.csv",
        "BTC_USDT_USDT-250328-1h-futures.csv",
        "BTCUSDT-28MAR25.csv",
    ],
)
def test_a_delivery_contract_is_left_out_and_never_the_perpetual(tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / "BTCUSDT-1h-2025-01.csv", bar_lines(bars_of("BTCUSDT")[:24]))
    write_lines(tmp_path / name, bar_lines(bars_of("BTCUSDT")[24:]))
    found = read(tmp_path)
    assert len(found.data.bars.open_ms) == 24
    (skipped,) = found.skipped
    assert skipped.file == name
    assert skipped.reason.startswith("a delivery contract by its name, ")


@pytest.mark.parametrize(
    "name", ["BTCUSDT_202501.csv", "BTCUSDT-20250101.csv", "BTC_USDT-2025.csv"]
)
def test_a_month_day_or_year_after_the_symbol_is_no_delivery_contract(
    tmp_path: Path, name: str
) -> None:
    write_lines(tmp_path / name, bar_lines(bars_of("BTCUSDT")))
    assert read(tmp_path).data.bars.symbols == ("BTCUSDT",)


def test_an_archive_of_other_files_is_left_out_below_a_directory_and_invalid_alone(
    tmp_path: Path,
) -> None:
    BARS_ONLY["seconds"](tmp_path / "user_data" / "data")
    results = tmp_path / "user_data" / "backtest_results"
    results.mkdir()
    for name, members in (("several.zip", ("a.json", "b.json")), ("one.zip", ("a.pkl",))):
        with zipfile.ZipFile(results / name, "w") as archive:
            for each in members:
                archive.writestr(each, "{}")
    found = read(tmp_path / "user_data")
    step = "; unpack it and name the directory"
    assert {each.file: each.reason for each in found.skipped} == {
        "backtest_results/several.zip": f"the archive has 2 files, expected one{step}",
        "backtest_results/one.zip": f"the file in the archive is not CSV or JSON{step}",
    }
    for name in ("several.zip", "one.zip"):
        assert import_error(results / name).startswith(f"{name}: the ")


@pytest.mark.parametrize("kind", ["aggTrades", "bookTicker", "bookDepth", "liquidationSnapshot"])
def test_files_of_other_kinds_are_left_out_by_their_name(tmp_path: Path, kind: str) -> None:
    BARS_ONLY["seconds"](tmp_path)
    lines = bar_lines(bars_of("BTCUSDT"))
    write_lines(tmp_path / f"BTCUSDT-{kind}-2025-01-01.csv", [f"{line},1" for line in lines])
    (skipped,) = read(tmp_path).skipped
    assert skipped.reason.endswith(", by the name of the file or its folder")


def test_a_folder_whose_name_has_two_periods_says_none(tmp_path: Path) -> None:
    for folder, notes in (("8h_then_1h", 0), ("8h", 1)):
        write_lines(tmp_path / folder / "BTCUSDT.csv", bar_lines(bars_of("BTCUSDT")))
        found = [each for each in read(tmp_path / folder).notes if "period" in each]
        assert len(found) == notes, folder
