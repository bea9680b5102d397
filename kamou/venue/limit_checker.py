"""The checker of the portfolio's limits, which it recomputes at every entry.

``LimitChecker`` uses the positions that ``Checker`` folds from the audit log. It shares no
arithmetic with governor, sizing or booking. Exit fees are at the rate that the venue recorded with
the symbol's newest fill. An entry is allowed if each limit had headroom, at some instant of the
last ``window_ms``, for this entry and for every entry since. A loss counts as realized from its
fill on. Before the fill it counts as the risk of its position.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from decimal import Decimal

import attrs

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.model import ZERO
from kamou.venue.checker import Checker, SymbolSeen
from kamou.venue.state import AuditRecord, FillAudit, MoneyAudit, MoneyKind
from kamou.venue.violations import HardRule

D = Decimal
MAJOR_BASES = ("BTC", "XBT", "ETH")  # all other symbols are one cluster
COUNTED = (HardRule.ENTRIES_HOUR, HardRule.ENTRIES_DAY)  # their limits are whole numbers

MarkAt = Callable[[str, int], Decimal | None]
"""(symbol, at_ms) -> the mark at that time; None without a market."""

Known = Callable[[int, int], bool]
"""(changed_at_ms, now_ms) -> True if Kamou must know the external change at ``now_ms``."""


def known_at_once(changed_at_ms: int, now_ms: int) -> bool:
    """Return True: Kamou knows external changes at once."""
    return True


@attrs.frozen(kw_only=True)
class PortfolioLimits:
    """The limits on the whole portfolio, as fractions of sizing equity unless noted."""

    daily_loss: Decimal  # of the equity at the day's start
    open_risk: Decimal  # risk of all positions
    cluster: Decimal  # risk of all long, or all short, positions outside the majors
    shock_move: Decimal  # assumed change of all prices at once, a fraction
    notional: Decimal  # times sizing equity
    margin: Decimal  # margin used
    entries_per_hour: int  # of one strategy
    reentries_per_day: int  # in one symbol
    gap_buffer: Decimal = D("0.25")  # of the stop distance
    slippage: Decimal = D("0.0002")  # of the price
    tolerance: Decimal = D("0.02")  # of a limit, because fill prices differ from planned ones
    window_ms: int = 0  # the longest time from the review of an entry to its fill


@attrs.frozen(kw_only=True)
class Load:
    """Losses, risk and sizes in USDT, of the portfolio at one instant or of one entry."""

    at_ms: int = 0
    lost: Decimal = ZERO  # in the day, with the costs of closing all positions; 0 for a gain
    risk: Decimal = ZERO  # from mark to stop, with costs and gap buffer
    long_alts: Decimal = ZERO  # risk of long positions outside the majors
    short_alts: Decimal = ZERO
    net: Decimal = ZERO  # notional, signed
    notional: Decimal = ZERO
    margin: Decimal = ZERO
    sizing_equity: Decimal = ZERO


@attrs.define
class LimitChecker:
    """A ``Portfolio`` that reports violations of the portfolio's limits."""

    limits: PortfolioLimits
    mark_at: MarkAt
    leverage_of: Callable[[str], int]  # of an entry order, by client order id
    strategy_of: Callable[[str], str]  # of an entry order, by client order id
    on_violation: Callable[[HardRule, int, str, str], None]  # rule, at_ms, symbol, detail
    day_equity: Decimal = ZERO  # at the day's start
    known: Known = known_at_once
    # at_ms -> True if a reduction was unreported when an entry of that time was decided
    unreported: Callable[[int], bool] = lambda at_ms: False
    closest: dict[HardRule, Decimal] = attrs.Factory(dict)  # the largest used share of its limit
    _day: int = -1
    _net_deposits: Decimal = ZERO
    _moved_ms: int = -1  # time of the newest external change of money or positions; -1: none
    _past: deque[Load] = attrs.Factory(deque)  # of the portfolio, in the window
    _entered: deque[Load] = attrs.Factory(deque)  # of entries, in the window
    _hours: dict[str, deque[int]] = attrs.Factory(dict)  # strategy -> times of its entries
    _days: Counter[tuple[int, str]] = attrs.Factory(Counter)  # entries by (UTC day, symbol)
    _leverage: dict[str, int] = attrs.Factory(dict)  # by symbol
    _counted: dict[str, str] = attrs.Factory(dict)  # symbol -> client order id of the entry

    # --- time and money ----------------------------------------------------------

    def take(self, seen: Checker, record: AuditRecord) -> None:
        """Take the next audit record, before ``seen`` books it.

        Open the record's day if it is new. Book an opening balance or a transfer. At a fill, store
        the portfolio's load and the leverage of a new position. Store the time of a transfer or of
        an external fill, which Kamou may not know yet.
        """
        self.roll(seen, record.at_ms)
        if isinstance(record, MoneyAudit):
            if record.kind is MoneyKind.OPENING:
                self.day_equity += record.amount
            elif record.kind is MoneyKind.TRANSFER:
                self._net_deposits += record.amount
                self._moved_ms = record.at_ms
        elif isinstance(record, FillAudit):
            self.sample(seen, record.at_ms)
            if record.position_after and record.position_before * record.position_after <= 0:
                # A position keeps the leverage of the order that opened it (seed 970979).
                self._leverage[record.symbol] = self.leverage_of(record.client_order_id)
            if not seen.is_ours(record.client_order_id):
                self._moved_ms = record.at_ms

    def roll(self, seen: Checker, at_ms: int) -> None:
        """Open the day of ``at_ms``, if it is new, with the equity at its 00:00:00 UTC.

        The day of the first record begins with the opening balance instead.
        """
        day = at_ms // DAY_MS
        if self._day == day:
            return
        if self._day >= 0:
            self.open_day(seen, day * DAY_MS)
        self._day = day

    def open_day(self, seen: Checker, at_ms: int) -> None:
        """Measure the day's loss from the equity at ``at_ms`` on.

        The day then has no net deposits, and the loads before ``at_ms`` are dropped.
        """
        self.day_equity, self._net_deposits = self.equity(seen, at_ms), ZERO
        self._past.clear()

    def reopen_day(self, seen: Checker, at_ms: int) -> None:
        """Measure the day's loss from the equity at ``at_ms`` less the day's net deposits.

        A journal that begins within the day counts all transfers of the day as net deposits, also
        those before its opening (seed 1000448). If the net deposits are at least the equity, the
        day begins with this equity, and its net deposits are 0.
        """
        net_deposits = self._net_deposits
        self.open_day(seen, at_ms)
        if self.day_equity > net_deposits:
            self.day_equity, self._net_deposits = self.day_equity - net_deposits, net_deposits

    def forget_entry_counts(self) -> None:
        """Reset the entry counts, because an older journal was restored."""
        self._hours.clear()
        self._days.clear()

    def equity(self, seen: Checker, at_ms: int) -> Decimal:
        """Return the equity of the present positions at the marks of ``at_ms``, in USDT.

        A position without a mark counts at its entry price.
        """
        total = seen.wallet_balance
        for name, symbol in seen.held.items():
            mark = self._mark(name, symbol, at_ms)
            total += (mark - symbol.entry) * symbol.position * symbol.contract_size
        return total

    def _mark(self, name: str, symbol: SymbolSeen, at_ms: int) -> Decimal:
        mark = self.mark_at(name, at_ms)
        return symbol.entry if mark is None else mark

    # --- the portfolio's load ----------------------------------------------------

    def sample(self, seen: Checker, at_ms: int) -> None:
        """Store the portfolio's load at this instant, once; drop loads before the window."""
        if self._past and self._past[-1].at_ms == at_ms:
            return
        self._past.append(self._load(seen, at_ms))
        for past in (self._past, self._entered):
            while past and past[0].at_ms < at_ms - self.limits.window_ms:
                past.popleft()

    def _load(self, seen: Checker, at_ms: int) -> Load:
        """Return the portfolio's load at the marks of ``at_ms``."""
        equity = self.equity(seen, at_ms)
        total = Load(at_ms=at_ms, sizing_equity=min(equity, seen.wallet_balance))
        exit_costs = ZERO
        for name, symbol in seen.held.items():
            mark = self._mark(name, symbol, at_ms)
            total = _sum(total, self._at_stake(name, symbol, mark))
            size = abs(symbol.position) * symbol.contract_size
            exit_costs += size * mark * (symbol.taker_fee + self.limits.slippage)
        lost = self.day_equity + self._net_deposits - equity + exit_costs
        return attrs.evolve(total, lost=max(ZERO, lost))

    def _at_stake(self, name: str, symbol: SymbolSeen, mark: Decimal) -> Load:
        """Return one position's load.

        Its risk is 0 without a stop, or if an external order added to the position.
        """
        size = abs(symbol.position) * symbol.contract_size
        sign = 1 if symbol.position > 0 else -1
        triggers = [stop.trigger for stop in symbol.covering()]
        risk = ZERO
        if triggers and not symbol.external:
            stop = min(triggers) if sign > 0 else max(triggers)
            each = max(ZERO, (mark - stop) * sign)
            each += self.limits.gap_buffer * max(ZERO, (symbol.entry - stop) * sign)
            each += (symbol.taker_fee + self.limits.slippage) * stop
            risk = each * size
        alt = not name.startswith(MAJOR_BASES)
        return Load(
            risk=risk,
            long_alts=risk if alt and sign > 0 else ZERO,
            short_alts=risk if alt and sign < 0 else ZERO,
            net=size * mark * sign,
            notional=size * mark,
            margin=size * symbol.entry / self._leverage[name],
        )

    # --- an entry ----------------------------------------------------------------

    def count_entry(self, seen: Checker, record: FillAudit) -> None:
        """Count an entry at its first fill, and check the two limits on entries."""
        if self._counted.get(record.symbol) == record.client_order_id:
            return  # another fill of the same order
        self._counted[record.symbol] = record.client_order_id
        strategy = self.strategy_of(record.client_order_id)
        hour = self._hours.setdefault(strategy, deque())
        hour.append(record.at_ms)
        while hour[0] <= record.at_ms - HOUR_MS:
            hour.popleft()
        self._use(HardRule.ENTRIES_HOUR, record, D(len(hour)), D(self.limits.entries_per_hour))
        key = (record.at_ms // DAY_MS, record.symbol)
        self._days[key] += 1
        most = D(self.limits.reentries_per_day + 1)
        self._use(HardRule.ENTRIES_DAY, record, D(self._days[key]), most)

    def check_entry(self, seen: Checker, name: str, record: FillAudit, at_ms: int) -> None:
        """Check the portfolio's limits once an entry and its stop are at the venue.

        They are not checked if Kamou may still lack the newest external change at ``at_ms``.
        """
        symbol = seen.symbols[name]
        # The stop may come seconds after the fill, when the mark has moved (seed 980468).
        mark = self._mark(name, symbol, record.at_ms)
        entry = attrs.evolve(self._at_stake(name, symbol, mark), at_ms=record.at_ms)
        self._entered.append(entry)
        if self._excused(at_ms):
            return
        tries = [self._with_entries(past) for past in self._past if past.at_ms <= record.at_ms]
        now = self._load(seen, at_ms)
        tries.append(now)
        limits = self.limits
        day = limits.daily_loss * self.day_equity
        risks = min(limits.open_risk, limits.daily_loss)
        # Kamou knows the result of a reduction, and the end of a hedge, from the report on. All
        # other loads are smaller after a reduction (seed 990246).
        reported = not self.unreported(record.at_ms)
        if reported:
            self._fits(HardRule.ADMISSION, record, tries, lambda x: (x.lost + x.risk, day))
        self._fits(HardRule.OPEN_RISK, record, tries, lambda x: (x.risk, risks * x.sizing_equity))
        if not name.startswith(MAJOR_BASES):
            long = symbol.position > 0
            self._fits(
                HardRule.CLUSTER,
                record,
                tries,
                lambda x: (x.long_alts if long else x.short_alts, limits.cluster * x.sizing_equity),
            )
        if reported and abs(now.net) > abs(now.net - entry.net):  # a hedge is always allowed
            move = limits.shock_move
            self._fits(
                HardRule.SHOCK, record, tries, lambda x: (abs(x.net) * move, day - x.lost), day
            )
        self._fits(
            HardRule.NOTIONAL,
            record,
            tries,
            lambda x: (x.notional, limits.notional * x.sizing_equity),
        )
        self._fits(
            HardRule.MARGIN, record, tries, lambda x: (x.margin, limits.margin * x.sizing_equity)
        )

    def _excused(self, at_ms: int) -> bool:
        """Return True while Kamou may still lack the newest external change."""
        return self._moved_ms >= 0 and not self.known(self._moved_ms, at_ms)

    def _with_entries(self, past: Load) -> Load:
        """Return ``past`` with every entry since then added."""
        for entry in self._entered:
            if entry.at_ms >= past.at_ms:
                past = _sum(past, entry)
        return past

    def _fits(
        self,
        rule: HardRule,
        record: FillAudit,
        tries: list[Load],
        figures: Callable[[Load], tuple[Decimal, Decimal]],
        base: Decimal | None = None,
    ) -> None:
        """Report a violation unless the limit allows one of the loads ``tries``.

        ``figures`` returns the used part and the limit of a load. See ``_use`` for the tolerance.
        """
        best = min((figures(load) for load in tries), key=lambda pair: pair[0] - pair[1])
        self._use(rule, record, *best, base=base)

    def _use(
        self,
        rule: HardRule,
        record: FillAudit,
        used: Decimal,
        limit: Decimal,
        *,
        base: Decimal | None = None,
    ) -> None:
        """Report a violation if ``used`` exceeds the limit and its tolerance.

        The largest used share of each limit is stored in ``closest``.

        The tolerance is a fraction of ``base``, or of the limit if ``base`` is None. Counts of
        entries have none. While Kamou may lack the newest external change, nothing is reported.
        """
        share = used / limit if limit > 0 else D(2)
        self.closest[rule] = max(self.closest.get(rule, ZERO), share)
        slack = (
            ZERO if rule in COUNTED else (limit if base is None else base) * self.limits.tolerance
        )
        if used > limit + slack and not self._excused(record.at_ms):
            detail = f"{used:.6g} of {limit:.6g}"
            self.on_violation(rule, record.at_ms, record.symbol, detail)


def _sum(one: Load, other: Load) -> Load:
    """Return ``one`` with the risk and sizes of ``other`` added."""
    return attrs.evolve(
        one,
        risk=one.risk + other.risk,
        long_alts=one.long_alts + other.long_alts,
        short_alts=one.short_alts + other.short_alts,
        net=one.net + other.net,
        notional=one.notional + other.notional,
        margin=one.margin + other.margin,
    )
