"""Ledger of a venue, the equity by its definition, and a read of the account."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal as D
from itertools import count
from typing import Any

import attrs
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.model import Figure, OrderSide, PositionReport, Side
from kamou.core.risk.midnight_equity import (
    LAST_PRICE_BARS,
    MidnightMarks,
    OpeningRead,
    missed_midnights,
    symbols_to_mark,
)
from tests.core.trading_cases import (
    DAY,
    NOON,
    Story,
    income,
    plan,
    venue_position,
)

SYMBOLS = ("SOLUSDT", "BTCUSDT", "XRPUSDT")
MIDNIGHT = NOON - NOON % DAY + DAY  # the first one after the story began
READ_MS = MIDNIGHT + 2 * DAY + 21_900_000  # started at 06:05, two midnights later
MIDNIGHTS = (MIDNIGHT, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)
_names = count()


# --- ledger of a venue -----------------------------------------------------------------------


@attrs.frozen
class Entry:
    """Fill (signed contracts at a price) or payment, at the venue's time."""

    at_ms: int
    symbol: str
    contracts: D
    price: D
    amount: D  # money: of a payment, or minus the fee of a fill
    transfer: bool = False


def equity_by_definition(entries: Iterable[Entry], before_ms: int, marks: dict[str, D]) -> D:
    """Return the equity from all fills and payments before an instant, at the marks."""
    balance = D(10_000)
    held: dict[str, tuple[D, D]] = {}  # symbol -> contracts, average price
    for entry in entries:
        if entry.at_ms >= before_ms:
            continue
        balance += entry.amount
        contracts, average = held.get(entry.symbol, (D(0), D(0)))
        after = contracts + entry.contracts
        if abs(after) < abs(contracts):  # some of it was closed
            balance += (contracts - after) * (entry.price - average) * D("0.1")
        elif entry.contracts:
            average = (contracts * average + entry.contracts * entry.price) / after
        held[entry.symbol] = after, average if after else D(0)
    return balance + sum(
        (contracts * (marks[symbol] - average) * D("0.1"))
        for symbol, (contracts, average) in held.items()
        if contracts
    )


@st.composite
def ledgers(draw: st.DrawFn) -> list[Entry]:
    """Draw fills that reverse no position, funding and transfers, many at a midnight."""
    near = st.sampled_from([0, 0, -1, 1, 3_000])
    at_midnight = st.builds(lambda m, d: m + d, st.sampled_from(MIDNIGHTS), near)
    stamps = st.one_of(at_midnight, st.integers(NOON + 1, READ_MS))
    held = dict.fromkeys(SYMBOLS, D(0))
    made: list[Entry] = []
    for at_ms in sorted(draw(st.lists(stamps, max_size=14))):
        symbol = draw(st.sampled_from(SYMBOLS))
        kind = draw(st.sampled_from(["fill", "fill", "fill", "funding", "transfer"]))
        if kind != "fill":
            amount = D(draw(st.integers(-5_000, 5_000))) / 10
            made.append(Entry(at_ms, "", D(0), D(0), amount, kind == "transfer"))
            continue
        price, before = D(draw(st.integers(50, 150))), held[symbol]
        contracts = D(draw(st.integers(1, 40)))
        if not before:
            contracts *= draw(st.sampled_from([1, -1]))
        elif draw(st.booleans()):  # reduce, or close
            contracts = -min(contracts, abs(before)) * (1 if before > 0 else -1)
        else:
            contracts *= 1 if before > 0 else -1
        held[symbol] = before + contracts
        made.append(Entry(at_ms, symbol, contracts, price, D("-0.5")))
    return made


