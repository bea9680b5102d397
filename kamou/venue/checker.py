"""The venue's checker, which folds the audit log and reports broken hard rules.

``Checker`` takes one audit record after the other, ``check`` takes a whole log. The arithmetic is
the checker's own: it shares no code with the governor, the sizing or the venue's booking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Protocol

import attrs

from kamou.core.day import show_utc
from kamou.core.model import BPS_PER_UNIT, ZERO, Account, Instrument, OrderType, PositionReport
from kamou.venue.state import (
    AuditRecord,
    ContractAudit,
    FillAudit,
    MoneyAudit,
    MoneyKind,
    OrderAudit,
    OrderStep,
)
from kamou.venue.violations import HardRule, Violation

D = Decimal
CENT = D("0.01")


@attrs.frozen(kw_only=True)
class CheckLimits:
    """Limits of one trade, as fractions unless their names say otherwise."""

    risk_per_trade: Decimal = D("0.01")  # of sizing equity
    exposure_per_symbol: Decimal = D("0.15")  # of sizing equity
    gap_buffer: Decimal = D("0.25")  # of the stop distance
    slippage_bps: Decimal = D("2")  # of the assumed stop fill
    protection_deadline_ms: int = 10_000  # the longest period without a confirmed stop
    # Of a limit: sizing equity changes between the read that sized an order and its fill.
    tolerance: Decimal = D("0.05")


@attrs.frozen(kw_only=True)
class CheckReport:
    """Violations and totals of one checked audit log. Money is in USDT."""

    violations: tuple[Violation, ...]
    worst_overshoot_r: Decimal  # largest of all stop fills, over the distance entry to trigger
    fills: int
    orders: int
    entries: int  # Kamou's fills that added exposure
    fees: Decimal
    funding: Decimal  # > 0 if the account received it
    realized: Decimal
    wallet_balance: Decimal  # recomputed


@attrs.define(kw_only=True)
class StopSeen:
    """A live stop, from its newest audit record."""

    sell: bool
    remaining: Decimal  # contracts
    trigger: Decimal


@attrs.define(kw_only=True)
class SymbolSeen:
    """The checker's state of one symbol."""

    position: Decimal = ZERO  # signed contracts
    entry: Decimal = ZERO  # average entry price
    stops: dict[str, StopSeen] = attrs.Factory(dict)  # by client order id
    unprotected_since_ms: int | None = None  # start of the period without a full stop
    reported: bool = False  # this unprotected period is already a violation
    contract_size: Decimal = ZERO
    taker_fee: Decimal = ZERO  # the account's rate at the newest fill, a fraction of notional
    external: bool = False  # an external order added to the position, so entry rules do not apply
    unchecked: list[FillAudit] = attrs.Factory(list)  # fills of entries without a stop so far

    def covering(self) -> list[StopSeen]:
        """Return the stops on the side that closes the position."""
        return [s for s in self.stops.values() if s.sell == (self.position > ZERO)]

    @property
    def covered(self) -> bool:
        """True if the stops cover the whole position."""
        return sum((s.remaining for s in self.covering()), ZERO) >= abs(self.position)


class Portfolio(Protocol):
    """A second checker, which checks the limits on the whole portfolio."""

    def take(self, seen: Checker, record: AuditRecord) -> None:
        """Take the next audit record, before ``seen`` books it."""

    def count_entry(self, seen: Checker, record: FillAudit) -> None:
        """Count a fill that added exposure."""

    def check_entry(self, seen: Checker, name: str, record: FillAudit, at_ms: int) -> None:
        """Check an entry into the symbol ``name`` whose stops cover the position now."""


ExcusedTime = Callable[[str, int, int], int]
"""(symbol, since_ms, until_ms) -> ms of that time in which no process could place a stop."""


def never_excused(symbol: str, since_ms: int, until_ms: int) -> int:
    """Return 0: in all this time a process could place a stop."""
    return 0


