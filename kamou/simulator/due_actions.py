"""Checks that decisions rest on true data and that due actions are done in time.

``invariants`` checks single orders. This module checks the decisions before them and the actions
that must follow. It reads the venue's reports and audit log, and the journal's permits, intents and
states.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal

import attrs

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Intent, OrderRole, Plan, Quote, TradingState
from kamou.core.risk.limits import RiskLimits
from kamou.ids import is_kamou_id
from kamou.simulator.outside_changes import KNOWN_AFTER_MS, OutsideChanges
from kamou.venue.checker import ExcusedTime
from kamou.venue.engine import Engine
from kamou.venue.state import FillAudit, MoneyAudit, OrderAudit

Wrong = Callable[[str, int, str, str], None]
"""Function that receives a violation: rule, at_ms, symbol, detail."""

TOLERANCE = Decimal("0.05")  # sizing equity moves between the read of a plan and its permit
SKEW_MAX_MS = 4_000  # the largest clock error; permits may outlast their expiry by it
SKEW_SEEN_MS = 1_500  # clock error above which entries must pause
READ_MS = 4_000  # longest travel time of a read
OBEYED_AFTER_MS = 20_000  # from an operator's command to its event in the journal, with crashes
FLAT_AFTER_MS = 60_000  # from FLATTENING in the journal to no position
OVERDUE_MS = 120_000  # beyond a trade's time limit
LOSS_SLACK = Decimal("0.001")  # of the day's equity, which changes between two reads
SAMPLE_MS = 1_000
MAJOR_SYMBOLS = ("BTC", "ETH")
_T = TradingState


@attrs.define
class _Permit:
    """A permit that may still become a position."""

    plan: Plan
    granted_at_ms: int
    released: bool = False
    filled: Decimal = Decimal(0)
    ended: bool = False  # its order was closed at the venue

    @property
    def open_risk(self) -> Decimal:
        if self.released or self.ended:
            return Decimal(0)
        return self.plan.risk * (1 - self.filled / self.plan.quantity)


class DueActions:
    """The checks of one simulation over time.

    The monitor passes events, orders and audit records (except changes of contract size), in order.
    Times are true times.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        limits: RiskLimits,
        excused_ms: ExcusedTime,
        outside: OutsideChanges,
        wrong: Wrong,
    ) -> None:
        self.engine = engine
        self.limits = limits
        self._excused_ms = excused_ms
        self._wrong = wrong
        self._quotes: dict[str, tuple[int, Quote]] = {}  # newest reported: (at_ms, quote)
        self._permits: dict[str, _Permit] = {}
        self._intents: dict[str, Intent] = {}
        self._stops: dict[str, dict[str, Decimal]] = {}  # symbol -> client order id -> trigger
        self._held_since: dict[str, int] = {}
        self._external: set[str] = set()  # symbols with a position that external orders added to
        self._due: dict[str, tuple[int, int]] = {}  # symbol -> (time limit, counted from)
        self._drifting = False
        self._ordered: tuple[TradingState, int] | None = None
        self._state = _T.ACTIVE
        self._flatten_ms = 0  # when FLATTENING was committed
        self._day_equity = Decimal(0)
        self._day_net_deposits = Decimal(0)
        self._fees = Decimal(0)
        self._opening_most = Decimal(0)  # highest opening equity that a journal may count from
        self._transfers: list[tuple[int, Decimal]] = []  # since the day was opened
        self._equity: deque[tuple[int, Decimal]] = deque()  # sampled
        self._outside = outside
        self.skew = (0, 0)  # (clock error, since when) in ms, if the system can measure it
        self.bound_by_risk = 0  # permits whose size a risk limit decided

    # --- reports, commands and the journal ------------------------------------------

    def record_quotes(self, now_ms: int, quotes: Mapping[str, Quote]) -> None:
        """Store the quotes that the venue reported, whether true or false."""
        for symbol, quote in quotes.items():
            self._quotes[symbol] = (now_ms, quote)

    def expect_state(self, state: TradingState, now_ms: int) -> None:
        """Expect the trading state of a command, if it is more severe than the present."""
        if state.severity > self._state.severity:
            self._ordered = (state, now_ms)

    def forget_command(self) -> None:
        """Forget a command of the operator that the ended process did not commit."""
        self._ordered = None

    def restore_book(self, book: PositionBook) -> None:
        """Continue with the book of a restored journal."""
        self._state, self._drifting = book.state, book.drifting
        self._flatten_ms = self.engine.market_ms if book.state is _T.FLATTENING else 0
        # The opening and the transfers counted since belong together (seed 930124).
        known = {(p.at_ms, p.amount) for p in book.payments.values() if p.transfer}
        forgotten = [paid for paid in self._transfers if paid not in known]
        in_opening = [amount for at_ms, amount in forgotten if at_ms <= book.day_opened_at_ms]
        self._day_equity = book.day_equity - sum(in_opening, Decimal(0))  # until the venue lists it
        self._opening_most = self._day_equity
        self._day_net_deposits = book.day_net_deposits + sum(
            (amount for _, amount in forgotten), Decimal(0)
        )
        # Positions that the journal does not have are adopted, and their time limits are lost.
        holds = {t.symbol: t.hold_until_ms for t in book.trades.values()}
        self._due = {s: due for s, due in self._due.items() if holds.get(s) == due[0]}
        for permit_id, permit in self._permits.items():
            # The restart took longer than an order needs to arrive, so a missing order never will.
            permit.ended = permit.ended or permit_id not in book.reservations

    def record_event(self, event: e.Event) -> None:
        """Update the state with a committed event."""
        match event:
            case e.PermitGranted():
                self._granted(event)
            case e.PermitReleased():
                permit = self._permits.get(event.permit_id)
                if permit is not None:
                    permit.released = True
            case e.IntentRecorded():
                self._intents[event.intent.client_order_id] = event.intent
            case e.OrderClosed() | e.OrderRejected():
                self._written_off(event.client_order_id)
            case e.DriftFound():
                self._drifting = True
            case e.DriftExplained():
                self._drifting = False
            case e.DayOpened():
                self._opened(event)
            case e.StateChanged():
                self._changed(event)
            case _:
                pass

    def _opened(self, event: e.DayOpened) -> None:
        """Open a day at its equity of 00:00 UTC.

        Transfers since then are its net deposits. A journal that begins within the day counts its
        transfers the same way (seed 1000448).
        """
        from_ms = event.midnight_at_ms if event.at_midnight else event.at_ms + 1
        self._day_equity = event.equity if event.opening is None else event.opening
        if event.opening is None:
            paid = (paid for at_ms, paid in self._transfers if from_ms <= at_ms <= event.at_ms)
            self._day_equity -= sum(paid, Decimal(0))
            if self._day_equity <= 0:  # all was deposited today, so the day begins with the read
                self._day_equity, from_ms = event.equity, event.at_ms + 1
        # Without the equity of midnight the journal adds back the fees that it has, and no gain of
        # fills whose trades it does not have (seed 930695).
        self._opening_most = self._day_equity + (self._fees if event.opening is None else 0)
        self._transfers = [each for each in self._transfers if each[0] >= from_ms]
        self._day_net_deposits = sum((amount for _, amount in self._transfers), Decimal(0))

    def _written_off(self, client_order_id: str) -> None:
        """Check that an order that the journal closed is not live at the venue."""
        for order in self.engine.open_orders():
            if order.client_order_id == client_order_id:
                detail = f"{client_order_id} is live"
                self._wrong("WRITTEN_OFF", self.engine.market_ms, order.symbol, detail)

    def _granted(self, event: e.PermitGranted) -> None:
        plan, now_ms = event.plan, self.engine.market_ms
        self.bound_by_risk += plan.bound_by not in ("exposure", "quantity_max", "value_max")

        def wrong(rule: str, detail: str) -> None:
            self._wrong(rule, now_ms, plan.symbol, f"{event.permit_id}: {detail}")

        if event.expires_at_ms - event.at_ms > self.limits.permit_ttl_s * 1000:
            wrong("PERMIT_LONG", f"the permit lasts {event.expires_at_ms - event.at_ms} ms")
        if self._drifting:
            wrong("DRIFTING", "granted while book and venue differ")
        held_ms = now_ms - self._held_since.get(plan.symbol, now_ms)
        if held_ms - self._excused_ms(plan.symbol, now_ms - held_ms, now_ms) > KNOWN_AFTER_MS:
            wrong("HELD", f"granted although the symbol has had a position for {held_ms} ms")
        account = self.engine.account()
        sizing_equity = min(account.equity, account.wallet_balance) * (1 + TOLERANCE)
        allowed = self.limits.risk_per_trade * sizing_equity
        if self._state is _T.REDUCED_SIZE:
            allowed *= self.limits.reduced_size
        if plan.risk > allowed + self._lately_gone() * self.limits.risk_per_trade:
            wrong("RISK_PROMISED", f"risk {plan.risk} exceeds {allowed} in {self._state.value}")
        self._permits[event.permit_id] = _Permit(plan, now_ms)
        self._sum(plan, wrong, sizing_equity + self._lately_gone())

    def _lately_gone(self) -> Decimal:
        """Return the USDT lost or withdrawn since the reads that a new plan may use."""
        moved = self._outside.sum_unknown(self.engine.market_ms)
        known = [equity for _, equity in self._equity]
        return moved + (max(known) - known[-1] if known else Decimal(0))

    def _sum(self, plan: Plan, wrong: Callable[[str, str], None], sizing_equity: Decimal) -> None:
        """Check open and cluster risk of all positions and permits together."""
        total = cluster = Decimal(0)
        for position in self.engine.positions():
            stops = self._stops.get(position.symbol)
            if not stops or position.symbol in self._external:
                continue
            sign = 1 if position.quantity > 0 else -1
            stop = min(stops.values()) if sign > 0 else max(stops.values())
            size = self.engine.instruments[position.symbol].contract_size
            risk = max(Decimal(0), (position.mark_price - stop) * position.quantity * size)
            total += risk
            if not _major(position.symbol) and sign == plan.side.sign:
                cluster += risk
        for permit in self._permits.values():
            total += permit.open_risk
            if not _major(permit.plan.symbol) and permit.plan.side is plan.side:
                cluster += permit.open_risk
        if total > self.limits.open_risk_max * sizing_equity:
            wrong("OPEN_RISK", f"{total} exceeds {self.limits.open_risk_max * sizing_equity}")
        if not _major(plan.symbol) and cluster > self.limits.cluster_risk_max * sizing_equity:
            wrong("CLUSTER", f"{cluster} exceeds {self.limits.cluster_risk_max * sizing_equity}")

    def _changed(self, event: e.StateChanged) -> None:
        now_ms = self.engine.market_ms
        self._state = event.after
        if self._ordered is not None and event.after.severity >= self._ordered[0].severity:
            self._ordered = None
        self._flatten_ms = now_ms if event.after is _T.FLATTENING else 0
        if event.before is _T.FLATTENING and event.after.entries_allowed:
            self._wrong("RESUMED", now_ms, "", f"from {event.before.value} to {event.after.value}")
        share = {
            "DAY_LOSS_HALF": self.limits.reduced_at,
            "DAY_LOSS_LIMIT": Decimal(1),
            "DAY_LOSS_SEVERE": self.limits.flatten_at,
        }.get(event.reason)
        worst = max(self._losses(self._opening_most), default=Decimal(0))
        if share is not None and worst + LOSS_SLACK < self.limits.daily_loss_max * share:
            self._wrong("FALSE_ALARM", now_ms, "", f"{event.reason} at a day's loss of {worst:.3%}")

    def _losses(self, opened: Decimal) -> list[Decimal]:
        """Return the day's loss at each sample, as a fraction of the equity ``opened``."""
        if not opened:
            return []
        return [(opened + self._day_net_deposits - equity) / opened for _, equity in self._equity]

    # --- the wire and the venue ------------------------------------------------------

    def check_entry(self, intent: Intent, now_ms: int) -> None:
        """Check an entry that the process sends against clock, quote and the day's loss."""
        if intent.role is not OrderRole.ENTRY:
            return

        def wrong(rule: str, detail: str) -> None:
            self._wrong(rule, now_ms, intent.symbol, f"{intent.client_order_id}: {detail}")

        error_ms, since_ms = self.skew
        skewed_ms = now_ms - since_ms - self._excused_ms("", since_ms, now_ms)
        if abs(error_ms) > SKEW_SEEN_MS and skewed_ms > KNOWN_AFTER_MS:
            wrong("SKEWED", f"entered with a clock error of {error_ms} ms for {skewed_ms} ms")
        reported_ms, quote = self._quotes.get(intent.symbol, (0, None))
        if quote is None or not all(
            price.is_finite() and price > 0 for price in (quote.bid, quote.ask, quote.mark)
        ):
            wrong("BAD_QUOTE", f"entered on {quote or 'no quote'}")
        elif quote.bid > quote.ask:
            wrong("BAD_QUOTE", f"entered on a crossed quote, bid {quote.bid} ask {quote.ask}")
        else:
            age_ms = reported_ms - quote.at_ms
            if age_ms > self.limits.quote_age_max_s * 1000 + SKEW_MAX_MS + READ_MS:
                wrong("STALE_QUOTE", f"entered on a quote {age_ms} ms old")
        losses = self._losses(self._day_equity)
        since_ms = self._equity[0][0] if self._equity else now_ms
        seen_ms = now_ms - since_ms - self._excused_ms("", since_ms, now_ms)
        lost = min(losses, default=Decimal(0)) - LOSS_SLACK
        if seen_ms < KNOWN_AFTER_MS:
            return  # the system may not have read the account since
        if lost > self.limits.daily_loss_max:
            wrong("DAY_LOSS", f"entered at a loss of {lost + LOSS_SLACK:.3%} for {seen_ms} ms")
        half = self.limits.daily_loss_max * self.limits.reduced_at
        if lost > half and self._state.severity < _T.REDUCED_SIZE.severity:
            wrong("DAY_LOSS", f"full size at a loss of {lost + LOSS_SLACK:.3%} for {seen_ms} ms")

    def record_audit(self, record: FillAudit | OrderAudit | MoneyAudit) -> None:
        """Update the state with a record of the venue's audit log."""
        if isinstance(record, MoneyAudit):
            if record.kind == "transfer":
                self._day_net_deposits += record.amount
                self._transfers.append((record.at_ms, record.amount))
                self._equity.clear()  # earlier equity is not comparable
        elif isinstance(record, FillAudit):
            self._fees += record.fee
            self._filled(record)
        else:
            self._order(record)

    def _order(self, record: OrderAudit) -> None:
        intent = self._intents.get(record.client_order_id)
        if record.event == "closed":
            self._stops.get(record.symbol, {}).pop(record.client_order_id, None)
            permit = self._permits.get(intent.permit_id) if intent is not None else None
            if permit is not None:
                permit.ended = True
        if record.event != "accepted" or not is_kamou_id(record.client_order_id):
            return
        if intent is None:
            self._wrong("UNJOURNALLED", record.at_ms, record.symbol, record.client_order_id)
            return
        reported = (record.side, record.type, record.reduce_only, record.trigger_price)
        meant = (intent.side, intent.type, intent.role is not OrderRole.ENTRY, intent.trigger_price)
        if reported != meant or record.remaining > intent.quantity:
            self._wrong(
                "NOT_AS_INTENDED",
                record.at_ms,
                record.symbol,
                f"{record.client_order_id} {intent.role.value}: {reported} {record.remaining},"
                f" not {meant} {intent.quantity}",
            )
        if intent.role is OrderRole.STOP_LOSS and record.trigger_price is not None:
            self._stops.setdefault(record.symbol, {})[record.client_order_id] = record.trigger_price

    def _filled(self, record: FillAudit) -> None:
        symbol, after, before = record.symbol, record.position_after, record.position_before
        intent = self._intents.get(record.client_order_id)
        added = abs(after) > abs(before) or after * before < 0
        if intent is not None and intent.role is not OrderRole.ENTRY and added:
            self._wrong(
                "ADDED",
                record.at_ms,
                symbol,
                f"{intent.role.value} {record.client_order_id} added risk",
            )
        if after == 0 or after * before < 0:
            self._held_since.pop(symbol, None)
            self._due.pop(symbol, None)
            self._external.discard(symbol)
        if after != 0:
            self._held_since.setdefault(symbol, record.at_ms)
            if added and not is_kamou_id(record.client_order_id):
                self._external.add(symbol)
        permit = self._permits.get(intent.permit_id) if intent is not None else None
        if permit is None:
            return
        permit.filled += record.quantity
        if permit.released:
            self._wrong(
                "RELEASED",
                record.at_ms,
                symbol,
                f"{record.client_order_id} filled after its permit was released",
            )
        if permit.plan.hold_ms and after != 0:
            self._due.setdefault(symbol, (record.at_ms + permit.plan.hold_ms, record.at_ms))

    # --- time ------------------------------------------------------------------------

    def check_overdue(self, now_ms: int) -> None:
        """Report the actions that are overdue at ``now_ms``."""
        last_ms = self._equity[-1][0] if self._equity else 0
        if now_ms - last_ms < SAMPLE_MS:
            return
        self._equity.append((now_ms, self.engine.account().equity))
        while len(self._equity) > 1 and self._equity[1][0] < now_ms - KNOWN_AFTER_MS:
            self._equity.popleft()
        if self._ordered is not None:
            state, at_ms = self._ordered
            if now_ms - at_ms > OBEYED_AFTER_MS + self._excused_ms("", at_ms, now_ms):
                self._ordered = None
                self._wrong("DISOBEYED", now_ms, "", f"no {state.value} for {now_ms - at_ms} ms")
        if self._flatten_ms and self._held_since:
            # An external order may open a position later, so each position has its own minute.
            since_ms = max(self._flatten_ms, min(self._held_since.values()))
            if now_ms - since_ms > FLAT_AFTER_MS + self._excused_ms("", since_ms, now_ms):
                self._wrong("NOT_FLAT", now_ms, "", f"open positions: {sorted(self._held_since)}")
                self._flatten_ms = 0
        for symbol, (due_ms, since_ms) in tuple(self._due.items()):
            if now_ms - due_ms > OVERDUE_MS + self._excused_ms(symbol, due_ms, now_ms):
                del self._due[symbol]
                late = f"{now_ms - due_ms} ms after its time limit"
                self._wrong("OVERDUE", now_ms, symbol, f"filled at {since_ms}, still open {late}")


def _major(symbol: str) -> bool:
    return symbol.startswith(MAJOR_SYMBOLS)
