"""The refiner's money: the price of calls and the daily budget.

Money is reserved before a call and settled after it. A call without a valid usage costs its whole
reservation.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs

from kamou.core.book.refiner_events import RefinerCallsEnded, RefinerCallsReserved
from kamou.core.day import utc_day

MILLION = Decimal(1_000_000)


@attrs.frozen(kw_only=True)
class TokenPrices:
    """Prices in USD per million tokens."""

    input_usd: Decimal
    output_usd: Decimal

    def cost(self, tokens_in: int, tokens_out: int) -> Decimal:
        """Return the price of these tokens, in USD."""
        return (tokens_in * self.input_usd + tokens_out * self.output_usd) / MILLION

    def cost_max(self, request_bytes: int, max_output_tokens: int) -> Decimal:
        """Return the highest price of a request: a token has at least one byte."""
        return self.cost(request_bytes, max_output_tokens)


@attrs.define(kw_only=True)
class DailyBudget:
    """Money spent and reserved on one UTC day.

    If the clock is set back to an earlier day, the later day's sum stays in force.
    """

    limit_usd: Decimal
    day: str = ""
    used_usd: Decimal = Decimal(0)  # spent, and reserved for calls that have not ended

    def reserve(self, amount_usd: Decimal, at_ms: int) -> bool:
        """Reserve money; return False, and reserve nothing, if too little is left."""
        if (day := utc_day(at_ms)) > self.day:
            self.day, self.used_usd = day, Decimal(0)
        if self.used_usd + amount_usd > self.limit_usd:
            return False
        self.used_usd += amount_usd
        return True

    def settle(self, reserved_usd: Decimal, cost_usd: Decimal, reserved_at_ms: int) -> None:
        """Replace a reservation by its cost, on the day of the reservation."""
        if utc_day(reserved_at_ms) == self.day:
            self.used_usd += cost_usd - reserved_usd

    def restore(
        self,
        reservations: Iterable[RefinerCallsReserved],
        ends: Iterable[RefinerCallsEnded],
        at_ms: int,
    ) -> None:
        """Set the sum of the UTC day of ``at_ms`` from the journal's events.

        A reservation whose calls have not ended counts in full.
        """
        costs = {end.unique_key: end.cost_usd for end in ends}
        self.day = utc_day(at_ms)
        self.used_usd = sum(
            (
                costs.get(each.unique_key, each.reserved_usd)
                for each in reservations
                if utc_day(each.at_ms) >= self.day
            ),
            Decimal(0),
        )
