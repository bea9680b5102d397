"""Quotes and values of the order manager's entries: when they are read, and when used again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
import trio

from kamou.actors.entries import Entries
from kamou.actors.order_executor import OrderExecutor
from kamou.actors.protection import Protector
from kamou.clock import SimulatedClock
from kamou.core.book.candidate_events import EntriesDenied
from kamou.core.book.decision_events import EntriesDecided
from kamou.core.codes import Deny
from kamou.core.day import DAY_MS
from kamou.core.market.bars import Series
from kamou.core.model import Candidate, OrderSide, Quote
from kamou.core.record.gate import EarnedGate, LiveGrant
from kamou.core.risk.limits import RiskLimits, TradingParameters
from kamou.errors import UnreachableError
from kamou.messages.signals import RefinedSignal, SignalsRefined
from tests.core.risk.test_planning import candidate
from tests.core.trading_cases import NOON, D, Story, plan, quote

READ_MS = 50
# The open position is worth 1,000 at its entry price, so 0.95 of 9,999.50 is left, and 99 % of that
# may be used.
FULL = TradingParameters(limits=attrs.evolve(RiskLimits(), notional_total_max=D("0.1001")))


class SlowVenue:
    """A venue whose reads take ``read_ms``; ``mark`` is the mark price, or None: no answer.

    Equal quotes are the same object, as those of the embedded venue are.
    """

    capabilities = SimpleNamespace(attached_stop=True)

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self.mark: str | None = "101"
        self.read_ms = READ_MS
        self.failing: set[str] = set()  # symbols of which no read answers
        self._made: dict[tuple[str, str], Quote] = {}
        self.reads: list[tuple[str, ...]] = []

    async def funding_rates(self, _since_ms: int, _until_ms: int) -> Series:
        raise UnreachableError("no rates here")

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        self.reads.append(symbols)
        await self._clock.sleep_until(self._clock.now_ms() + self.read_ms)
        if self.mark is None or self.failing & set(symbols):
            raise UnreachableError("no quotes now")
        for symbol in symbols:
            made = attrs.evolve(quote(symbol), mark=D(self.mark))
            self._made.setdefault((symbol, self.mark), made)
        return {symbol: self._made[symbol, self.mark] for symbol in symbols}


@attrs.define
class Pass:
    """Entries over a book with one open position, and the events that they journalled."""

    entries: Entries
    venue: SlowVenue
    story: Story
    said: list[object]

    async def take(self, *symbols: str) -> list[str]:
        """Return the headroom in the denial of each candidate."""
        (event,) = await self.send(*map(candidate, symbols))
        assert isinstance(event, EntriesDenied)
        denials = [denial for entry in event.entries for denial in entry.denials]
        assert {denial.code for denial in denials} == {"RISK_HEADROOM_EXHAUSTED"}
        return [f.value for denial in denials for f in denial.figures if f.name == "left"]

    async def send(self, *candidates: Candidate) -> list[object]:
        """Send the candidates in one message and return the journal's new events."""
        self.said.clear()
        await self.entries.take(
            SignalsRefined(
                cause_id="cycle:1",
                expires_at_ms=NOON + DAY_MS,
                cycle_at_ms=NOON,
                signals=tuple(
                    RefinedSignal(candidate=each, size_multiplier=D(1)) for each in candidates
                ),
            )
        )
        return list(self.said)


@pytest.fixture
def full() -> Pass:
    return make_pass(FULL)


def make_pass(parameters: TradingParameters) -> Pass:
    story = Story()
    story.ready()
    story.open(plan())
    clock = SimulatedClock(start_ms=NOON)
    venue, said = SlowVenue(clock), list[object]()
    journal = SimpleNamespace(cast=lambda *events: said.extend(events))
    executor: Any = SimpleNamespace(port=venue, book=story.book, journal=journal)
    live: Any = SimpleNamespace(
        find_grant=lambda name, _book: LiveGrant(strategy=name, basis="test")
    )
    entries = Entries(
        executor=cast(OrderExecutor, executor),
        protector=cast(Protector, None),
        gate=live,
        parameters=parameters,
        clock=clock,
        settle=trio.lowlevel.checkpoint,
    )
    return Pass(entries, venue, story, said)


async def test_a_pass_over_candidates_without_headroom_reads_quotes_once(
    autojump_clock: object, full: Pass
) -> None:
    assert await full.take("BTCUSDT", "ETHUSDT", "ADAUSDT") == ["0.00"] * 3
    assert full.venue.reads == [("SOLUSDT",)]


