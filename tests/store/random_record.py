"""Random histories of money, and their record by its definition.

This module shares only the events with the product; its sums are plain loops over all events.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal as D
from fractions import Fraction
from typing import Any

import attrs
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.late_events import DayCorrected, TransferValued
from kamou.core.kinds import IncomeKind
from kamou.core.model import Income, OrderSide
from tests.store import story

DAY = 86_400_000
BEGIN = 1_700_006_400_000  # 2023-11-15T00:00Z
IN_TIME = 600_000  # ms after midnight; a later read is not the equity of midnight
LENGTH = 7  # days of a history

cents = st.integers(-900_000, 900_000).map(lambda n: D(n).scaleb(-2))
equities = st.integers(100_000, 3_000_000).map(lambda n: D(n).scaleb(-2))


@st.composite
def times(draw: st.DrawFn) -> int:
    """Draw a time of the history, often midnight or close to it."""
    midnight = BEGIN + DAY * draw(st.integers(0, LENGTH))
    near = st.sampled_from([0, 1, -1, 3_000, 6_000, 6_001, IN_TIME, IN_TIME + 1])
    return midnight + draw(st.one_of(near, st.integers(0, DAY - 1)))


@attrs.frozen
class Journaled:
    """An event, and the time at which it is committed."""

    at_ms: int
    event: e.Event


@st.composite
def histories(draw: st.DrawFn, *, as_read: bool = False) -> list[e.Event]:
    """Draw events in the order of the journal; some are committed late.

    ``as_read``: draw an older journal, whose days have only the equity that was read.
    """
    begin = BEGIN + draw(st.sampled_from([0, 1, 1_000, 6_000, DAY // 2, DAY - 1]))
    made = [Journaled(begin, story.make_equity(begin, str(draw(equities))))]
    for at_ms in draw(st.lists(times(), max_size=14)):
        if at_ms > begin:
            made.append(Journaled(at_ms, story.make_equity(at_ms, str(draw(equities)))))
    made += draw(_days_opened(begin, as_read))
    for n, at_ms in enumerate(draw(st.lists(times(), max_size=14))):
        later = draw(st.sampled_from([0, 0, 0, 2_000, 8_000, DAY, 2 * DAY]))
        entry = draw(_entry(n, at_ms))
        made.append(Journaled(at_ms + later, entry))
        if isinstance(entry, e.IncomeRecorded) and entry.income.kind == "transfer" and not as_read:
            values = draw(st.lists(equities, max_size=2))
            made += [
                Journaled(at_ms + later + i * 5_000, _make_valuation(at_ms, n, i, value))
                for i, value in enumerate(values, 1)
            ]
    if draw(st.integers(0, 9)) == 0:
        made.insert(0, Journaled(0, draw(_entry(99, BEGIN - 5))))  # before the record
    return [each.event for each in sorted(made, key=lambda each: each.at_ms)]


def _make_valuation(transfer_at_ms: int, entry: int, number: int, equity: D) -> e.Event:
    return TransferValued(
        at_ms=transfer_at_ms + 5_000,
        transfer_at_ms=transfer_at_ms,
        number=10 * entry + number,  # several transfers may have one time
        equity=equity,
        marks=(),
        marks_at_ms=0,
        rests_on="last_price_bars",
        read_at_ms=transfer_at_ms + 5_000,
    )


@st.composite
def _days_opened(draw: st.DrawFn, begin: int, as_read: bool) -> list[Journaled]:
    """Draw the opening of each day: in time, late, never, or with missed days."""
    made: list[Journaled] = []
    missed: list[int] = []
    for day in range(LENGTH):
        if not as_read and draw(st.booleans()):
            missed.append(day)
            after = draw(st.sampled_from([None, 6_000, 60_000, 60_001, DAY // 3]))
            if after is not None and BEGIN + day * DAY + after >= begin:
                made += draw(_rebuilt_days(missed, BEGIN + day * DAY + after))
                missed = []
            continue
        after = draw(
            st.sampled_from([None, 0, 6_000, 6_000, 6_000, IN_TIME, IN_TIME + 1, DAY // 3])
        )
        if after is None or BEGIN + day * DAY + after < begin:
            continue
        at_ms = BEGIN + day * DAY + after
        opened = e.DayOpened(at_ms=at_ms, day=day_of(at_ms), equity=draw(equities))
        made.append(Journaled(at_ms, opened))
    return made


@st.composite
def _rebuilt_days(draw: st.DrawFn, days: list[int], at_ms: int) -> list[Journaled]:
    """Draw the equity of these midnights, from one read; corrections may follow."""
    made = []
    for day in days:
        midnight = BEGIN + day * DAY
        opened = e.DayOpened(
            at_ms=at_ms,
            day=day_of(midnight),
            equity=draw(equities),
            opening=draw(equities),
            midnight_at_ms=midnight,
            rests_on=draw(st.sampled_from(["mark_read", "last_price_bars"])),
            at_midnight=draw(st.integers(0, 4)) > 0,
        )
        made.append(Journaled(at_ms, opened))
        waits = draw(st.lists(st.sampled_from([0, 5_000, 2 * DAY]), max_size=2))
        for number, wait in enumerate(sorted(waits), 1):
            later = at_ms + wait
            corrected = DayCorrected(
                at_ms=later, day=opened.day, number=number, before=D(0), equity=draw(equities)
            )
            made.append(Journaled(later, corrected))
    return made


@st.composite
def _entry(draw: st.DrawFn, number: int, at_ms: int) -> e.Event:
    kind = draw(st.sampled_from(["transfer", "funding", "fill", "trade", "transfer"]))
    amount = draw(cents)
    if kind in ("transfer", "funding"):
        symbol = "" if kind == "transfer" else "ETHUSDT"
        income = Income(
            income_id=f"i{number}", kind=IncomeKind(kind), symbol=symbol, amount=amount, at_ms=at_ms
        )
        return e.IncomeRecorded(at_ms=at_ms, income=income)
    if kind == "fill":
        event = story.make_fill_event(number, "", OrderSide.BUY, "1", at_ms)
        assert isinstance(event, e.FillRecorded)
        return attrs.evolve(event, fill=attrs.evolve(event.fill, fee=abs(amount)))
    strategy = draw(st.sampled_from(["one", "two", "adopted"]))
    return attrs.evolve(
        story.make_trade_close(),
        at_ms=at_ms,
        trade_id=f"t{number}",
        strategy=strategy,
        symbol=draw(st.sampled_from(["A", "B"])),
        closed_at_ms=at_ms,
        pnl_net=amount,
        r_multiple=None if strategy == "adopted" else amount / 100,
    )


def day_of(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d")


# --- rows by their definitions ---------------------------------------------------------------


@attrs.frozen
class Boundary:
    """A boundary of the record; ``first`` is the first event time of its next row."""

    at: int
    first: int
    read: int
    equity: D
    midnight: bool
    exact: bool = False
    rebuilt: str = ""
    corrections: int = 0


def incomes(events: list[e.Event], kind: str | None = None) -> list[tuple[int, D]]:
    return [
        (each.income.at_ms, each.income.amount)
        for each in events
        if isinstance(each, e.IncomeRecorded) and kind in (None, each.income.kind)
    ]


def fees(events: list[e.Event]) -> list[tuple[int, D]]:
    return [(x.fill.at_ms, x.fill.fee) for x in events if isinstance(x, e.FillRecorded)]


def marks(events: list[e.Event]) -> dict[int, D]:
    return {x.at_ms: x.equity for x in events if isinstance(x, e.EquityRecorded)}


def boundaries(events: list[e.Event]) -> list[Boundary]:
    """Return the start of the record and every midnight with a known equity."""
    reads = [x for x in events if isinstance(x, e.EquityRecorded | e.DayOpened)]
    first = reads[0]
    found = {}
    if first.at_ms % DAY:
        found[first.at_ms] = Boundary(
            first.at_ms, first.at_ms + 1, first.at_ms, first.equity, False
        )
    else:
        found[first.at_ms] = _read_boundary(events, first.at_ms, first.at_ms, first.equity)
    for each in reads:
        if isinstance(each, e.DayOpened) and each.opening is not None:
            if each.at_midnight and each.midnight_at_ms >= max(found):
                found[each.midnight_at_ms] = _exact_boundary(events, each)
            continue
        midnight = each.at_ms // DAY * DAY
        in_time = each.at_ms - midnight <= IN_TIME
        if isinstance(each, e.DayOpened) and in_time and midnight >= max(found):
            found[midnight] = _read_boundary(events, midnight, each.at_ms, each.equity)
    return [found[at] for at in sorted(found)]


def _read_boundary(events: list[e.Event], midnight: int, read: int, equity: D) -> Boundary:
    between = [amount for at, amount in incomes(events) if midnight <= at <= read]
    paid = [amount for at, amount in fees(events) if midnight <= at <= read]
    return Boundary(midnight, midnight, read, equity - sum(between, D(0)) + sum(paid, D(0)), True)


def _exact_boundary(events: list[e.Event], opened: e.DayOpened) -> Boundary:
    """Return the boundary of a midnight with the equity of its last correction."""
    late = [x for x in events if isinstance(x, DayCorrected) and x.day == opened.day]
    assert opened.opening is not None
    return Boundary(
        at=opened.midnight_at_ms,
        first=opened.midnight_at_ms,
        read=opened.at_ms,
        equity=late[-1].equity if late else opened.opening,
        midnight=True,
        exact=True,
        rebuilt=opened.rests_on if opened.at_ms - opened.midnight_at_ms > 60_000 else "",
        corrections=len(late),
    )


def row(events: list[e.Event], start: Boundary, end: Boundary) -> dict[str, Any]:
    """Return one row of the record by the published definitions."""

    def inside(at: int) -> bool:
        return start.first <= at < end.first

    def total(pairs: list[tuple[int, D]]) -> D:
        return sum((amount for at, amount in pairs if inside(at)), D(0))

    trades = [x for x in events if isinstance(x, e.TradeClosed) and inside(x.closed_at_ms)]
    moved = [(at, amount) for at, amount in incomes(events, "transfer") if inside(at)]
    return {
        "day": day_of(start.at),
        "last_day": day_of(end.at - 1),
        "complete": start.midnight and end.midnight and end.at - start.at == DAY,
        "equity_start": start.equity,
        "equity_end": end.equity,
        "net_deposits": total(incomes(events, "transfer")),
        "funding": total(incomes(events, "funding")),
        "fees": total(fees(events)),
        "trades": len(trades),
        "pnl": sum((trade.pnl_net for trade in trades), D(0)),
        "return_": time_weighted(events, moved, start, end),
        "start_rebuilt": start.rebuilt,
        "end_rebuilt": end.rebuilt,
        "corrections": start.corrections + end.corrections,
    }


def time_weighted(
    events: list[e.Event], moved: list[tuple[int, D]], start: Boundary, end: Boundary
) -> float | None:
    """Return the compounded return of the periods between transfers.

    A transfer without a valuation counts at the next equity snapshot, with all others up to it.
    """
    known = sorted((at, equity) for at, equity in marks(events).items() if at < end.first)
    values = {x.transfer_at_ms: x.equity for x in events if isinstance(x, TransferValued)}
    growth, base = Fraction(1), Fraction(start.equity)
    base += sum(Fraction(amount) for at, amount in moved if at == start.at)  # no period before it
    seen_ms = start.at
    for at in sorted({at for at, _ in moved}):
        if at <= seen_ms:
            continue
        if at in values:
            seen_ms, before = at, Fraction(values[at])
            after = before + sum(Fraction(amount) for time, amount in moved if time == at)
        else:
            seen_ms, found = next(
                ((mark, equity) for mark, equity in known if mark >= at), (end.first, end.equity)
            )
            after = Fraction(found)
            before = after - sum(
                Fraction(amount) for time, amount in moved if at <= time <= seen_ms
            )
        if base <= 0:
            return None
        growth *= before / base
        base = after
    if base <= 0:
        return None
    return float(growth * Fraction(end.equity) / base) - 1


def rows(events: list[e.Event]) -> list[dict[str, Any]]:
    found = boundaries(events)
    return [row(events, start, end) for start, end in itertools.pairwise(found)]
