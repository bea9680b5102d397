"""Invariant 4, at each sent entry: quote valid and fresh, clock error small."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kamou.core.model import Intent, Quote
from kamou.simulator.invariants.observed import SKEW_MAX_MS, Observed, ReportViolation
from kamou.simulator.invariants.outside_changes import KNOWN_AFTER_MS
from kamou.venue.violations import HardRule

SKEW_SEEN_MS = 1_500  # clock error above which entries must pause
READ_MS = 4_000  # longest travel time of a read


@attrs.define
class EntryInputs:
    """The checks of the data that the process read before it sent an entry."""

    observed: Observed
    report: ReportViolation
    skew: tuple[int, int] = (0, 0)  # (clock error, since when) in ms, if it can be measured
    _quotes: dict[str, tuple[int, Quote]] = attrs.Factory(dict)  # newest reported: (at_ms, quote)

    def record_quotes(self, now_ms: int, quotes: Mapping[str, Quote]) -> None:
        """Store the quotes that the venue reported, whether true or false."""
        for symbol, quote in quotes.items():
            self._quotes[symbol] = (now_ms, quote)

    def check_entry(self, intent: Intent, now_ms: int) -> None:
        """Check an entry that the process is about to send."""

        def wrong(rule: HardRule, detail: str) -> None:
            self.report(rule, now_ms, intent.symbol, f"{intent.client_order_id}: {detail}")

        error_ms, since_ms = self.skew
        skewed_ms = now_ms - since_ms - self.observed.excused_ms("", since_ms, now_ms)
        if abs(error_ms) > SKEW_SEEN_MS and skewed_ms > KNOWN_AFTER_MS:
            detail = f"entered with a clock error of {error_ms} ms for {skewed_ms} ms"
            wrong(HardRule.SKEWED, detail)
        reported_ms, quote = self._quotes.get(intent.symbol, (0, None))
        if quote is None or not all(
            price.is_finite() and price > 0 for price in (quote.bid, quote.ask, quote.mark)
        ):
            wrong(HardRule.BAD_QUOTE, f"entered on {quote or 'no quote'}")
        elif quote.bid > quote.ask:
            detail = f"entered on a crossed quote, bid {quote.bid} ask {quote.ask}"
            wrong(HardRule.BAD_QUOTE, detail)
        else:
            age_ms = reported_ms - quote.at_ms
            age_max_ms = self.observed.limits.quote_age_max_s * 1000
            if age_ms > age_max_ms + SKEW_MAX_MS + READ_MS:
                wrong(HardRule.STALE_QUOTE, f"entered on a quote {age_ms} ms old")
