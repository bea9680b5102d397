"""The equity at 00:00 UTC, rebuilt backwards, against the venue's own ledger added up forwards."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal as D
from itertools import count

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trading_cases import (
    DAY,
    INSTRUMENTS,
    NOON,
    Story,
    income,
    instrument,
    mark,
    plan,
    venue_position,
)

from kamou.core.book import events as e
from kamou.core.book.book import Book
from kamou.core.book.late_events import DayCorrected
from kamou.core.day import utc_day
from kamou.core.model import Figure, OrderSide, Side, VenuePosition
from kamou.core.risk.midnights import (
    LAST_PRICE_BARS,
    NOT_REBUILT,
    MidnightMarks,
    OpeningRead,
    equity_at,
    missed_midnights,
    on_tick,
    openings,
    symbols_of,
)

SYMBOLS = ("SOLUSDT", "BTCUSDT", "XRPUSDT")
MIDNIGHT = NOON - NOON % DAY + DAY  # the first one after the story began
READ_MS = MIDNIGHT + 2 * DAY + 21_900_000  # started at 06:05, two midnights later
MIDNIGHTS = (MIDNIGHT, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)
_names = count()


# --- a venue's ledger, added up forwards ------------------------------------------------------


@attrs.frozen
class Entry:
    """A fill (contracts, signed, at a price) or a payment, by the venue's stamp."""

    at_ms: int
    symbol: str
    contracts: D
    price: D
    amount: D  # of a payment, or less the fee of a fill
    transfer: bool = False


def equity_by_definition(entries: Iterable[Entry], before_ms: int, marks: dict[str, D]) -> D:
    """Balance after all entries before an instant, and what these leave at the marks."""
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
    """Fills that never reverse a position, funding and transfers; many right at a midnight."""
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


def tell(story: Story, entry: Entry, known_ms: int = 0) -> None:
    """The journal learns of this entry."""
    if not entry.symbol:
        kind = "transfer" if entry.transfer else "funding"
        paid = income(kind, str(entry.amount), entry.at_ms)
        story.say(e.IncomeRecorded(at_ms=known_ms or entry.at_ms, income=paid))
        return
    side = OrderSide.BUY if entry.contracts > 0 else OrderSide.SELL
    quantity, price = str(abs(entry.contracts)), str(entry.price)
    if entry.symbol in story.book.trades:
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


def read_of(
    story: Story, entries: list[Entry], marks: dict[int, dict[str, D]], **changes: object
) -> OpeningRead:
    """What one look at the venue gives: its balance now, and the marks of the midnights."""
    flat = {symbol: D(100) for symbol in SYMBOLS}
    made = OpeningRead(
        at_ms=READ_MS,
        equity=equity_by_definition(entries, READ_MS + 1, flat),
        balance=balance_of(entries),
        positions=positions_of(entries),
        midnights=tuple(
            MidnightMarks(
                at_ms=at_ms,
                source=LAST_PRICE_BARS,
                marks=tuple(
                    Figure(name=symbol, value=str(marks[at_ms][symbol]))
                    for symbol in sorted(symbols_of(story.book, positions_of(entries), at_ms))
                ),
            )
            for at_ms in missed_midnights(story.book, READ_MS)
        ),
    )
    return attrs.evolve(made, **changes)


def positions_of(entries: Iterable[Entry]) -> tuple[VenuePosition, ...]:
    """What is held now, at its average price."""
    held: dict[str, tuple[D, D]] = {}
    for entry in entries:
        contracts, cost = held.get(entry.symbol, (D(0), D(0)))
        if contracts * entry.contracts < 0:
            cost += cost * entry.contracts / contracts
        else:
            cost += entry.contracts * entry.price
        held[entry.symbol] = contracts + entry.contracts, cost
    return tuple(
        venue_position(symbol, str(contracts), entry_price=cost / contracts)
        for symbol, (contracts, cost) in held.items()
        if contracts
    )


def balance_of(entries: list[Entry]) -> D:
    """The wallet now: the equity if every position stood at its average price."""
    average = {held.symbol: held.entry_price for held in positions_of(entries)}
    return equity_by_definition(entries, READ_MS + 1, average)


