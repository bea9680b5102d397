"""The figures of the whole market are those of each bar alone, and of the right symbols."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.day import HOUR_MS
from kamou.core.market.market_rows import find_market_rows
from kamou.core.market.panel import Panel
from kamou.core.market.panel_view import DeclaredReads, PanelView, UndeclaredReadError


@given(seed=st.integers(0, 2**32 - 1), symbols=st.integers(1, 6))
def test_the_figures_agree_with_a_computation_symbol_by_symbol(seed: int, symbols: int) -> None:
    chance = np.random.default_rng(seed)
    names = chance.permutation(["SOL", "BTCUSDT", "ETHUSDT", "ADA", "BTCDOMUSDT", "ETHWUSDT"])
    names = names[:symbols].tolist()
    opens, closes = np.exp(chance.normal(size=(2, 8, symbols)))
    closes[chance.random(closes.shape) < 0.2] = np.nan
    closes[0, 0] = opens[0, 0]
    rows = find_market_rows(names, opens, closes)
    for t in range(8):
        moves = [math.log(c / o) for o, c in zip(opens[t], closes[t], strict=True)]
        for figure, name in ((0, "BTCUSDT"), (1, "ETHUSDT")):
            expected = moves[names.index(name)] if name in names else math.nan
            assert rows[t, figure] == pytest.approx(expected, nan_ok=True)
        known = [move for move in moves if not math.isnan(move)]
        mean = sum(known) / len(known) if known else math.nan
        signs = sum((move > 0) - (move < 0) for move in known)
        breadth = signs / len(known) if known else math.nan
        assert rows[t, 2] == pytest.approx(mean, nan_ok=True, abs=1e-12)
        assert rows[t, 3] == pytest.approx(breadth, nan_ok=True)
        alone = find_market_rows(names, opens[[t]], closes[[t]])[0]
        np.testing.assert_array_equal(rows[t], alone)


@pytest.mark.parametrize(
    "name", ["BTC", "BTCUSDT", "XBTUSDTM", "BTC/USDT:USDT", "BTC-PERP", "BTCUSD"]
)
def test_bitcoin_is_found_under_the_names_of_venues(name: str) -> None:
    rows = find_market_rows(["BTCDOMUSDT", "BTCST", name], np.ones((1, 3)), np.exp([[1.0, 2, 3]]))
    assert rows[0, 0] == pytest.approx(3)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_panel_has_the_rows_of_its_bars_and_nan_where_none_was_given(seed: int) -> None:
    chance = np.random.default_rng(seed)
    panel = Panel(("A",), HOUR_MS, 6)
    panel.keep_market()
    bar, given, rows = np.ones(1), {}, []
    for t in range(20):
        row = chance.normal(size=4)
        if chance.random() < 0.8:
            panel.give_market(np.array([t * HOUR_MS]), row[np.newaxis])
            given[t] = row
        if chance.random() < 0.8:
            panel.append(t * HOUR_MS, bar, bar, bar, bar, bar)
            rows.append(given.get(t, np.full(4, np.nan)))
    newest = rows[-6:]
    if newest:
        np.testing.assert_array_equal(panel.market(len(newest)), np.array(newest))


def test_the_whole_market_is_read_only_as_declared_and_a_strategy_cannot_write_it() -> None:
    panel = Panel(("A",), HOUR_MS, 6)
    panel.keep_market()

    def limit(*, reads_market: bool) -> PanelView:
        declared = DeclaredReads(
            strategy="one",
            bars=3,
            indicators=frozenset(),
            open_interest_rows=0,
            reads_market=reads_market,
        )
        return PanelView(panel, declared)

    view = limit(reads_market=True)
    with pytest.raises(ValueError, match="read-only"):
        view.market(3)[...] = 0
    with pytest.raises(UndeclaredReadError, match="reads 4 bars back"):
        view.market(4)
    with pytest.raises(UndeclaredReadError, match="reads_market is not True"):
        limit(reads_market=False).market(1)
    with pytest.raises(UndeclaredReadError, match="declare reads_market"):
        view.keep_market()
    with pytest.raises(UndeclaredReadError, match="only the scanner"):
        view.give_market(np.zeros(1, np.int64), np.zeros((1, 4)))
