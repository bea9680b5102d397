"""Quotes of the order manager's entries: how often they are read, and which of them count."""

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
from kamou.core.day import DAY_MS
from kamou.core.market.bars import Series
from kamou.core.model import Quote
from kamou.core.record.gate import LiveGrant
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
    """A venue whose reads take ``READ_MS``; ``mark`` is the mark price, or None: no answer."""

    capabilities = SimpleNamespace(attached_stop=True)

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self.mark: str | None = "101"
        self.reads: list[tuple[str, ...]] = []

    async def funding_rates(self, _since_ms: int, _until_ms: int) -> Series:
        raise UnreachableError("no rates here")

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        self.reads.append(symbols)
        await self._clock.sleep_until(self._clock.now_ms() + READ_MS)
        if self.mark is None:
            raise UnreachableError("no quotes now")
        return {s: attrs.evolve(quote(s), mark=D(self.mark)) for s in symbols}


@attrs.define
class Pass:
    """Entries over a book with one open position and no headroom, and what they said."""

    entries: Entries
    venue: SlowVenue
    said: list[object]

    async def take(self, *symbols: str) -> list[str]:
        """Return the headroom in the denial of each candidate."""
        self.said.clear()
        signals = tuple(
            RefinedSignal(candidate=candidate(s), size_multiplier=D(1)) for s in symbols
        )
        await self.entries.take(
            SignalsRefined(
                cause_id="cycle:1",
                expires_at_ms=NOON + DAY_MS,
                cycle_at_ms=NOON,
                signals=signals,
            )
        )
        (event,) = self.said
        assert isinstance(event, EntriesDenied)
        denials = [denial for entry in event.entries for denial in entry.denials]
        assert {denial.code for denial in denials} == {"RISK_HEADROOM_EXHAUSTED"}
        return [f.value for denial in denials for f in denial.figures if f.name == "left"]


@pytest.fixture
def full() -> Pass:
    story = Story()
    story.ready()
    story.open(plan())
    clock = SimulatedClock(start_ms=NOON)
    venue, said = SlowVenue(clock), list[object]()
    journal = SimpleNamespace(cast=lambda *events: said.extend(events))
    executor: Any = SimpleNamespace(port=venue, book=story.book, journal=journal)
    live: Any = SimpleNamespace(is_live=lambda name: LiveGrant(strategy=name, basis="test"))
    entries = Entries(
        executor=cast(OrderExecutor, executor),
        protector=cast(Protector, None),
        gate=live,
        parameters=FULL,
        clock=clock,
        settle=trio.lowlevel.checkpoint,
    )
    return Pass(entries, venue, said)


async def test_a_pass_over_candidates_without_headroom_reads_quotes_once(
    autojump_clock: object, full: Pass
) -> None:
    assert await full.take("BTCUSDT", "ETHUSDT", "ADAUSDT") == ["0.00"] * 3
    assert full.venue.reads == [("SOLUSDT",)]


async def test_a_pass_without_quotes_counts_entry_prices_and_no_quotes_of_an_earlier_pass(
    autojump_clock: object, full: Pass
) -> None:
    assert await full.take("BTCUSDT") == ["0.00"]  # 1,010 at the mark
    full.venue.mark = None
    assert await full.take("BTCUSDT") == ["0.94"]  # 1,000 at the entry price
