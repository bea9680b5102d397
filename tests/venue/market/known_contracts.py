"""The contract specifications that a recorded market has listed by a time."""

from __future__ import annotations

from kamou.core.model import Instrument
from kamou.venue.market.recorded import RecordedMarket


def instruments_at(market: RecordedMarket, at_ms: int) -> tuple[Instrument, ...]:
    """Return the contract specifications that are known at ``at_ms``, by column."""
    known = {each.symbol: each for each in market.instruments}
    for change in market.contract_changes(-1, at_ms):
        known[change.symbol] = change.apply_to(known[change.symbol])
    return tuple(known[symbol] for symbol in market.symbols)
