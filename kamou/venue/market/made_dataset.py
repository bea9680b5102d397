"""A dataset made of a part of any market."""

from __future__ import annotations

from kamou.core.market.bars import Dataset
from kamou.venue.market.market import MarketSource


def materialise(market: MarketSource, name: str, from_ms: int, to_ms: int) -> Dataset:
    """Return the bars and series of an interval as a dataset that can be stored."""
    return Dataset(
        name=name,
        bars=market.bars(market.step_ms, from_ms, to_ms),
        funding=market.funding_rates(from_ms - 1, to_ms),
        open_interest=market.open_interest(from_ms - 1, to_ms),
    )