def close(one: D, other: D) -> bool:
    """Averages are quotients: equal but for the last of 28 digits."""
    return abs(one - other) < D("1e-18")


prices = st.integers(50, 150).map(D)
marks_drawn = st.fixed_dictionaries(
    {at: st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices)) for at in MIDNIGHTS}
)


@given(ledgers(), marks_drawn, st.data())
@settings(deadline=None)
def test_every_missed_midnight_has_the_equity_that_the_ledger_leaves_at_its_marks(
    entries: list[Entry], marks: dict[int, dict[str, D]], data: st.DataObject
) -> None:
    story = Story()
    story.ready()
    late = [x for x in entries if not x.symbol and data.draw(st.booleans(), label="late")]
    for entry in entries:
        if entry not in late:
            tell(story, entry)
    read = read_of(story, entries, marks)
    assert tuple(m.at_ms for m in read.midnights) == MIDNIGHTS
    opened = openings(story.book, read, INSTRUMENTS, waited=False)
    assert [each.day for each in opened] == ["2024-01-02", "2024-01-03", "2024-01-04"]
    story.say(*opened)
    assert (story.book.day, story.book.day_opened_ms) == ("2024-01-04", READ_MS)
    for entry in late:
        tell(story, entry, known_ms=READ_MS + 60_000)
    corrected = story.book.pending_day_corrections(READ_MS + 61_000)
    story.say(*corrected)
    assert not story.book.pending_day_corrections(READ_MS + 62_000)
    published = {each.day: each.opening for each in opened}
    published |= {each.day: each.equity for each in corrected}
    for at_ms in MIDNIGHTS:
        found = published[utc_day(at_ms)]
        assert found is not None
        assert close(found, equity_by_definition(entries, at_ms, marks[at_ms]))
    # What the governor counts from is what is published.
    today = equity_by_definition(entries, MIDNIGHTS[-1], marks[MIDNIGHTS[-1]])
    assert close(story.book.day_equity, today)
    paid = [x.amount for x in entries if x.transfer and x.at_ms >= MIDNIGHTS[-1]]
    assert story.book.day_flows == sum(paid)


# --- some of it in words ----------------------------------------------------------------------


@pytest.fixture
def story() -> Story:
    told = Story()
    told.ready()
    return told


def looked(
    balance: str,
    *midnights: MidnightMarks,
    equity: str = "",
    positions: tuple[VenuePosition, ...] = (),
) -> OpeningRead:
    return OpeningRead(
        at_ms=READ_MS,
        equity=D(equity or balance),
        balance=D(balance),
        positions=positions,
        midnights=midnights,
    )


def flat(at_ms: int, **changes: object) -> MidnightMarks:
    return attrs.evolve(MidnightMarks(at_ms=at_ms, source=LAST_PRICE_BARS), **changes)


def test_a_loss_between_midnight_and_a_late_start_counts_against_today(story: Story) -> None:
    """Held over midnight at 98; its stop filled at 95 at 03:00; Kamou started at 06:05."""
    _, stop = story.open(plan(), at_ms=NOON)  # 10 units at 100: 0.5 in fees
    story.fill(stop, "100", "95", at_ms=MIDNIGHTS[2] + 10_800_000)
    marks = (Figure(name="SOLUSDT", value="98"),)
    read = looked("9949.0", *(flat(at_ms, marks=marks) for at_ms in MIDNIGHTS))
    opened = openings(story.book, read, INSTRUMENTS, waited=False)
    assert [each.opening for each in opened] == [D("9979.5")] * 3
    story.say(*opened)
    assert story.book.day_equity - D("9949.0") == D("30.5")  # 30 from the mark, 0.5 in fees


def test_an_entry_stamped_exactly_at_midnight_belongs_to_the_day_that_begins(story: Story) -> None:
    for at_ms, amount in ((MIDNIGHT - 1, "-1"), (MIDNIGHT, "-10"), (MIDNIGHT + 1, "-100")):
        story.say(e.IncomeRecorded(at_ms=READ_MS, income=income("funding", amount, at_ms)))
    read = looked("9889", *map(flat, MIDNIGHTS))
    opened = openings(story.book, read, INSTRUMENTS, waited=False)
    assert [each.opening for each in opened] == [D(9999), D(9889), D(9889)]