def record_entry(story: Story, entry: Entry, known_ms: int = 0) -> None:
    """Record a fill or a payment of the ledger in the story."""
    if not entry.symbol:
        kind = "transfer" if entry.transfer else "funding"
        paid = income(kind, str(entry.amount), entry.at_ms)
        story.say(e.IncomeRecorded(at_ms=known_ms or entry.at_ms, income=paid))
        return
    side = OrderSide.BUY if entry.contracts > 0 else OrderSide.SELL
    quantity, price = str(abs(entry.contracts)), str(entry.price)
    if entry.symbol in story.book.trades.open:
        story.fill(None, quantity, price, symbol=entry.symbol, side=side, at_ms=entry.at_ms)
        return
    of = plan(
        entry.symbol,
        Side.LONG if entry.contracts > 0 else Side.SHORT,
        permit_id=f"p{next(_names)}",
        signal_id=f"s{next(_names)}",
        quantity=abs(entry.contracts),
    )
    story.open(of, price, at_ms=entry.at_ms)


def story_with_late_payments(
    entries: list[Entry], data: st.DataObject
) -> tuple[Story, list[Entry]]:
    """Return a story of the ledger without some drawn payments, and those payments."""
    story = Story()
    story.ready()
    late = [x for x in entries if not x.symbol and data.draw(st.booleans(), label="late")]
    for entry in entries:
        if entry not in late:
            record_entry(story, entry)
    return story, late


def read_of(
    story: Story, entries: list[Entry], marks: dict[int, dict[str, D]], **changes: Any
) -> OpeningRead:
    """Return one read of the venue: the balance now and the marks of the midnights."""
    flat = {symbol: D(100) for symbol in SYMBOLS}
    made = OpeningRead(
        at_ms=READ_MS,
        equity=equity_by_definition(entries, READ_MS + 1, flat),
        wallet_balance=balance_of(entries),
        positions=positions_of(entries),
        midnights=tuple(
            MidnightMarks(
                at_ms=at_ms,
                source=LAST_PRICE_BARS,
                marks=tuple(
                    Figure(name=symbol, value=str(marks[at_ms][symbol]))
                    for symbol in sorted(symbols_to_mark(story.book, positions_of(entries), at_ms))
                ),
            )
            for at_ms in missed_midnights(story.book, READ_MS)
        ),
    )
    return attrs.evolve(made, **changes)


def positions_of(entries: Iterable[Entry]) -> tuple[PositionReport, ...]:
    """Return the positions now, at their average price; every mark is 100."""
    held: dict[str, tuple[D, D]] = {}
    for entry in entries:
        contracts, cost = held.get(entry.symbol, (D(0), D(0)))
        if contracts * entry.contracts < 0:
            cost += cost * entry.contracts / contracts
        else:
            cost += entry.contracts * entry.price
        held[entry.symbol] = contracts + entry.contracts, cost
    return tuple(
        venue_position(
            symbol,
            str(contracts),
            entry_price=cost / contracts,
            unrealized_pnl=(contracts * 100 - cost) * D("0.1"),
        )
        for symbol, (contracts, cost) in held.items()
        if contracts
    )


def balance_of(entries: list[Entry]) -> D:
    """Return the wallet balance now: the equity with positions at their average price."""
    average = {held.symbol: held.entry_price for held in positions_of(entries)}
    return equity_by_definition(entries, READ_MS + 1, average)


def close(one: D, other: D) -> bool:
    """Return True if two amounts agree, except for the last of 28 digits."""
    return abs(one - other) < D("1e-18")


prices = st.integers(50, 150).map(D)
marks_drawn = st.fixed_dictionaries(
    {at: st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices)) for at in MIDNIGHTS}
)


def looked(
    balance: str,
    *midnights: MidnightMarks,
    equity: str = "",
    positions: tuple[PositionReport, ...] = (),
) -> OpeningRead:
    return OpeningRead(
        at_ms=READ_MS,
        equity=D(equity or balance),
        wallet_balance=D(balance),
        positions=positions,
        midnights=midnights,
    )


def flat(at_ms: int, **changes: Any) -> MidnightMarks:
    return attrs.evolve(MidnightMarks(at_ms=at_ms, source=LAST_PRICE_BARS), **changes)
