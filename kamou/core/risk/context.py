"""Inputs of one review of an entry, and the figures computed from them.

``ReviewContext`` has both. ``size_factor`` is the factor of the full size in a trading state.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property

import attrs

from kamou.core.book.position_book import PositionBook
from kamou.core.book.recent_activity import GapBuffer
from kamou.core.day import Day
from kamou.core.kinds import RiskPart
from kamou.core.model import (
    Account,
    Instrument,
    Plan,
    PositionReport,
    Quote,
    TradingState,
)
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.costs import ExpectedHold, TradeCosts, trade_costs
from kamou.core.risk.equity import CurrentEquity, current_equity
from kamou.core.risk.exposure import Exposure, compute_exposure
from kamou.core.risk.limits import RiskLimits, TradingParameters


@attrs.frozen(kw_only=True, eq=False)
class ReviewContext:
    """Inputs of the governor's review of one plan, and the figures that rules compare.

    Exposure, equity and costs come from functions that planning also uses; risk and notional of the
    plan are computed without the sizing code. Most figures need ``valid``. A rule that uses them
    runs only if it is True; otherwise the rule ``data_valid`` denies the plan.
    """

    plan: Plan
    book: PositionBook
    quote: Quote | None
    marks: Mapping[str, Quote] = attrs.field(factory=dict)  # of open positions, read for the review
    account: Account | None  # the newest read; None: no read
    positions: tuple[PositionReport, ...]  # at the venue
    reconciled: bool  # True: book and venue agreed in this process's last reconciliation
    clock_offset_ms: int = 0  # venue's clock less this machine's, the part that is certain
    parameters: TradingParameters
    now_ms: int
    grant: LiveGrant | None  # of the plan's strategy; None: not live
    excluded: frozenset[str] = frozenset()  # symbols
    funding_rate: Decimal | None = None  # fraction per funding interval; None: the cost model's
    tokens: float = 0.0  # messages to the venue that may be sent now

    @property
    def limits(self) -> RiskLimits:
        """Risk limits of ``parameters``."""
        return self.parameters.limits

    @cached_property
    def instrument(self) -> Instrument | None:
        """Instrument of the plan's symbol; None if the venue does not list it."""
        return self.book.instruments.get(self.plan.symbol)

    @cached_property
    def bad_inputs(self) -> tuple[str, ...]:
        """Names of the inputs that are missing, not finite, not positive or crossed.

        Crossed: the bid is above the ask.
        """
        plan = self.plan
        numbers: dict[str, Decimal] = {
            "quantity": plan.quantity,
            "contract_size": plan.contract_size,
            "entry_price": plan.entry_price,
            "limit_price": plan.limit_price,
            "stop_price": plan.stop_price,
            "target_price": plan.target_price,
        }
        if self.quote is not None:
            quote = self.quote
            numbers.update(bid=quote.bid, ask=quote.ask, mark=quote.mark)
        if self.account is not None:
            numbers.update(equity=self.account.equity, wallet_balance=self.account.wallet_balance)
        bad = [name for name, number in numbers.items() if not number.is_finite() or number <= 0]
        if self.quote is None:
            bad.append("quote")
        elif not bad and self.quote.ask < self.quote.bid:
            bad.append("crossed_quote")
        if self.account is None:
            bad.append("account")
        if self.instrument is None:
            bad.append("instrument")
        if plan.leverage < 1:
            bad.append("leverage")
        if not self.book.day.equity > 0:
            bad.append("day_equity")
        if not bad and not self.now.sizing_equity > 0:
            bad.append("equity")
        return tuple(bad)

    @property
    def valid(self) -> bool:
        """True if ``bad_inputs`` is empty."""
        return not self.bad_inputs

    # --- figures; they need ``valid`` ---

    @cached_property
    def sound(self) -> tuple[Instrument, Quote, Account]:
        """Instrument, quote and account. An assertion fails if one is missing."""
        assert self.instrument is not None
        assert self.quote is not None
        assert self.account is not None
        return self.instrument, self.quote, self.account

    @cached_property
    def now(self) -> CurrentEquity:
        """Equity of the account as of this review. The account's figures must be finite."""
        return current_equity(
            self.book,
            self.account,
            self.quotes,
            costs=self.parameters.costs,
            now_ms=self.now_ms,
        )

    @property
    def sizing_equity(self) -> Decimal:
        """Money of which the limits are fractions: min(equity, wallet balance)."""
        return self.now.sizing_equity

    @cached_property
    def fraction(self) -> Decimal:
        """Share of the full size that grant and trading state leave to this trade.

        The limits of hard rules 1 and 2 are multiplied by it.
        """
        share = self.grant.size_fraction if self.grant else Decimal(1)
        return share * size_factor(self.book.trading.state, self.limits)

    @cached_property
    def trade_costs(self) -> TradeCosts:
        """Costs of the plan's entry and exit, as fractions of price."""
        instrument, quote, _ = self.sound
        return trade_costs(
            instrument=instrument,
            costs=self.parameters.costs,
            spread=quote.spread,
            price=quote.mid,
            hold=ExpectedHold(
                side=self.plan.side, hold_ms=self.plan.hold_ms, funding_rate=self.funding_rate
            ),
        )

    @cached_property
    def gap_buffer(self) -> GapBuffer:
        """Gap buffer at the time of this review, with its arithmetic."""
        return self.book.recent_activity.gap_buffer(self.limits, self.now_ms)

    @property
    def gap(self) -> Decimal:
        """Gap buffer as a multiple of the stop distance."""
        return self.gap_buffer.value

    @cached_property
    def price(self) -> Decimal:
        """Worst price at which the entry may fill."""
        plan = self.plan
        return plan.side.opening.worse(plan.entry_price, plan.limit_price)

    @cached_property
    def units(self) -> Decimal:
        """Quantity of the plan in base units."""
        return self.plan.quantity * self.plan.contract_size

    @cached_property
    def notional(self) -> Decimal:
        """Notional, money, at the highest price at which a filled position may be valued.

        That is the highest of entry price, limit price, mark price and the touch.
        """
        _, quote, _ = self.sound
        touch = quote.touch(self.plan.side.opening)
        return self.units * max(self.plan.entry_price, self.plan.limit_price, quote.mark, touch)

    @cached_property
    def risk_parts(self) -> tuple[tuple[RiskPart, Decimal], ...]:
        """Worst case by cause, money. It does not use ``unit_loss``, so it checks sizing."""
        c, entry, stop = self.trade_costs, self.price, self.plan.stop_price
        distance = abs(entry - stop)
        fees = c.fee_in * entry + c.fee_out * stop + c.slip * (entry + stop)
        return (
            (RiskPart.PRICE, distance * self.units),
            (RiskPart.COSTS, (fees + c.funding * entry) * self.units),
            (RiskPart.GAP, self.gap * distance * self.units),
        )

    @cached_property
    def risk(self) -> Decimal:
        """Worst case, money: the sum of ``risk_parts`` or the plan's figure, if higher."""
        return max(sum((money for _, money in self.risk_parts), Decimal(0)), self.plan.risk)

    @cached_property
    def quotes(self) -> dict[str, Quote]:
        """Quotes of open positions and of the plan's symbol, by symbol."""
        own = {} if self.quote is None else {self.plan.symbol: self.quote}
        return {**self.marks, **own}

    @cached_property
    def exposure(self) -> Exposure:
        """Exposure of the book, without this plan."""
        return compute_exposure(
            self.book,
            marks={s: quote.mark for s, quote in self.quotes.items() if quote.sound},
            parameters=self.parameters,
            now_ms=self.now_ms,
        )

    @cached_property
    def day(self) -> Day:
        """Money of the UTC day, as of this review."""
        return self.book.measure_day(self.now.equity, self.now.exit_costs)

    @property
    def day_loss(self) -> Decimal:
        """Money lost since 00:00 UTC with exit costs, without transfers, >= 0."""
        return self.day.money_lost

    @property
    def day_left(self) -> Decimal:
        """Money that the day may still lose, less the costs of reserved entries."""
        return self.day.left(self.limits.daily_loss_max) - self.exposure.reserved_costs

    @cached_property
    def margin_used(self) -> Decimal:
        """Margin of the newest account read and of the trades opened since, money."""
        account, since_ms = self.sound[2], self.now.account_at_ms
        # ``now`` begins at the book's equity snapshot if that is newer than the account read.
        used = account.margin_used if account.at_ms >= since_ms else self.book.account.margin_used
        opened = (t.margin for t in self.book.trades.open.values() if t.opened_at_ms >= since_ms)
        return used + sum(opened, Decimal(0))

    @property
    def day_limit(self) -> Decimal:
        """Money that the open UTC day may lose in all."""
        return self.day.limit(self.limits.daily_loss_max)


def size_factor(state: TradingState, limits: RiskLimits) -> Decimal:
    """Return the factor of the full size in a trading state.

    It multiplies the limits of hard rules 1 and 2. It is ``reduced_size`` in REDUCED_SIZE and 1
    otherwise. Planning and governor use the same factor.
    """
    return limits.reduced_size if state is TradingState.REDUCED_SIZE else Decimal(1)