def test_fills_that_no_plan_of_ours_explains_are_taken_back_too(story: Story) -> None:
    """Somebody else bought and sold 30 units of ETH, gaining 60 for 1 in fees, after midnight."""
    for side, price in ((OrderSide.BUY, "100"), (OrderSide.SELL, "102")):
        at_ms = MIDNIGHTS[2] + 5_000
        story.fill(None, "300", price, symbol="ETHUSDT", side=side, at_ms=at_ms)
    read = looked("10059", *map(flat, MIDNIGHTS))
    opened = openings(story.book, read, INSTRUMENTS, waited=False)
    assert opened[-1].opening == 10_000
    size = {"ETHUSDT": instrument("ETHUSDT", contract_size=D("0.2"))}
    assert equity_at(story.book, read, flat(MIDNIGHTS[2]), size) == 9_940


def test_a_fill_newer_than_the_account_is_waited_for(story: Story) -> None:
    story.open(plan(), at_ms=READ_MS + 1)
    read = looked("10000", *map(flat, MIDNIGHTS))
    assert openings(story.book, read, INSTRUMENTS, waited=True) == ()


def test_fills_listed_late_correct_the_midnight_by_an_event(story: Story) -> None:
    """Half of the position was sold at 99 and bought back at 97: as much is held as before."""
    story.open(plan(), at_ms=NOON)  # 10 units at 100: 0.5 in fees
    marks = (Figure(name="SOLUSDT", value="98"),)
    held = (venue_position("SOLUSDT", "100", entry_price=D("98.5")),)
    midnights = (flat(at_ms, marks=marks) for at_ms in MIDNIGHTS)
    read = looked("9993.5", *midnights, positions=held)
    story.say(*openings(story.book, read, INSTRUMENTS, waited=False))
    at_ms = MIDNIGHTS[1] + 1_000
    for side, price in ((OrderSide.SELL, "99"), (OrderSide.BUY, "97")):
        done = story.fill(None, "50", price, symbol="SOLUSDT", side=side, at_ms=at_ms)
    first, second = story.book.pending_day_corrections(READ_MS + 5_000)
    # Sold 5 units above the mark and bought them below it: 10 gained, 1 in fees.
    assert (first.day, first.number, second.day) == ("2024-01-02", 1, "2024-01-03")
    assert first.before - first.equity == second.before - second.equity == 9
    assert first.cause_id == done.key
    story.say(first, second)
    assert story.book.pending_day_corrections(READ_MS) == ()
    tell(story, Entry(MIDNIGHTS[2], "", D(0), D(0), D(-3)), known_ms=READ_MS + 9_000)
    corrected = {x.day: x.number for x in story.book.pending_day_corrections(READ_MS)}
    assert corrected == {"2024-01-02": 2, "2024-01-03": 2, "2024-01-04": 1}
    assert first.equity == second.equity == D("9979.5")
    # At the last midnight, both had happened: 9,993.5 before the payment, and 10 units at 98.
    assert story.book.day_equity == D("9993.5") + 3 - 5


def test_a_midnight_without_its_mark_is_waited_for_and_then_left(story: Story) -> None:
    story.open(plan(), at_ms=NOON)
    nothing = [flat(at_ms, source="") for at_ms in MIDNIGHTS]
    held = (venue_position("SOLUSDT", "100"),)
    read = looked("9999.5", *nothing, equity="9900", positions=held)
    assert openings(story.book, read, INSTRUMENTS, waited=False) == ()
    marks = (Figure(name="SOLUSDT", value="98"),)
    assert equity_at(story.book, read, flat(MIDNIGHT, marks=marks), {}) is None
    (opened,) = openings(story.book, read, INSTRUMENTS, waited=True)
    assert (opened.day, opened.rests_on, opened.at_midnight) == ("2024-01-04", NOT_REBUILT, False)


