"""Trades from their first fill until they are flat, with stops, results and R.

A trade keeps totals, so the PnL of its result does not depend on the order of its fills.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import PositionAdopted, TradeClosed, TradeRestated
from kamou.core.kinds import ExitReason, FillReason
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import ZERO, FillReport, OrderRole, Plan, Side

ADOPTED = "adopted"
"""Strategy name of an adopted position."""

_R_STEP = Decimal("0.000000000001")  # R is shown with 2 decimals; 12 keep mean values exact


@attrs.frozen(kw_only=True)
class ConfirmedStop:
    """Stop of a position that was accepted and read back from the venue."""

    client_order_id: str
    quantity: Decimal  # contracts
    trigger_price: Decimal
    at_ms: int


@attrs.frozen(kw_only=True)
class OpenTrade:
    """Trade that has no published result yet. Quantities are contracts of its side."""

    trade_id: str
    permit_id: str  # empty if adopted
    symbol: str
    strategy: str
    side: Side
    contract_size: Decimal
    planned_entry: Decimal  # worst price at which the entry may fill; adopted: its entry price
    planned_stop: Decimal | None = None  # of the plan, also if the stop changed; None: no plan
    stop_price: Decimal  # trigger price that the stop must have now
    target_price: Decimal | None  # None: no take-profit
    leverage: int
    opened_at_ms: int
    hold_until_ms: int  # time limit; 0: none
    adopted: bool = False
    entered: Decimal = ZERO
    entered_value: Decimal = ZERO  # sum of quantity x price, without contract size
    unplanned: bool = False  # True: some contracts had no plan (adopted, corrected, external)
    exited: Decimal = ZERO
    exited_value: Decimal = ZERO
    fees: Decimal = ZERO  # money, positive is paid
    funding: Decimal = ZERO  # money, positive is received
    slippage: Decimal = ZERO  # money, already in the fill prices
    open_cost: Decimal = ZERO  # open quantity x the venue's average price, without contract size
    exit_reason: ExitReason | None = None  # None: no contract was closed
    tick: Decimal = ZERO  # tick size after ``TradeRestated``; 0: as planned
    changed_at_ms: int  # of the newest fill or correction
    confirmed: ConfirmedStop | None = None
    unprotected_since_ms: int  # 0 while a confirmed stop covers the position
    part: int = 1  # 2 or more: a late fill opened it again after a published result

    @property
    def result_id(self) -> str:
        """Id of the published result; each part of a trade has its own."""
        return result_id(self.trade_id, self.part)

    @property
    def ended_ms(self) -> int | None:
        """Time at which the trade became flat; None while contracts are open."""
        return None if self.quantity else self.changed_at_ms

    @property
    def quantity(self) -> Decimal:
        """Open contracts; negative if more were closed than opened, which is drift."""
        return self.entered - self.exited

    @property
    def signed(self) -> Decimal:
        """Open contracts, signed as at the venue: negative is short."""
        return self.quantity * self.side.sign

    @property
    def entry_price(self) -> Decimal:
        """Average price of all entry fills; the planned price before the first fill."""
        return self.entered_value / self.entered if self.entered else self.planned_entry

    @property
    def exit_price(self) -> Decimal | None:
        """Average price of all exit fills; None before the first one."""
        return self.exited_value / self.exited if self.exited else None

    @property
    def planned_distance(self) -> Decimal | None:
        """Distance from planned entry to planned stop, in price; None without a plan.

        The size was computed with it, so overshoots and the gap buffer are multiples of it.
        """
        if self.planned_stop is None:
            return None
        return abs(self.planned_entry - self.planned_stop)

    @property
    def planned_risk(self) -> Decimal | None:
        """Money of 1 R: planned distance x base units entered; None without a full plan."""
        distance = self.planned_distance
        if distance is None or self.unplanned:
            return None
        return distance * self.entered * self.contract_size

    @property
    def stop_on_tick(self) -> Decimal:
        """Trigger price of a stop placed now: ``stop_price`` on the tick towards the mark."""
        if not self.tick:
            return self.stop_price
        return round_to_tick(self.stop_price, self.tick, self.side.rounding_to_gain)

    @property
    def protected(self) -> bool:
        """True if a confirmed stop covers all open contracts."""
        return self.confirmed is not None and self.confirmed.quantity >= self.quantity

    @property
    def realized(self) -> Decimal:
        """Realized PnL, money, before fees and funding."""
        return (
            self.side.gain(self.exited * self.entry_price, self.exited_value) * self.contract_size
        )

    def unrealized_pnl(self, mark: Decimal) -> Decimal:
        """Return the unrealized PnL at the mark price, money, before exit costs."""
        return self.side.gain(self.open_cost, self.quantity * mark) * self.contract_size

    @property
    def margin(self) -> Decimal:
        """Isolated margin, money: open base units x average price / leverage."""
        return abs(self.open_cost) * self.contract_size / self.leverage

    def notional(self, mark: Decimal) -> Decimal:
        """Return the notional at the mark price, money, >= 0."""
        return abs(self.quantity) * self.contract_size * mark


def result_id(trade_id: str, part: int) -> str:
    """Return the id of the result of one part of a trade."""
    return trade_id if part == 1 else f"{trade_id}.{part}"


def open_trade(plan: Plan, trade_id: str, at_ms: int, part: int = 1) -> OpenTrade:
    """Return the empty trade that a fill of an approved plan's entry opens."""
    return OpenTrade(
        trade_id=trade_id,
        part=part,
        permit_id=plan.permit_id,
        symbol=plan.symbol,
        strategy=plan.strategy,
        side=plan.side,
        contract_size=plan.contract_size,
        planned_entry=plan.entry_price,
        planned_stop=plan.stop_price,
        stop_price=plan.stop_price,
        target_price=plan.target_price,
        leverage=plan.leverage,
        opened_at_ms=at_ms,
        hold_until_ms=at_ms + plan.hold_ms if plan.hold_ms else 0,
        changed_at_ms=at_ms,
        unprotected_since_ms=0,  # ``apply_fill`` sets it
    )


