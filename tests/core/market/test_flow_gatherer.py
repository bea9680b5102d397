"""A gatherer gives figures only to symbols whose stream was complete, and keeps no quotes."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from kamou.core.arrays import Floats
from kamou.core.indicators.order_flow import (
    LEVELS,
    SPREAD,
    TRADE_IMBALANCE,
    BookLevels,
    measure_ofi,
)
from kamou.core.market.flow import FLOW_WINDOW_MS
from tests.core.market.single_rows import SingleRows


def quote(
    bid: float = 100.0, ask: float = 100.5, *, size: float = 5.0, levels: int = 1
) -> BookLevels:
    deeper = np.arange(levels, dtype=np.float64)[np.newaxis]
    sizes = np.full((1, levels), size)
    return BookLevels(bid=bid - deeper, bid_qty=sizes, ask=ask + deeper, ask_qty=2 * sizes)


def join(quotes: list[BookLevels]) -> BookLevels:
    names = ("bid", "bid_qty", "ask", "ask_qty")
    return BookLevels(**{n: np.concatenate([getattr(q, n) for q in quotes]) for n in names})


class Windows:
    """A gatherer of two symbols that closes one window after the other."""

    def __init__(self) -> None:
        self.gatherer = SingleRows(("A", "B"))
        self.end_ms = 0

    def close(self) -> Floats:
        self.end_ms += FLOW_WINDOW_MS
        closed = self.gatherer.close(self.end_ms)
        assert closed.end_ms.tolist() == [self.end_ms]
        assert closed.symbols == ("A", "B")
        values: Floats = closed.values[0]
        return values


def test_the_first_window_is_unknown_because_its_start_was_missed() -> None:
    windows = Windows()
    windows.gatherer.take_quote(0, quote())
    windows.gatherer.take_trade(0, 1.0, bought=True)
    assert np.isnan(windows.close()).all()


def test_a_quote_that_stands_over_a_window_has_no_imbalance_and_its_own_spread() -> None:
    windows = Windows()
    windows.gatherer.take_quote(0, quote(levels=LEVELS))
    windows.close()
    values = windows.close()
    assert values[:LEVELS, 0].tolist() == [0.0] * LEVELS
    assert values[SPREAD, 0] == pytest.approx(0.5 / 100.25 * 10_000)
    assert np.isnan(values[TRADE_IMBALANCE, 0])  # nothing traded
    assert np.isnan(values[:, 1]).all()  # no quote of B ever came


def test_each_symbol_has_its_own_quotes_and_trades() -> None:
    windows = Windows()
    sent: list[list[BookLevels]] = [[quote(levels=3)], [quote(200, 201, levels=3)]]
    for column, quotes in enumerate(sent):
        windows.gatherer.take_quote(column, quotes[0])
    windows.close()
    for n in range(1, 7):
        for column in (0, 1):
            sent[column].append(
                quote(100 * (column + 1) + n % 3, 105 * (column + 1) + n % 2, size=n, levels=3)
            )
            windows.gatherer.take_quote(column, sent[column][-1])
            windows.gatherer.take_trade(column, float(n), bought=(n + column) % 2 == 0)
    values = windows.close()
    for column, quotes in enumerate(sent):
        np.testing.assert_allclose(values[:3, column], measure_ofi(join(quotes)))
        assert np.isnan(values[3:LEVELS, column]).all()
    assert values[TRADE_IMBALANCE].tolist() == pytest.approx([3 / 21, -3 / 21])


def test_an_interrupted_stream_has_no_figures_until_a_window_after_it_is_complete() -> None:
    windows = Windows()
    for column in (0, 1):
        windows.gatherer.take_quote(column, quote())
    windows.close()
    windows.gatherer.interrupt(0)
    windows.gatherer.take_trade(0, 1.0, bought=True)
    values = windows.close()
    assert np.isnan(values[:, 0]).all()
    assert values[0, 1] == 0.0
    windows.gatherer.take_quote(0, quote())  # the first one after the interruption
    windows.gatherer.take_trade(0, 1.0, bought=True)
    values = windows.close()
    assert np.isnan(values[0, 0])  # no quote stood when this window began
    assert values[TRADE_IMBALANCE, 0] == 1.0
    assert windows.close()[0, 0] == 0.0


@pytest.mark.parametrize(
    "bad",
    [
        {"bid": 100.5, "ask": 100.5},
        {"bid": 101.0, "ask": 100.5},
        {"bid": float("nan")},
        {"ask": float("inf")},
        {"bid": -1.0},
        {"size": 0.0},
        {"size": float("nan")},
    ],
)
def test_an_invalid_best_quote_interrupts_the_stream(bad: dict[str, Any]) -> None:
    windows = Windows()
    windows.gatherer.take_quote(0, quote())
    windows.close()
    windows.gatherer.take_quote(0, quote(**bad))
    windows.gatherer.take_quote(0, quote())
    assert np.isnan(windows.close()[:, 0]).all()


@pytest.mark.parametrize("quantity", [0.0, -1.0, float("nan"), float("inf")])
def test_an_invalid_trade_interrupts_the_stream(quantity: float) -> None:
    windows = Windows()
    windows.close()
    windows.gatherer.take_trade(0, 2.0, bought=True)
    windows.gatherer.take_trade(0, quantity, bought=False)
    assert np.isnan(windows.close()[:, 0]).all()


def test_the_memory_of_a_gatherer_does_not_grow_with_quotes_and_trades() -> None:
    windows = Windows()

    def measure() -> int:
        return len(pickle.dumps(windows.gatherer))

    windows.gatherer.take_quote(0, quote())
    before = measure()
    for n in range(300):
        windows.gatherer.take_quote(0, quote(size=1.0 + n))
        windows.gatherer.take_trade(0, 1.0 + n, bought=True)
    assert measure() == before