class Checker:
    """The checks of an audit log, record by record; violations are in ``found``.

    Rules that need a whole instant are checked when a record of a later time is taken, or by
    ``check_until``. The time that ``excused_ms`` returns does not count towards the deadline of a
    stop. ``is_ours`` returns True for the client order id of an order of Kamou. The entry rules do
    not apply to external orders.
    """

    def __init__(
        self,
        limits: CheckLimits,
        *,
        excused_ms: ExcusedTime = never_excused,
        is_ours: Callable[[str], bool] = lambda client_order_id: True,
    ) -> None:
        self.limits = limits
        self._excused_ms = excused_ms
        self.is_ours = is_ours
        self._instant: int | None = None  # time (ms) of the newest audit record
        self.portfolio: Portfolio | None = None  # checks the limits on the whole portfolio
        self.found: list[Violation] = []
        self.symbols: dict[str, SymbolSeen] = {}
        self.held: dict[str, SymbolSeen] = {}  # the symbols with a position
        self.accepted: set[str] = set()  # client order ids
        self.wallet_balance = ZERO
        self.fees = ZERO
        self.funding = ZERO
        self.realized = ZERO
        self.fills = 0
        self.entries = 0
        self.overshoot = ZERO

    def report_violation(self, rule: HardRule, at_ms: int, symbol: str, detail: str) -> None:
        """Add a violation to ``found``."""
        self.found.append(Violation(rule=rule, at_ms=at_ms, symbol=symbol, detail=detail))

    def symbol(self, symbol: str) -> SymbolSeen:
        """Return the state of one symbol; a new one before its first record."""
        return self.symbols.setdefault(symbol, SymbolSeen())

    # --- the audit log ----------------------------------------------------------------

    def take(self, record: AuditRecord) -> None:
        """Take the next audit record; first check the newest instant, if it is over."""
        instant = self._instant
        if instant is not None and record.at_ms != instant:
            self.check_instant(instant)
            self.check_deadlines(record.at_ms)
        self._instant = record.at_ms
        if self.portfolio is not None:
            self.portfolio.take(self, record)
        if isinstance(record, FillAudit):
            self.book_fill(record)
        elif isinstance(record, OrderAudit):
            self.book_order(record)
        elif isinstance(record, ContractAudit):
            self.book_contract_size(record)
        else:
            self.book_money(record)

    def check_until(self, now_ms: int) -> None:
        """Check the newest instant, and then the deadlines at ``now_ms``."""
        if self._instant is not None:
            self.check_instant(self._instant)
        self.check_deadlines(now_ms)

    def book_money(self, record: MoneyAudit) -> None:
        """Add the amount to the wallet balance, and funding to its total."""
        self.wallet_balance += record.amount
        if record.kind is MoneyKind.FUNDING:
            self.funding += record.amount

    def book_order(self, record: OrderAudit) -> None:
        """Report a duplicate client order id, and fold the order if it is a stop."""
        name = record.client_order_id
        if record.event is OrderStep.REJECTED:
            if record.detail == "DUPLICATE_CLIENT_ID":
                self.report_violation(HardRule.DUPLICATE_ID, record.at_ms, record.symbol, name)
            return
        if record.event is OrderStep.ACCEPTED:
            if name in self.accepted:
                self.report_violation(HardRule.DUPLICATE_ID, record.at_ms, record.symbol, name)
            self.accepted.add(name)
        if record.type is not OrderType.STOP_MARKET or not record.reduce_only:
            return
        symbol = self.symbol(record.symbol)
        if record.event is OrderStep.CLOSED or record.trigger_price is None:
            symbol.stops.pop(name, None)
        else:
            symbol.stops[name] = StopSeen(
                sell=record.side.sign < 0,
                remaining=record.remaining,
                trigger=record.trigger_price,
            )

    def book_contract_size(self, record: ContractAudit) -> None:
        """Convert the position and its unchecked fills to a new contract size."""
        symbol, size = self.symbol(record.symbol), record.contract_size
        symbol.position = symbol.position * symbol.contract_size / size
        symbol.unchecked = [attrs.evolve(entry, contract_size=size) for entry in symbol.unchecked]
        symbol.contract_size = size

    def book_fill(self, record: FillAudit) -> None:
        """Book the fill and check the rules that apply at a fill."""
        self.fills += 1
        symbol = self.symbol(record.symbol)
        before = symbol.position
        after = before + record.side.sign * record.quantity
        added = abs(after) > abs(before) or before * after < ZERO
        if record.reduce_only and added:
            self.report_violation(
                HardRule.REDUCE_INCREASED,
                record.at_ms,
                record.symbol,
                f"{record.client_order_id} changed the position from {before} to {after}",
            )
        self._overshoot(record, symbol)
        self._book(record, symbol, after)
        stop = symbol.stops.get(record.client_order_id)
        if stop is not None:
            stop.remaining -= record.quantity
        if added and not self.is_ours(record.client_order_id):
            symbol.external = True
        elif added and not record.reduce_only:
            self.entries += 1
            if self.portfolio is not None:
                self.portfolio.count_entry(self, record)
            if not symbol.external:
                self._exposure(record, after)
                symbol.unchecked.append(record)

    def _book(self, record: FillAudit, symbol: SymbolSeen, after: Decimal) -> None:
        """Apply a fill to position, average entry price, gains, fees and wallet balance."""
        before, signed = symbol.position, record.side.sign * record.quantity
        closed = min(abs(before), record.quantity) if before * signed < ZERO else ZERO
        direction = 1 if before > ZERO else -1
        gain = (record.price - symbol.entry) * closed * direction * record.contract_size
        self.realized += gain
        self.fees += record.fee
        self.wallet_balance += gain - record.fee
        if before * signed >= ZERO:
            cost = abs(before) * symbol.entry + record.quantity * record.price
            symbol.entry = cost / abs(after)
        elif before * after < ZERO:
            symbol.entry = record.price
        symbol.position = after
        symbol.contract_size = record.contract_size
        symbol.taker_fee = record.taker_fee
        if after == ZERO:
            self.held.pop(record.symbol, None)
            symbol.unprotected_since_ms = None
            symbol.reported = False
            symbol.external = False
            symbol.unchecked.clear()
        else:
            self.held[record.symbol] = symbol

    def _overshoot(self, record: FillAudit, symbol: SymbolSeen) -> None:
        if record.type is not OrderType.STOP_MARKET or record.trigger_price is None:
            return
        unit = abs(symbol.entry - record.trigger_price)
        beyond = (record.trigger_price - record.price) * -record.side.sign
        if symbol.position != ZERO and unit > ZERO:
            self.overshoot = max(self.overshoot, beyond / unit)

    def _allowed(self, fraction: Decimal, record: FillAudit) -> Decimal:
        q = min(record.equity_before, record.balance_before)
        return fraction * q * (1 + self.limits.tolerance)

    def _exposure(self, record: FillAudit, after: Decimal) -> None:
        notional = abs(after) * record.price * record.contract_size
        limit = self._allowed(self.limits.exposure_per_symbol, record)
        if notional > limit:
            self.report_violation(
                HardRule.EXPOSURE, record.at_ms, record.symbol, f"notional={notional} limit={limit}"
            )

    def forget_entries(self, symbols: Iterable[str]) -> None:
        """Drop the unchecked fills of these held symbols, whose positions are adopted."""
        for name in symbols:
            self.held[name].unchecked.clear()

    # --- rules that need the whole instant ---------------------------------------

    def check_instant(self, at_ms: int) -> None:
        """Check the covered entries of an instant; begin or end unprotected periods."""
        for name, symbol in self.held.items():
            covered = symbol.covered
            if symbol.unchecked and covered:
                if self.portfolio is not None:
                    self.portfolio.check_entry(self, name, symbol.unchecked[0], at_ms)
                self._risk(name, symbol)
            if covered:
                symbol.unprotected_since_ms = None
                symbol.reported = False
            elif symbol.unprotected_since_ms is None:
                symbol.unprotected_since_ms = at_ms

    def check_deadlines(self, now_ms: int) -> None:
        """Report the positions that are unprotected for longer than the deadline allows."""
        for name, symbol in self.held.items():
            since_ms = symbol.unprotected_since_ms
            if since_ms is None or symbol.reported:
                continue
            limit_ms = self.limits.protection_deadline_ms
            if now_ms - since_ms > limit_ms + self._excused_ms(name, since_ms, now_ms):
                symbol.reported = True
                self.report_violation(
                    HardRule.UNPROTECTED, since_ms, name, f"still unprotected at {show_utc(now_ms)}"
                )

    def _risk(self, name: str, symbol: SymbolSeen) -> None:
        """Check the loss at the farthest stop, with costs and gap; clear unchecked fills."""
        record = symbol.unchecked[-1]
        symbol.unchecked.clear()
        triggers = [s.trigger for s in symbol.covering()]
        stop = min(triggers) if symbol.position > ZERO else max(triggers)
        distance = max(ZERO, (symbol.entry - stop) * (1 if symbol.position > ZERO else -1))
        fees = record.taker_fee * (symbol.entry + stop)
        slippage = self.limits.slippage_bps / BPS_PER_UNIT * stop
        each = distance * (1 + self.limits.gap_buffer) + fees + slippage
        risk = each * abs(symbol.position) * record.contract_size
        limit = self._allowed(self.limits.risk_per_trade, record)
        if risk > limit:
            self.report_violation(HardRule.RISK, record.at_ms, name, f"risk={risk} limit={limit}")

    def check_equity(
        self,
        account: Account,
        positions: Sequence[PositionReport],
        instruments: Sequence[Instrument],
    ) -> None:
        """Compare positions, wallet balance and equity with the recomputed ones.

        Equity = opening + net deposits + realized - fees + funding + unrealized PnL, to a cent. If
        the positions differ, only these are reported.
        """
        sizes = {i.symbol: i.contract_size for i in instruments}
        marks = {p.symbol: p.mark_price for p in positions}
        reported = {p.symbol: p.quantity for p in positions}
        recomputed = {name: symbol.position for name, symbol in self.held.items()}
        if reported != recomputed:
            self._report_equity(account, f"positions: {recomputed} recomputed, {reported} reported")
            return
        equity = self.wallet_balance
        for name, symbol in self.held.items():
            equity += (marks[name] - symbol.entry) * symbol.position * sizes[name]
        if abs(self.wallet_balance - account.wallet_balance) >= CENT:
            own, stated = self.wallet_balance, account.wallet_balance
            self._report_equity(account, f"wallet balance: {own} recomputed, {stated} reported")
        if abs(equity - account.equity) >= CENT:
            self._report_equity(account, f"equity: {equity} recomputed, {account.equity} reported")

    def _report_equity(self, account: Account, detail: str) -> None:
        self.report_violation(HardRule.EQUITY, account.at_ms, "", detail)


def check(
    audit_log: Iterable[AuditRecord],
    account: Account,
    positions: Sequence[PositionReport],
    instruments: Sequence[Instrument],
    limits: CheckLimits | None = None,
    *,
    excused_ms: ExcusedTime = never_excused,
) -> CheckReport:
    """Check the rules in a whole audit log, and account and positions at its end."""
    seen = Checker(limits or CheckLimits(), excused_ms=excused_ms)
    for record in audit_log:
        seen.take(record)
    seen.check_until(account.at_ms)
    seen.check_equity(account, positions, instruments)
    return CheckReport(
        violations=tuple(seen.found),
        worst_overshoot_r=seen.overshoot,
        fills=seen.fills,
        orders=len(seen.accepted),
        entries=seen.entries,
        fees=seen.fees,
        funding=seen.funding,
        realized=seen.realized,
        wallet_balance=seen.wallet_balance,
    )