def adopt_trade(event: PositionAdopted) -> OpenTrade:
    """Return the trade of an adopted position."""
    return OpenTrade(
        trade_id=event.trade_id,
        permit_id="",
        symbol=event.symbol,
        strategy=ADOPTED,
        side=event.side,
        contract_size=event.contract_size,
        planned_entry=event.entry_price,
        stop_price=event.stop_price,
        target_price=None,
        leverage=1,
        opened_at_ms=event.at_ms,
        hold_until_ms=0,
        adopted=True,
        unplanned=True,
        entered=event.quantity,
        entered_value=event.quantity * event.entry_price,
        open_cost=event.quantity * event.entry_price,
        changed_at_ms=event.at_ms,
        unprotected_since_ms=event.at_ms,
    )


def apply_fill(
    trade: OpenTrade,
    fill: FillReport,
    role: OrderRole | None,
    intended_at_ms: int = 0,
    known_ms: int | None = None,
) -> OpenTrade:
    """Return the trade after the fill.

    A fill on the opening side adds contracts, one on the other side closes them, whatever the
    order's role, because the venue nets positions.

    Args:
        role: role of the fill's order; None if the book has no such order.
        intended_at_ms: time of the order's intent. An exit intended at the time limit or later has
            the reason TIME_LIMIT.
        known_ms: time of the fill's record, by this machine's clock; None: the time of the fill.
    """
    value = fill.quantity * fill.price
    change = fill.signed * trade.side.sign
    open_cost, _ = _averaged(trade, change, fill.price)
    changed = attrs.evolve(
        trade,
        fees=trade.fees + fill.fee,
        slippage=trade.slippage + fill.slippage,
        changed_at_ms=max(trade.changed_at_ms, fill.at_ms),
        open_cost=open_cost,
    )
    if fill.side is not trade.side.opening:
        reason = _exit_reason(trade, fill, role, intended_at_ms)
        return _close_contracts(changed, fill.quantity, value, reason)
    # If this machine's clock is behind, the fill's time is in the future: no deadline begins there.
    from_ms = fill.at_ms if known_ms is None else min(fill.at_ms, known_ms)
    return _add_contracts(changed, fill.quantity, value, from_ms, planned=role is OrderRole.ENTRY)


