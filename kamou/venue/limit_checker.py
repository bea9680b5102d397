"""The portfolio's limits, recomputed from the venue's records at every entry.

Shares the fold of ``checker`` and no arithmetic with governor, sizing or booking. The fee of
leaving is the account's rate as the venue recorded it with the symbol's newest fill. An entry is
judged on what was true while it was on its way: some instant of the last ``window_ms`` must have
had room for it and for everything that was entered since that instant. A loss is in the sum from
its fill on, and before that as the risk of its position, so nothing falls between the two.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from decimal import Decimal

import attrs

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.model import ZERO
from kamou.venue.checker import Checker, SymbolSeen
from kamou.venue.state import AuditRecord, FillAudit, MoneyAudit

D = Decimal
MAJOR_BASES = ("BTC", "XBT", "ETH")  # everything else is one cluster

MarkAt = Callable[[str, int], Decimal | None]
"""(symbol, at_ms) -> the mark then; None when there is no market."""

Known = Callable[[int, int], bool]
"""(changed, now, both in ms) -> whether what others changed then must be known now."""


def known_at_once(changed_at_ms: int, now_ms: int) -> bool:
    """Nobody else moves anything, or all of it is told at once."""
    return True


@attrs.frozen(kw_only=True)
class PortfolioLimits:
    """The limits of ``risk.md`` on everything together. Fractions are of Q unless said."""

    daily_loss: Decimal  # of the day's first equity
    open_risk: Decimal
    cluster: Decimal
    shock_move: Decimal  # of the price of everything at once
    notional: Decimal  # times Q
    margin: Decimal
    entries_per_hour: int  # of one strategy
    reentries_per_day: int  # in one symbol
    gap_buffer: Decimal = D("0.25")  # of the stop distance
    slippage: Decimal = D("0.0002")
    tolerance: Decimal = D("0.02")  # of a limit: fills differ from the prices that were permitted
    window_ms: int = 0  # from the review of an entry to its fill, at most


@attrs.frozen(kw_only=True)
class Load:
    """What is at stake, of one instant or of one entry. Money."""

    at_ms: int = 0
    lost: Decimal = ZERO  # of the day, exit costs in
    risk: Decimal = ZERO  # mark to stop, with costs and gap
    long_alts: Decimal = ZERO  # of it
    short_alts: Decimal = ZERO
    net: Decimal = ZERO  # notional, signed
    notional: Decimal = ZERO
    margin: Decimal = ZERO
    sizing_equity: Decimal = ZERO


@attrs.define
class LimitChecker:
    """Told of everything by a ``Checker``; says what broke through ``wrong``."""

    limits: PortfolioLimits
    mark_at: MarkAt
    leverage_of: Callable[[str], int]  # of an entry order, by client order id
    strategy_of: Callable[[str], str]
    wrong: Callable[[str, int, str, str], None]  # rule, at_ms, symbol, detail
    day_equity: Decimal = ZERO
    known: Known = known_at_once  # of what others did with the account
    unreported: Callable[[int], bool] = lambda at_ms: False  # a reduction, at that time
    closest: dict[str, Decimal] = attrs.Factory(dict)  # limit -> largest share of it that was used
    _day: int = -1
    _net_deposits: Decimal = ZERO
    _moved_ms: int = -1  # when others last moved money or positions
    _past: deque[Load] = attrs.Factory(deque)
    _entered: deque[Load] = attrs.Factory(deque)
    _hours: dict[str, deque[int]] = attrs.Factory(dict)
    _days: Counter[tuple[int, str]] = attrs.Factory(Counter)
    _leverage: dict[str, int] = attrs.Factory(dict)
    _counted: dict[str, str] = attrs.Factory(dict)  # symbol held -> the entry that was counted

    # --- time and money ----------------------------------------------------------

    def before(self, seen: Checker, noted: AuditRecord) -> None:
        """``noted`` comes next: close the day that ended before it, remember how things stood."""
        self.roll(seen, noted.at_ms)
        if isinstance(noted, MoneyAudit):
            if noted.kind == "opening":
                self.day_equity += noted.amount
            elif noted.kind == "transfer":
                self._net_deposits += noted.amount
                self._moved_ms = noted.at_ms
        elif isinstance(noted, FillAudit):
            self.sample(seen, noted.at_ms)
            if noted.position_after and noted.position_before * noted.position_after <= 0:
                # A position keeps the leverage of the order that opened it (seed 970979).
                self._leverage[noted.symbol] = self.leverage_of(noted.client_order_id)
            if not seen.is_ours(noted.client_order_id):
                self._moved_ms = noted.at_ms

    def roll(self, seen: Checker, at_ms: int) -> None:
        """A day begins with the equity at 00:00:00 UTC: what was stamped before, at those marks."""
        day = at_ms // DAY_MS
        if self._day == day:
            return
        if self._day >= 0:
            self.open_day(seen, day * DAY_MS)
        self._day = day

    def open_day(self, seen: Checker, at_ms: int) -> None:
        """The day's loss counts from here on."""
        self.day_equity, self._net_deposits = self.equity(seen, at_ms), ZERO
        self._past.clear()

    def reopen_day(self, seen: Checker, at_ms: int) -> None:
        """Count the day's loss from here on, and its limit without what was paid in since 00:00.

        A record that begins within the day counts transfers as net_deposits of the day, also those
        from before its opening (seed 1000448).
        """
        net_deposits = self._net_deposits
        self.open_day(seen, at_ms)
        if (
            self.day_equity > net_deposits
        ):  # else all of it was paid in: the day begins with what is there
            self.day_equity, self._net_deposits = self.day_equity - net_deposits, net_deposits

    def forgotten(self) -> None:
        """An older journal came back: what was counted in it is not counted any more."""
        self._hours.clear()
        self._days.clear()

    def equity(self, seen: Checker, at_ms: int) -> Decimal:
        """Balance and positions of now, at the marks of ``at_ms``."""
        total = seen.wallet_balance
        for name, symbol in seen.held.items():
            mark = self._mark(name, symbol, at_ms)
            total += (mark - symbol.entry) * symbol.position * symbol.contract_size
        return total

    def _mark(self, name: str, symbol: SymbolSeen, at_ms: int) -> Decimal:
        mark = self.mark_at(name, at_ms)
        return symbol.entry if mark is None else mark

    # --- what is at stake --------------------------------------------------------

    def sample(self, seen: Checker, at_ms: int) -> None:
        """Remember what was at stake at this instant."""
        if self._past and self._past[-1].at_ms == at_ms:
            return
        self._past.append(self._load(seen, at_ms))
        for past in (self._past, self._entered):
            while past and past[0].at_ms < at_ms - self.limits.window_ms:
                past.popleft()

    def _load(self, seen: Checker, at_ms: int) -> Load:
        equity = self.equity(seen, at_ms)
        total = Load(at_ms=at_ms, sizing_equity=min(equity, seen.wallet_balance))
        leaving = ZERO
        for name, symbol in seen.held.items():
            mark = self._mark(name, symbol, at_ms)
            total = _sum(total, self._at_stake(name, symbol, mark))
            size = abs(symbol.position) * symbol.contract_size
            leaving += size * mark * (symbol.taker_fee + self.limits.slippage)
        lost = self.day_equity + self._net_deposits - equity + leaving
        return attrs.evolve(total, lost=max(ZERO, lost))

    def _at_stake(self, name: str, symbol: SymbolSeen, mark: Decimal) -> Load:
        """One position. Without a stop, or with one of others, only its size counts."""
        size = abs(symbol.position) * symbol.contract_size
        sign = 1 if symbol.position > 0 else -1
        triggers = [stop.trigger for stop in symbol.covering()]
        risk = ZERO
        if triggers and not symbol.foreign:
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

    def filled(self, seen: Checker, noted: FillAudit) -> None:
        """Our entry filled: it counts."""
        if self._counted.get(noted.symbol) == noted.client_order_id:
            return  # another part of the same order
        self._counted[noted.symbol] = noted.client_order_id
        strategy = self.strategy_of(noted.client_order_id)
        hour = self._hours.setdefault(strategy, deque())
        hour.append(noted.at_ms)
        while hour[0] <= noted.at_ms - HOUR_MS:
            hour.popleft()
        self._use("entries_hour", noted, D(len(hour)), D(self.limits.entries_per_hour))
        key = (noted.at_ms // DAY_MS, noted.symbol)
        self._days[key] += 1
        most = D(self.limits.reentries_per_day + 1)
        self._use("entries_day", noted, D(self._days[key]), most)

    def entered(self, seen: Checker, name: str, noted: FillAudit, at_ms: int) -> None:
        """The entry and its stop are at the venue: was there room for it?"""
        symbol = seen.symbols[name]
        # Its stop may come seconds later, when the mark has moved on (seed 980468).
        mark = self._mark(name, symbol, noted.at_ms)
        mine = attrs.evolve(self._at_stake(name, symbol, mark), at_ms=noted.at_ms)
        self._entered.append(mine)
        if self._excused(at_ms):
            return
        tries = [self._with_entries(past) for past in self._past if past.at_ms <= noted.at_ms]
        now = self._load(seen, at_ms)
        tries.append(now)
        limits = self.limits
        day = limits.daily_loss * self.day_equity
        risks = min(limits.open_risk, limits.daily_loss)
        # What a reduction has realized, or that it ended a hedge, is known with its report. All
        # else is less with it (seed 990246).
        reported = not self.unreported(noted.at_ms)
        if reported:
            self._fits("ADMISSION", noted, tries, lambda x: (x.lost + x.risk, day))
        self._fits("OPEN_RISK", noted, tries, lambda x: (x.risk, risks * x.sizing_equity))
        if not name.startswith(MAJOR_BASES):
            long = symbol.position > 0
            self._fits(
                "CLUSTER",
                noted,
                tries,
                lambda x: (x.long_alts if long else x.short_alts, limits.cluster * x.sizing_equity),
            )
        if reported and abs(now.net) > abs(now.net - mine.net):  # a hedge may always be added
            move = limits.shock_move
            self._fits("SHOCK", noted, tries, lambda x: (abs(x.net) * move, day - x.lost), day)
        self._fits(
            "NOTIONAL", noted, tries, lambda x: (x.notional, limits.notional * x.sizing_equity)
        )
        self._fits("MARGIN", noted, tries, lambda x: (x.margin, limits.margin * x.sizing_equity))

    def _excused(self, at_ms: int) -> bool:
        """Whether others moved money or positions and nobody can know of it at ``at_ms``."""
        return self._moved_ms >= 0 and not self.known(self._moved_ms, at_ms)

    def _with_entries(self, past: Load) -> Load:
        """``past`` with everything that was entered since."""
        for entry in self._entered:
            if entry.at_ms >= past.at_ms:
                past = _sum(past, entry)
        return past

    def _fits(
        self,
        rule: str,
        noted: FillAudit,
        tries: list[Load],
        figures: Callable[[Load], tuple[Decimal, Decimal]],
        base: Decimal | None = None,
    ) -> None:
        """At one of these instants, at least, what was used was within what was allowed."""
        best = min((figures(load) for load in tries), key=lambda pair: pair[0] - pair[1])
        self._use(rule, noted, *best, base=base)

    def _use(
        self,
        rule: str,
        noted: FillAudit,
        used: Decimal,
        limit: Decimal,
        *,
        base: Decimal | None = None,
    ) -> None:
        """``base``: what the tolerance is of, where the limit is only what is left of something."""
        share = used / limit if limit > 0 else D(2)
        self.closest[rule] = max(self.closest.get(rule, ZERO), share)
        slack = (
            ZERO
            if rule.startswith("entries")
            else (limit if base is None else base) * self.limits.tolerance
        )
        if used > limit + slack and not self._excused(noted.at_ms):
            self.wrong(rule.upper(), noted.at_ms, noted.symbol, f"{used:.6g} of {limit:.6g}")


def _sum(one: Load, other: Load) -> Load:
    return attrs.evolve(
        one,
        risk=one.risk + other.risk,
        long_alts=one.long_alts + other.long_alts,
        short_alts=one.short_alts + other.short_alts,
        net=one.net + other.net,
        notional=one.notional + other.notional,
        margin=one.margin + other.margin,
    )