@pytest.mark.parametrize(
    ("known", "paid_in", "now", "opening"),
    [("9800", "500", "10100", 10300), ("9800", "-500", "9400", 9400), ("9800", "0", "9700", 9800)],
)
def test_beyond_the_look_back_today_opens_with_the_higher_equity(
    story: Story, known: str, paid_in: str, now: str, opening: int
) -> None:
    """The last known equity with the net deposits since, or the equity now."""
    story.say(mark(known, NOON + 1_000))
    moved = income("transfer", paid_in, MIDNIGHTS[1])
    story.say(e.IncomeRecorded(at_ms=READ_MS, income=moved), mark(now, READ_MS))
    beyond = [flat(at_ms, source="", reachable=False) for at_ms in MIDNIGHTS]
    read = looked(now, *beyond)
    (opened,) = openings(story.book, read, INSTRUMENTS, waited=False)
    assert (opened.opening, opened.rests_on, opened.at_midnight) == (opening, NOT_REBUILT, False)
    story.say(opened)
    assert (story.book.day_equity, story.book.day_flows) == (opening, 0)
    late = income("transfer", "70", MIDNIGHTS[2])  # of before the read, listed after it
    story.say(e.IncomeRecorded(at_ms=READ_MS + 5, income=late))
    assert (story.book.day_equity, story.book.day_flows) == (opening, 0)
    story.say(e.IncomeRecorded(at_ms=0, income=income("transfer", "7", READ_MS + 1)))
    assert story.book.day_flows == 7


def test_the_last_known_equity_may_be_that_of_a_midnight_that_was_rebuilt(story: Story) -> None:
    moved = income("transfer", "500", MIDNIGHTS[1])  # the first moment of the second day
    story.say(mark("9800", NOON + 1_000), e.IncomeRecorded(at_ms=READ_MS, income=moved))
    unknown = flat(MIDNIGHTS[2], source="")
    read = looked("10200", flat(MIDNIGHTS[0]), flat(MIDNIGHTS[1]), unknown, equity="10000")
    *known, today = openings(story.book, read, INSTRUMENTS, waited=True)
    assert [each.opening for each in known] == [9700, 9700]
    assert (today.opening, today.at_midnight) == (10_200, False)


def test_only_what_the_look_back_reaches_is_rebuilt(story: Story) -> None:
    beyond = flat(MIDNIGHTS[0], source="", reachable=False)
    read = looked("9999", beyond, flat(MIDNIGHTS[1]), flat(MIDNIGHTS[2]))
    opened = openings(story.book, read, INSTRUMENTS, waited=False)
    assert [each.day for each in opened] == ["2024-01-03", "2024-01-04"]
    assert all(each.at_midnight for each in opened)


def test_a_look_from_before_midnight_opens_nothing(story: Story) -> None:
    assert openings(story.book, looked("9999"), INSTRUMENTS, waited=True) == ()


def test_the_first_day_of_a_record_opens_with_its_first_read() -> None:
    story = Story(book=Book(started_ms=MIDNIGHT + 3_600_000))
    read = attrs.evolve(looked("5"), at_ms=MIDNIGHT + 3_606_000)
    (opened,) = openings(story.book, read, INSTRUMENTS, waited=False)
    assert (opened.opening, opened.day, opened.equity) == (None, "2024-01-02", 5)
    assert missed_midnights(story.book, MIDNIGHT + DAY + 1) == (MIDNIGHT + DAY,)  # read too late


def test_a_snapshot_keeps_what_late_entries_may_correct(story: Story) -> None:
    story.say(*openings(story.book, looked("9999", *map(flat, MIDNIGHTS)), {}, waited=False))
    tell(story, Entry(MIDNIGHTS[2], "", D(0), D(0), D(-3)), known_ms=READ_MS + 9_000)
    loaded = Book.load(story.book.dump())
    assert loaded.pending_day_corrections(1) == story.book.pending_day_corrections(1)
    assert all(isinstance(x, DayCorrected) for x in loaded.pending_day_corrections(1))


def test_a_close_is_a_mark_on_the_tick() -> None:
    assert on_tick(0.1 + 0.2, D("0.01")) == D("0.30")
    assert on_tick(61_981.0, D("0.1")) == D("61981.0")