def _add_contracts(
    trade: OpenTrade, quantity: Decimal, value: Decimal, at_ms: int, *, planned: bool
) -> OpenTrade:
    """Return the trade with more contracts.

    If no confirmed stop covers them, the trade is unprotected from ``at_ms`` or earlier.
    """
    covered = trade.confirmed is not None and trade.confirmed.quantity >= trade.quantity + quantity
    return attrs.evolve(
        trade,
        entered=trade.entered + quantity,
        entered_value=trade.entered_value + value,
        unplanned=trade.unplanned or not planned,
        unprotected_since_ms=trade.unprotected_since_ms or (0 if covered else at_ms),
    )


def _close_contracts(trade: OpenTrade, gone: Decimal, value: Decimal, why: ExitReason) -> OpenTrade:
    exited, worth = trade.exited + gone, trade.exited_value + value
    return attrs.evolve(trade, exited=exited, exited_value=worth, exit_reason=why)


def realized_gain(trade: OpenTrade, fill: FillReport) -> Decimal:
    """Return the PnL that ``fill`` realizes on ``trade``, money, before its fee."""
    _, made = _averaged(trade, fill.signed * trade.side.sign, fill.price)
    return made * trade.side.sign * trade.contract_size


def _averaged(trade: OpenTrade, change: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
    """Return ``open_cost`` after ``change`` contracts at ``price``, and the gain.

    Added contracts change the average price; closed ones realize a gain against it. The gain is
    contracts x price, of a long and without contract size.
    """
    held, cost = trade.quantity, trade.open_cost
    after = held + change
    if held * change >= 0:
        return cost + change * price, ZERO
    average = cost / held
    closed = min(abs(held), abs(change)) * Side.of(held).sign
    made = (price - average) * closed
    return (average if held * after >= 0 else price) * after, made


def correct_trade(trade: OpenTrade, quantity: Decimal, price: Decimal, at_ms: int) -> OpenTrade:
    """Return the trade with ``quantity`` open contracts, changed at ``price``.

    If the trade closed more than it opened, the excess opened a position of the other side, which
    is adopted as another trade.
    """
    if trade.quantity < 0:
        own = trade.exited_value * trade.entered / trade.exited
        trade = attrs.evolve(trade, exited=trade.entered, exited_value=own, open_cost=ZERO)
    gone = trade.quantity - quantity
    if gone == 0:
        kept = trade.exit_reason or ExitReason.EXTERNAL
        return attrs.evolve(trade, changed_at_ms=at_ms, exit_reason=kept)
    open_cost, _ = _averaged(trade, -gone, price)
    changed = attrs.evolve(trade, changed_at_ms=at_ms, open_cost=open_cost)
    if gone > 0:
        return _close_contracts(changed, gone, gone * price, ExitReason.EXTERNAL)
    changed = attrs.evolve(changed, exit_reason=trade.exit_reason or ExitReason.EXTERNAL)
    return _add_contracts(changed, -gone, -gone * price, at_ms, planned=False)


def restate_trade(trade: OpenTrade, event: TradeRestated) -> OpenTrade:
    """Return the trade in the event's contract size, tick and stop; base units stay."""

    def resize(contracts: Decimal) -> Decimal:
        return contracts * trade.contract_size / event.contract_size

    stop, target = trade.confirmed, trade.target_price
    if target is not None:  # towards the entry
        target = round_to_tick(target, event.tick, trade.side.rounding_to_loss)
    return attrs.evolve(
        trade,
        contract_size=event.contract_size,
        tick=event.tick,
        stop_price=event.stop_price,
        target_price=target,
        entered=resize(trade.entered),
        entered_value=resize(trade.entered_value),
        exited=resize(trade.exited),
        exited_value=resize(trade.exited_value),
        open_cost=resize(trade.open_cost),
        confirmed=attrs.evolve(stop, quantity=resize(stop.quantity)) if stop else None,
    )


def confirm_stop(trade: OpenTrade, stop: ConfirmedStop) -> OpenTrade:
    """Return the trade with a confirmed stop.

    The trade is protected if the stop covers all open contracts.
    """
    covered = stop.quantity >= trade.quantity
    since = 0 if covered else trade.unprotected_since_ms or stop.at_ms
    return attrs.evolve(trade, confirmed=stop, unprotected_since_ms=since)


def lose_stop(trade: OpenTrade, at_ms: int) -> OpenTrade:
    """Return the trade without confirmed stop, unprotected from ``at_ms`` or earlier."""
    return attrs.evolve(
        trade, confirmed=None, unprotected_since_ms=trade.unprotected_since_ms or at_ms
    )


def closed_trade(trade: OpenTrade, at_ms: int) -> TradeClosed:
    """Return the result of a flat trade, net of fees and funding.

    R = net / (|planned entry - planned stop| x base units entered); None without planned risk.
    """
    assert trade.quantity == 0, f"trade {trade.trade_id} is not flat: {trade.quantity} contracts"
    assert trade.entered > 0, f"trade {trade.trade_id} has no entry fill"
    gross = trade.side.gain(trade.entered_value, trade.exited_value) * trade.contract_size
    net = gross - trade.fees + trade.funding
    entry, exit_price = trade.entry_price, trade.exit_price
    assert exit_price is not None, f"trade {trade.trade_id} has no exit fill"
    return TradeClosed(
        at_ms=at_ms,
        cause_id=trade.trade_id,
        trade_id=trade.result_id,
        symbol=trade.symbol,
        strategy=trade.strategy,
        side=trade.side,
        quantity=trade.entered,
        contract_size=trade.contract_size,
        entry_price=entry,
        exit_price=exit_price,
        stop_price=trade.stop_price,
        planned_entry=trade.planned_entry if trade.planned_stop is not None else None,
        planned_stop=trade.planned_stop,
        opened_at_ms=trade.opened_at_ms,
        closed_at_ms=trade.changed_at_ms,
        pnl_gross=gross,
        fees=trade.fees,
        funding=trade.funding,
        slippage=trade.slippage,
        pnl_net=net,
        r_multiple=r_multiple(net, trade.planned_risk),
        exit_reason=trade.exit_reason or ExitReason.EXTERNAL,
    )


def r_multiple(net: Decimal, risk: Decimal | None) -> Decimal | None:
    """Return net PnL / planned risk, both money; None if the risk is unknown or 0."""
    return (net / risk).quantize(_R_STEP) if risk else None


def _exit_reason(
    trade: OpenTrade, fill: FillReport, role: OrderRole | None, intended_at_ms: int
) -> ExitReason:
    if fill.reason is FillReason.LIQUIDATION:
        return ExitReason.LIQUIDATION
    if fill.reason is FillReason.ADL:
        return ExitReason.ADL
    if fill.reason is FillReason.SETTLEMENT:
        return ExitReason.DELISTING
    if role is OrderRole.STOP_LOSS:
        return ExitReason.STOP_LOSS
    if role is OrderRole.TAKE_PROFIT:
        return ExitReason.TAKE_PROFIT
    if role is OrderRole.EXIT:
        over = 0 < trade.hold_until_ms <= intended_at_ms
        return ExitReason.TIME_LIMIT if over else ExitReason.EXIT
    return ExitReason.EXTERNAL
