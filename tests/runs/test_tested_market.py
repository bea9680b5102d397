"""The market of a tested time: the change of its prices, and the digest of its data."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from kamou.runs.tested_market import describe_data, measure_market
from kamou.venue.market.recorded import RecordedMarket
from tests.actors.still_market import MIDNIGHT_MS, still_market

STEP_MS = 300_000


def rising(missing: slice) -> RecordedMarket:
    """Return a market that rises by 1 in each bar; the bars ``missing`` of AAA are unknown."""
    whole = still_market(STEP_MS)
    bars = whole.data.bars
    prices = 100.0 + np.arange(len(bars.open_ms))[:, np.newaxis] * np.ones((1, 2))
    gapped = prices.copy()
    gapped[missing, 0] = np.nan
    bars = attrs.evolve(bars, open=gapped, high=gapped + 2, low=gapped - 2, close=gapped + 1)
    return RecordedMarket(
        attrs.evolve(whole.data, bars=bars),
        instruments=whole.instruments,
        half_spread=np.full(2, 1.0),
    )


@pytest.mark.parametrize(
    ("missing", "price"),
    [
        (slice(0, 0), 110.0),  # the open of the bar at the end
        (slice(10, 12), 110.0),  # the close of the bar before
        (slice(7, 12), 107.0),  # a gap over the end, with bars after it
        (slice(7, None), 107.0),  # no bars after it
        (slice(1, 12), 101.0),
    ],
)
def test_the_change_of_a_symbol_without_a_price_at_the_end_ends_at_its_newest_close(
    missing: slice, price: float
) -> None:
    market = rising(missing)
    found = measure_market(market, market.first_ms, MIDNIGHT_MS)
    assert found.changes["AAA"] == pytest.approx(price / 100 - 1)
    assert found.changes["BBB"] == pytest.approx(0.1)


def test_a_symbol_without_a_bar_at_the_start_has_no_change() -> None:
    market = rising(slice(0, 4))
    assert set(measure_market(market, market.first_ms, MIDNIGHT_MS).changes) == {"BBB"}


def test_the_digest_of_the_data_changes_with_prices_and_with_times() -> None:
    market = rising(slice(0, 0))
    bars = market.data.bars
    later = attrs.evolve(bars, open_ms=bars.open_ms - 7 * STEP_MS)
    dearer = attrs.evolve(bars, close=bars.close + 1)
    digests = {
        describe_data(
            RecordedMarket(
                attrs.evolve(market.data, bars=each),
                instruments=market.instruments,
                half_spread=np.full(2, 1.0),
            ),
            MIDNIGHT_MS,
        )["digest"]
        for each in (bars, later, dearer)
    }
    assert len(digests) == 3
