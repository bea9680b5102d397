"""``Passage``, which moves market time and applies orders and payments on the way.

For each symbol a ``PriceWatch`` has the nearest price below and above the market at which an order
or a liquidation would act. So a period in which the market reaches no such price costs one vector
comparison.
"""

from __future__ import annotations

import numpy as np

from kamou.clock import next_ms
from kamou.core.arrays import Floats
from kamou.core.day import HOUR_MS
from kamou.core.market.instruments import FUNDING_JITTER_MS
from kamou.venue.account import VenueAccount
from kamou.venue.computed import Computed
from kamou.venue.ended_markets import EndingSource, next_stop_ms, settle_ended
from kamou.venue.market.funding_calendar import FundingSource
from kamou.venue.market.market import MarketSource
from kamou.venue.matching import Matcher
from kamou.venue.price_watch import PriceWatch, watch_account


class Passage:
    """Moves the market time of one account, and applies what happens on the way."""

    def __init__(
        self,
        source: MarketSource,
        account: VenueAccount,
        matcher: Matcher,
        column: dict[str, int],
    ) -> None:
        self._source = source
        # isinstance with a protocol is slow, so it is called once.
        self._ends = source if isinstance(source, EndingSource) else None
        self._funding = source if isinstance(source, FundingSource) else None
        self._account = account
        self._matcher = matcher
        self._column = column
        self._watch: Computed[PriceWatch] = Computed()

    def move_to(self, to_ms: int) -> None:
        """Move market time to ``to_ms`` by hours, and by bars where an order may act.

        It also moves by bars where a position may be liquidated, and at once without orders and
        positions. On the way funding is paid, and positions of ended markets are settled.
        """
        account, state = self._account, self._account.state
        while state.market_ms < to_ms:
            if not state.live and not state.positions:
                account.move_to(to_ms)
                break
            end_ms = next_stop_ms(self._ends, state.positions, state.market_ms, to_ms)
            if not self._watch_now().is_quiet(state.market_ms, end_ms, self._source.segment):
                self._move_through_bars(end_ms)
            account.move_to(end_ms)
            settle_ended(self._ends, account)
            if end_ms % HOUR_MS == 0 and state.positions:
                self._close_hour()

    def _watch_now(self) -> PriceWatch:
        account = self._account
        return self._watch.get(
            account.state.revision,
            lambda: watch_account(account, self._column, self._source.step_ms),
        )

    def _move_through_bars(self, end_ms: int) -> None:
        """Move market time to ``end_ms`` bar by bar.

        Orders fill and positions are liquidated at the prices that the bars reach.
        """
        source, state = self._source, self._account.state
        while state.market_ms < end_ms:
            until_ms = min(end_ms, next_ms(state.market_ms, source.step_ms))
            path = source.segment(state.market_ms, until_ms)
            self._account.move_to(until_ms)
            for column in self._watch_now().find_reached(path):
                prices = self._account.prices_now()
                self._matcher.pass_through(
                    source.symbols[column], prices.path_of(path, int(column))
                )

    def _close_hour(self) -> None:
        """Store the mark prices, and settle the funding that is due at this hour."""
        account, hour_ms = self._account, self._account.state.market_ms
        rates = self._settled_rates(hour_ms)
        for symbol in sorted(account.state.positions):
            account.store_mark(symbol)
            rate = float(rates[self._column[symbol]])
            hours = self._settled_hours(symbol, hour_ms, known=rate == rate)
            if hours is not None:
                account.pay_funding(symbol, rate, hours)

    def _settled_hours(self, symbol: str, hour_ms: int, *, known: bool) -> int | None:
        """Return the hours that a settlement at this hour covers; None if there is none.

        Args:
            symbol: the symbol of an open position.
            hour_ms: a full hour.
            known: True if the rate of a settlement at this hour is recorded.
        """
        interval_h = self._account.instruments[symbol].funding_interval_h
        if known:
            return interval_h
        if self._funding is not None:
            return self._funding.funding_calendar.assumed_hours(symbol, hour_ms, interval_h)
        return None if hour_ms % (interval_h * HOUR_MS) else interval_h

    def _settled_rates(self, hour_ms: int) -> Floats:
        """Return the funding rates settled at this hour, ``[symbols]``; NaN where unknown."""
        rows = self._source.funding_rates(
            hour_ms - FUNDING_JITTER_MS, hour_ms + FUNDING_JITTER_MS
        ).values
        rates = np.full(len(self._source.symbols), np.nan)
        for row in rows:
            rates = np.where(np.isnan(row), rates, row)
        return rates
