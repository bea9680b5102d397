"""Defects in what the system knows of the venue and of money, named by the design."""

from __future__ import annotations

from kamou.venue.violations import HardRule
from tests.simulation.mutants import BELIEVED_AT_ONCE, RECONCILIATION, Mutant

RULES = "kamou/core/risk/rules_inputs.py"
DAY = "kamou/core/day.py"
STATES = "kamou/core/risk/states.py"
PORTFOLIO = "kamou/core/book/trades.py"
GOVERNOR = "kamou/actors/risk_governor.py"

MONEY = (
    Mutant(
        name="the governor counts fills and no permits",
        file="kamou/core/risk/exposure.py",
        old="        if reservation.remaining > 0:\n",
        new="        if reservation.remaining < 0:\n",
        notices=(HardRule.CLUSTER, HardRule.OPEN_RISK),
        faults="timeout_before_accept,timeout_after_accept,tight_limits",
        seeds=30,
    ),
    Mutant(
        name="a failed query is read as flat",
        file="kamou/actors/reconciler.py",
        old="        account = await port.account()\n        positions = await port.positions()\n",
        new="""        try:
            positions = await port.positions()
        except (UnreachableError, RateLimitedError):
            positions = ()
        try:
            account = self.__dict__["account"] = await port.account()
        except (UnreachableError, RateLimitedError):
            account = self.__dict__["account"]
""",
        also=(BELIEVED_AT_ONCE,),
        notices=(HardRule.UNSETTLED, HardRule.UNPROTECTED),
        seeds=30,
    ),
    Mutant(
        name="a position that one list omits counts as closed",
        file=RECONCILIATION,
        old=BELIEVED_AT_ONCE[1],
        new=BELIEVED_AT_ONCE[2],
        notices=(HardRule.UNSETTLED, HardRule.UNPROTECTED),
        faults="lying_venue",
    ),
    Mutant(
        name="no actor compares the clocks",
        file="kamou/core/reconciliation/venue_view.py",
        old="    if venue_ms > response_at_ms:\n",
        new="    if venue_ms:\n        return 0\n    if venue_ms > response_at_ms:\n",
        notices=(HardRule.SKEWED,),
        faults="clock_skew",
        seeds=30,
    ),
    Mutant(
        name="instruments are read at the start only",
        file="kamou/actors/reconciler.py",
        old="        if listed is self._listed:\n",
        new="        if self._listed:\n",
        notices=(HardRule.EXPOSURE, HardRule.UNSETTLED),
        faults="instrument_change",
        seeds=20,
    ),
    Mutant(
        name="a halt is acted on and never journalled",
        file=GOVERNOR,
        old="""        await self._journal.commit(event)
        self._follower.catch_up()
        self._orders""",
        new="        self._orders",
        notices=(HardRule.DISOBEYED,),
        faults="operator",
    ),
    Mutant(
        name="the daily loss limit reads the wallet balance instead of the equity",
        file=STATES,
        old="    day = book.measure_day(read.equity, ",
        new="    day = book.measure_day(book.account.wallet_balance, ",
        tests=("tests/core/risk/test_governor_states.py",),
        fails=("test_the_daily_loss_limit_acts_at_exactly_the_limit",),
    ),
    Mutant(
        name="a withdrawal counts as a loss of the day",
        file=DAY,
        old="return self.equity - self.equity_start - self.net_deposits",
        new="return self.equity - self.equity_start",
        notices=(HardRule.FALSE_ALARM,),
        faults="insufficient_margin",
    ),
    Mutant(
        name="the daily loss limit never acts",
        file=STATES,
        old="        if day.loss >= limit * share:\n",
        new="        if day.loss >= limit * share * 100:\n",
        notices=(HardRule.DAY_LOSS,),
        faults="liquidation",
        seeds=20,
    ),
    Mutant(
        name="frozen quotes are accepted",
        file=RULES,
        old="    if -CLOCK_SKEW_MS <= age_ms <= limit_ms:\n",
        new="    if -CLOCK_SKEW_MS <= age_ms:\n",
        also=(
            (
                "kamou/core/vetoes/staleness.py",
                "    if bar_age_ms <= bar_age_max_ms and quote_age_ms <= quote_age_max_ms:\n",
                "    if bar_age_ms <= bar_age_max_ms:\n",
            ),
            # Without this change the old mark of an open position denies as well.
            (
                RULES,
                "        if age_ms > limit_ms:\n            return make_denial(Deny.MARK_STALE",
                "        if age_ms > 10**12:\n            return make_denial(Deny.MARK_STALE",
            ),
        ),
        notices=(HardRule.STALE_QUOTE,),
        faults="stale_feed,frozen_feed",
    ),
    Mutant(
        name="quotes that are no numbers, or crossed, are accepted",
        file="kamou/core/model.py",
        old="        return all(p.is_finite() and p > ZERO for p in prices) and self.bid",
        new="        return len(prices) == 3 or self.bid",
        # The governor checks the quote of an entry again, so simulations only see a crash.
        tests=("tests/core/test_quotes.py",),
        fails=(
            "test_a_quote_with_a_price_that_is_no_positive_number_is_not_sound",
            "test_a_crossed_quote_is_not_sound",
        ),
        faults="",
    ),
    Mutant(
        name="fees are not subtracted from a trade's result",
        file=PORTFOLIO,
        old="    net = gross - trade.fees + trade.funding\n",
        new="    net = gross + trade.funding\n",
        notices=(HardRule.UNSETTLED,),
        faults="none",
    ),
    Mutant(
        name="funding is left out of a trade's result",
        file=PORTFOLIO,
        old="    net = gross - trade.fees + trade.funding\n",
        new="    net = gross - trade.fees\n",
        notices=(HardRule.UNSETTLED,),
        faults="none",
        hours=4.5,
        seeds=4,
    ),
)