async def test_signals_of_a_strategy_without_a_grant_are_denied_before_any_plan(
    autojump_clock: object, full: Pass
) -> None:
    full.entries._gate = EarnedGate()  # no strategy has earned a grant yet
    (denied,) = await full.send(candidate("BTCUSDT"), candidate("ETHUSDT"))
    assert isinstance(denied, EntriesDenied)
    assert len(denied.entries) == 2
    assert {each.denials[0].code for each in denied.entries} == {Deny.STRATEGY_NOT_LIVE}
    assert full.venue.reads == [("SOLUSDT",)]  # of the open position, once for the pass


async def test_a_pass_without_quotes_counts_entry_prices_and_no_quotes_of_an_earlier_pass(
    autojump_clock: object, full: Pass
) -> None:
    assert await full.take("BTCUSDT") == ["0.00"]  # 1,010 at the mark
    full.venue.mark = None
    assert await full.take("BTCUSDT") == ["0.94"]  # 1,000 at the entry price


async def test_a_book_that_changed_within_an_instant_is_valued_again(
    autojump_clock: object, full: Pass
) -> None:
    full.venue.mark, full.venue.read_ms = "100", 0
    assert await full.take("BTCUSDT") == ["0.94"]
    full.story.fill(None, "100", "100", side=OrderSide.BUY)
    assert await full.take("BTCUSDT") == ["0.00"]


async def test_other_quotes_of_the_same_instant_are_valued_again(
    autojump_clock: object, full: Pass
) -> None:
    full.venue.read_ms = 0
    assert await full.take("BTCUSDT") == ["0.00"]
    full.venue.mark = "100"
    assert await full.take("BTCUSDT") == ["0.94"]


async def test_a_book_that_changes_within_a_pass_is_valued_again_for_the_next_signal(
    autojump_clock: object, full: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.venue.mark, full.venue.read_ms = "100", 0
    deny = Entries._deny

    def filling(self: Entries, *denied: Any) -> None:
        full.story.fill(None, "100", "100", side=OrderSide.BUY)
        deny(self, *denied)

    monkeypatch.setattr(Entries, "_deny", filling)
    assert await full.take("BTCUSDT", "ETHUSDT") == ["0.94", "0.00"]


async def test_a_signal_is_valued_at_its_own_time(
    autojump_clock: object, full: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[int] = []
    enter = Entries._enter

    async def slow(self: Entries, signal: Any, valuation: Any, recorder: Any) -> None:
        times.append(valuation.at_ms - NOON)
        await trio.sleep(0.5)
        await enter(self, signal, valuation, recorder)

    monkeypatch.setattr(Entries, "_enter", slow)
    full.venue.read_ms = 0
    await full.take("BTCUSDT", "ETHUSDT", "ADAUSDT")
    assert times == [0, 500, 1_000]


async def test_after_a_failed_read_of_a_plan_the_next_signal_is_valued_at_the_quotes_before(
    autojump_clock: object,
) -> None:
    """The failed read takes no time, and the first signal needs a quote of its own."""
    half = TradingParameters(limits=attrs.evolve(RiskLimits(), notional_total_max=D("0.103")))
    entries = make_pass(half)
    entries.venue.read_ms, entries.venue.failing = 0, {"BTCUSDT"}
    valued: list[object] = []
    enter = Entries._enter

    async def noted(self: Entries, signal: Any, valuation: Any, recorder: Any) -> None:
        valued.append(valuation.exposure.notional_total)
        await enter(self, signal, valuation, recorder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entries, "_enter", noted)
        await entries.send(candidate("BTCUSDT"), candidate("BTCUSDT"))
    assert entries.venue.reads == [("SOLUSDT",), ("BTCUSDT",), ("BTCUSDT",)]
    assert valued == [D("1010"), D("1010")], "at the mark and not at the entry price"


async def test_each_plan_is_made_at_the_time_of_its_own_read(autojump_clock: object) -> None:
    """The stops are beyond the liquidation price, so each candidate is planned and denied."""
    entries = make_pass(TradingParameters())
    entries.venue.mark = "100"
    far = [attrs.evolve(candidate(s), stop_distance=60.0) for s in ("BTCUSDT", "ETHUSDT")]
    denied, decided = await entries.send(*far)
    assert isinstance(denied, EntriesDenied)
    assert isinstance(decided, EntriesDecided)
    assert [each.at_ms - NOON for each in decided.decisions] == [2 * READ_MS, 3 * READ_MS]
    assert entries.venue.reads == [
        ("SOLUSDT",),
        ("BTCUSDT", "SOLUSDT"),
        ("ETHUSDT", "SOLUSDT"),
    ]
