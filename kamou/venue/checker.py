"""The independent checker: reads only the venue's audit log, trusts nothing of Kamou.

It folds the audit log with its own arithmetic and lists what broke a hard rule. It shares no code
with the governor, the sizing or the venue's own booking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Protocol

import attrs

from kamou.core.model import BPS_PER_UNIT, ZERO, Account, Instrument, OrderType, VenuePosition
from kamou.venue.state import (
    AuditRecord,
    ContractAudit,
    FillAudit,
    MoneyAudit,
    OrderAudit,
)

D = Decimal
CENT = D("0.01")


@attrs.frozen(kw_only=True)
class CheckLimits:
    """What the checker holds the client to. Fractions of Q = min(equity, balance)."""

    risk_per_trade: Decimal = D("0.01")
    exposure_per_symbol: Decimal = D("0.15")
    gap_buffer: Decimal = D("0.25")  # of the stop distance
    slippage_bps: Decimal = D("2")  # of the assumed stop fill
    protection_deadline_ms: int = 10_000
    # Q moves between the account read that sized an order and its fill; more is a breach.
    tolerance: Decimal = D("0.05")


@attrs.frozen(kw_only=True)
class Violation:
    """One broken rule, with its figures as text."""

    rule: str  # UNPROTECTED | EXPOSURE | RISK | DUPLICATE_ID | EQUITY | REDUCE_INCREASED
    at_ms: int
    symbol: str
    detail: str


@attrs.frozen(kw_only=True)
class CheckReport:
    violations: tuple[Violation, ...]
    worst_overshoot_r: Decimal  # worst stop fill beyond its trigger, in units of entry to trigger
    fills: int
    orders: int
    entries: int  # fills that added exposure
    fees: Decimal
    funding: Decimal  # signed, positive was received
    realized: Decimal
    wallet_balance: Decimal  # recomputed


@attrs.define(kw_only=True)
class StopSeen:
    sell: bool
    remaining: Decimal
    trigger: Decimal


@attrs.define(kw_only=True)
class SymbolSeen:
    """What the checker knows of one symbol."""

    position: Decimal = ZERO
    entry: Decimal = ZERO
    stops: dict[str, StopSeen] = attrs.Factory(dict)
    bare_since_ms: int | None = None  # open and not covered
    reported: bool = False  # this bare spell is already a violation
    contract_size: Decimal = ZERO
    taker_fee: Decimal = ZERO  # fraction of notional: the account's, at the newest fill
    foreign: bool = False  # somebody else added to what is held: it is not judged as ours
    unjudged: list[FillAudit] = attrs.Factory(list)  # entries whose stop is not there yet

    def covering(self) -> list[StopSeen]:
        return [s for s in self.stops.values() if s.sell == (self.position > ZERO)]

    @property
    def covered(self) -> bool:
        return sum((s.remaining for s in self.covering()), ZERO) >= abs(self.position)


class Portfolio(Protocol):
    """What ``LimitChecker`` is told: audit records, fills of our entries, and covered entries."""

    def before(self, seen: Checker, noted: AuditRecord) -> None: ...

    def filled(self, seen: Checker, noted: FillAudit) -> None: ...

    def entered(self, seen: Checker, name: str, noted: FillAudit, at_ms: int) -> None: ...


Silence = Callable[[str, int, int], int]
"""(symbol, since, until, both in ms) -> how much of that time nobody could have protected it."""


def never_silent(symbol: str, since_ms: int, until_ms: int) -> int:
    """Somebody could have, all the time."""
    return 0


class Checker:
    """The check in progress: ``take`` audit records in order, ask ``found`` at any time.

    Time that ``silent_ms`` tells does not count towards the deadline of a stop. ``ours`` tells
    our orders from others on the account, which no rule of ours binds.
    """

    def __init__(
        self,
        limits: CheckLimits,
        *,
        silent_ms: Silence = never_silent,
        ours: Callable[[str], bool] = lambda client_order_id: True,
    ) -> None:
        self.limits = limits
        self._silent_ms = silent_ms
        self.is_ours = ours
        self._instant: int | None = None  # of the newest audit record
        self.portfolio: Portfolio | None = None  # who holds entries to the limits on everything
        self.found: list[Violation] = []
        self.symbols: dict[str, SymbolSeen] = {}
        self.held: dict[str, SymbolSeen] = {}  # those of them that hold a position
        self.accepted: set[str] = set()
        self.wallet_balance = ZERO
        self.fees = ZERO
        self.funding = ZERO
        self.realized = ZERO
        self.fills = 0
        self.entries = 0
        self.overshoot = ZERO

    def violation(self, rule: str, at_ms: int, symbol: str, detail: str) -> None:
        self.found.append(Violation(rule=rule, at_ms=at_ms, symbol=symbol, detail=detail))

    def of(self, symbol: str) -> SymbolSeen:
        return self.symbols.setdefault(symbol, SymbolSeen())

    # --- the audit log ----------------------------------------------------------------

    def take(self, noted: AuditRecord) -> None:
        """Take the next audit record."""
        instant = self._instant
        if instant is not None and noted.at_ms != instant:
            self.settle(instant)
            self.deadline(noted.at_ms)
        self._instant = noted.at_ms
        if self.portfolio is not None:
            self.portfolio.before(self, noted)
        if isinstance(noted, FillAudit):
            self.fill(noted)
        elif isinstance(noted, OrderAudit):
            self.order(noted)
        elif isinstance(noted, ContractAudit):
            self.resize(noted)
        else:
            self.money(noted)

    def until(self, now_ms: int) -> None:
        """Judge what is due: every audit record up to ``now_ms`` has been taken."""
        if self._instant is not None:
            self.settle(self._instant)
        self.deadline(now_ms)

    def money(self, noted: MoneyAudit) -> None:
        self.wallet_balance += noted.amount
        if noted.kind == "funding":
            self.funding += noted.amount

    def order(self, noted: OrderAudit) -> None:
        name = noted.client_order_id
        if noted.event == "rejected":
            if noted.detail == "DUPLICATE_CLIENT_ID":
                self.violation("DUPLICATE_ID", noted.at_ms, noted.symbol, name)
            return
        if noted.event == "accepted":
            if name in self.accepted:
                self.violation("DUPLICATE_ID", noted.at_ms, noted.symbol, name)
            self.accepted.add(name)
        if noted.type is not OrderType.STOP_MARKET or not noted.reduce_only:
            return
        symbol = self.of(noted.symbol)
        if noted.event == "closed" or noted.trigger_price is None:
            symbol.stops.pop(name, None)
        else:
            symbol.stops[name] = StopSeen(
                sell=noted.side.sign < 0,
                remaining=noted.remaining,
                trigger=noted.trigger_price,
            )

    def resize(self, noted: ContractAudit) -> None:
        """As much of the base currency, in other contracts. Orders tell their new sizes apart."""
        symbol, size = self.of(noted.symbol), noted.contract_size
        symbol.position = symbol.position * symbol.contract_size / size
        symbol.unjudged = [attrs.evolve(entry, contract_size=size) for entry in symbol.unjudged]
        symbol.contract_size = size

    def fill(self, noted: FillAudit) -> None:
        """Book the fill anew, and hold it to the rules that speak of the moment of a fill."""
        self.fills += 1
        symbol = self.of(noted.symbol)
        before = symbol.position
        after = before + noted.side.sign * noted.quantity
        added = abs(after) > abs(before) or before * after < ZERO
        if noted.reduce_only and added:
            self.violation(
                "REDUCE_INCREASED",
                noted.at_ms,
                noted.symbol,
                f"{noted.client_order_id} {before}->{after}",
            )
        self._overshoot(noted, symbol)
        self._book(noted, symbol, after)
        stop = symbol.stops.get(noted.client_order_id)
        if stop is not None:
            stop.remaining -= noted.quantity
        if added and not self.is_ours(noted.client_order_id):
            symbol.foreign = True
        elif added and not noted.reduce_only:
            self.entries += 1
            if self.portfolio is not None:
                self.portfolio.filled(self, noted)
            if not symbol.foreign:
                self._exposure(noted, after)
                symbol.unjudged.append(noted)

    def _book(self, noted: FillAudit, symbol: SymbolSeen, after: Decimal) -> None:
        """Average cost, from first principles."""
        before, signed = symbol.position, noted.side.sign * noted.quantity
        closed = min(abs(before), noted.quantity) if before * signed < ZERO else ZERO
        direction = 1 if before > ZERO else -1
        gain = (noted.price - symbol.entry) * closed * direction * noted.contract_size
        self.realized += gain
        self.fees += noted.fee
        self.wallet_balance += gain - noted.fee
        if before * signed >= ZERO:
            cost = abs(before) * symbol.entry + noted.quantity * noted.price
            symbol.entry = cost / abs(after)
        elif before * after < ZERO:
            symbol.entry = noted.price
        symbol.position = after
        symbol.contract_size = noted.contract_size
        symbol.taker_fee = noted.taker_fee
        if after == ZERO:
            self.held.pop(noted.symbol, None)
            symbol.bare_since_ms = None
            symbol.reported = False
            symbol.foreign = False
            symbol.unjudged.clear()
        else:
            self.held[noted.symbol] = symbol

    def _overshoot(self, noted: FillAudit, symbol: SymbolSeen) -> None:
        if noted.type is not OrderType.STOP_MARKET or noted.trigger_price is None:
            return
        unit = abs(symbol.entry - noted.trigger_price)
        beyond = (noted.trigger_price - noted.price) * -noted.side.sign
        if symbol.position != ZERO and unit > ZERO:
            self.overshoot = max(self.overshoot, beyond / unit)

    def _allowed(self, fraction: Decimal, noted: FillAudit) -> Decimal:
        q = min(noted.equity_before, noted.balance_before)
        return fraction * q * (1 + self.limits.tolerance)

    def _exposure(self, noted: FillAudit, after: Decimal) -> None:
        notional = abs(after) * noted.price * noted.contract_size
        limit = self._allowed(self.limits.exposure_per_symbol, noted)
        if notional > limit:
            self.violation(
                "EXPOSURE", noted.at_ms, noted.symbol, f"notional={notional} limit={limit}"
            )

    def forget_entries(self, symbols: Iterable[str]) -> None:
        """Do not judge the entries of these symbols that have no stop yet: others own them now."""
        for name in symbols:
            self.held[name].unjudged.clear()

    # --- rules that need the whole instant ---------------------------------------

    def settle(self, at_ms: int) -> None:
        """All audit records up to this instant are in: judge entries, coverage and deadlines."""
        for name, symbol in self.held.items():
            covered = symbol.covered
            if symbol.unjudged and covered:
                if self.portfolio is not None:
                    self.portfolio.entered(self, name, symbol.unjudged[0], at_ms)
                self._risk(name, symbol)
            if covered:
                symbol.bare_since_ms = None
                symbol.reported = False
            elif symbol.bare_since_ms is None:
                symbol.bare_since_ms = at_ms

    def deadline(self, now_ms: int) -> None:
        """Nothing changed until ``now_ms``: has any position been bare for too long?"""
        for name, symbol in self.held.items():
            bare = symbol.bare_since_ms
            if bare is None or symbol.reported:
                continue
            limit_ms = self.limits.protection_deadline_ms
            if now_ms - bare > limit_ms + self._silent_ms(name, bare, now_ms):
                symbol.reported = True
                self.violation("UNPROTECTED", bare, name, f"until at least {now_ms}")

    def _risk(self, name: str, symbol: SymbolSeen) -> None:
        """What the position loses at its farthest stop: fees, slippage and gap included."""
        noted = symbol.unjudged[-1]
        symbol.unjudged.clear()
        triggers = [s.trigger for s in symbol.covering()]
        stop = min(triggers) if symbol.position > ZERO else max(triggers)
        distance = max(ZERO, (symbol.entry - stop) * (1 if symbol.position > ZERO else -1))
        fees = noted.taker_fee * (symbol.entry + stop)
        slippage = self.limits.slippage_bps / BPS_PER_UNIT * stop
        each = distance * (1 + self.limits.gap_buffer) + fees + slippage
        risk = each * abs(symbol.position) * noted.contract_size
        limit = self._allowed(self.limits.risk_per_trade, noted)
        if risk > limit:
            self.violation("RISK", noted.at_ms, name, f"risk={risk} limit={limit}")

    def close(
        self,
        account: Account,
        positions: Sequence[VenuePosition],
        instruments: Sequence[Instrument],
    ) -> None:
        """Check: equity = opening + net deposits + realized - fees + funding + unrealized PnL."""
        sizes = {i.symbol: i.contract_size for i in instruments}
        marks = {p.symbol: p.mark_price for p in positions}
        told = {p.symbol: p.quantity for p in positions}
        ours = {name: symbol.position for name, symbol in self.held.items()}
        if told != ours:
            self._unclosed(account, f"positions: {ours} recomputed, {told} told")
            return
        equity = self.wallet_balance
        for name, symbol in self.held.items():
            equity += (marks[name] - symbol.entry) * symbol.position * sizes[name]
        if abs(self.wallet_balance - account.wallet_balance) >= CENT:
            self._unclosed(
                account,
                f"wallet balance: {self.wallet_balance} recomputed, {account.wallet_balance} told",
            )
        if abs(equity - account.equity) >= CENT:
            self._unclosed(account, f"equity: {equity} recomputed, {account.equity} told")

    def _unclosed(self, account: Account, detail: str) -> None:
        self.violation("EQUITY", account.at_ms, "", detail)


def check(
    audit_log: Iterable[AuditRecord],
    account: Account,
    positions: Sequence[VenuePosition],
    instruments: Sequence[Instrument],
    limits: CheckLimits | None = None,
    *,
    silent_ms: Silence = never_silent,
) -> CheckReport:
    """Judge a venue's whole audit log up to ``account.at_ms``; the rest is what it tells now."""
    seen = Checker(limits or CheckLimits(), silent_ms=silent_ms)
    for noted in audit_log:
        seen.take(noted)
    seen.until(account.at_ms)
    seen.close(account, positions, instruments)
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
