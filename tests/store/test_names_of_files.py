"""The symbol, period, exchange and kind that the name of a file says."""

from __future__ import annotations

from pathlib import Path

import pyarrow.feather
import pytest

from kamou.store.file_names import read_names_of
from kamou.store.foreign_files import source_of
from tests.store.people_files import bars_of, frame
from tests.store.test_files_as_people_have_them import read


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
def test_a_name_says_the_symbol_of_its_pair_and_never_another_one(
    name: str, symbol: str | None, exchange: str | None
) -> None:
    found = read_names_of(source_of(Path("files") / name))
    assert (found.symbol, found.exchange) == (symbol, exchange)


def test_the_name_of_a_coin_says_no_kind_of_prices() -> None:
    found = read_names_of(source_of(Path("files/INDEX_USDT_USDT-1h-futures.feather")))
    assert (found.symbol, found.role) == ("INDEXUSDT", None)


def test_a_folder_of_freqtrade_may_have_coins_that_are_exchanges(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "binance" / "futures"
    folder.mkdir(parents=True)
    for coin in ("BTC", "DYDX", "ASTER"):
        path = folder / f"{coin}_USDT_USDT-1h-futures.feather"
        pyarrow.feather.write_feather(frame(bars_of("BTCUSDT")), path, compression="lz4")
    symbols = read(tmp_path / "data").data.bars.symbols
    assert symbols == ("ASTERUSDT", "BTCUSDT", "DYDXUSDT")
