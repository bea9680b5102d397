"""Reads of the vetoes: fast moves, shadow records, Bitcoin; candidates for the shadow record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, cast

import attrs
import numpy as np
import pytest
import trio
import trio.testing

from kamou.actors.journal import Journal
from kamou.actors.refiner import Refiner
from kamou.actors.veto import VetoActor
from kamou.actors.veto_inputs import VetoInputs, find_listed_bitcoin
from kamou.clock import SimulatedClock
from kamou.core.book.candidate_events import CandidatesVetoed
from kamou.core.book.position_book import PositionBook
from kamou.core.book.shadow_trades import ShadowTrades
from kamou.core.codes import Veto
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.market.bars import Bars, Series
from kamou.core.model import Candidate, Quote
from kamou.core.ranking.ranking import RankedCycle
from kamou.core.record.record_findings import RecordFindings, ShadowOutcome
from kamou.core.risk.limits import TradingParameters, VetoLimits
from kamou.core.vetoes import discover_vetoes
from kamou.errors import UnreachableError
from kamou.exchange.base import ExchangePort
from kamou.messages.signals import CandidatesCleared, ShardRanked
from kamou.runtime.mailboxes import Mailbox
from kamou.settings.config import CycleSettings
from tests.actors.test_veto import BAR_MS, PERIOD_MS, FakeJournal, heartbeat
from tests.core.record.test_record_findings import Result
from tests.core.trading_cases import instrument
from tests.core.vetoes.test_vetoes import candidate as make_candidate

NOW = BAR_MS + 2_000


def abc(symbol: str = "ABC", **changes: Any) -> Candidate:
    made = make_candidate(
        signal_id=f"1.mean_reversion.{symbol}",
        symbol=symbol,
        bar_opened_at_ms=BAR_MS - PERIOD_MS,
        bar_closed_at_ms=BAR_MS,
    )
    return attrs.evolve(made, **changes)


def quote_of(symbol: str, bid: str = "99.99", at_ms: int = NOW) -> Quote:
    price, many = Decimal(bid), Decimal(10_000)
    return Quote(
        symbol=symbol,
        bid=price,
        ask=price + Decimal("0.02"),
        bid_qty=many,
        ask_qty=many,
        mark=price,
        at_ms=at_ms,
    )


class FakeVenue:
    """A venue with quotes of 100, and one-minute bars that can be taken away."""

    def __init__(self, moves: Mapping[str, float] | None = None) -> None:
        self.moves = moves
        self.asked: list[tuple[int, int, int]] = []

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        await trio.lowlevel.checkpoint()
        return {symbol: quote_of(symbol) for symbol in symbols}

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        await trio.lowlevel.checkpoint()
        none = np.zeros(0, np.int64)
        return Series(symbols=(), available_ms=none, values=np.zeros((0, 0)), period_ms=8 * HOUR_MS)

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        await trio.lowlevel.checkpoint()
        self.asked.append((period_ms, since_ms, until_ms))
        if self.moves is None:
            raise UnreachableError("no answer")
        low = np.full((1, len(self.moves)), 100.0)
        high = low * (1 + np.array([list(self.moves.values())]))
        return Bars(
            symbols=tuple(self.moves),
            period_ms=period_ms,
            open_ms=np.array([until_ms - period_ms]),
            open=low,
            high=high,
            low=low,
            close=high,
            volume=high,
        )


class FakeRecord:
    """A shadow record of one strategy, which counts how often its trades are walked."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.trades = list(results)
        self.since_ms: int | None = None

    def results_of(self, strategy: str) -> Sequence[ShadowOutcome]:
        return self.trades if strategy == "mean_reversion" else []

    def open_since_ms(self, strategy: str) -> int | None:
        return self.since_ms

    def count_opened_before(self, strategy: str, day: int) -> int:
        return sum(each.opened_at_ms // DAY_MS < day for each in self.results_of(strategy))

    @property
    def held(self) -> frozenset[tuple[str, str]]:
        return frozenset()


def read_inputs(
    venue: FakeVenue,
    *,
    clock: SimulatedClock | None = None,
    enabled: tuple[str, ...] = ("velocity",),
    step_ms: int = MINUTE_MS,
) -> VetoInputs:
    return VetoInputs(
        port=cast(ExchangePort, venue),
        clock=clock or SimulatedClock(start_ms=NOW),
        enabled=enabled,
        pause_ms=300_000,
        step_ms=step_ms,
    )


async def test_the_moves_are_those_of_minute_bars_and_from_a_close_to_its_quote(
    autojump_clock: trio.testing.MockClock,
) -> None:
    venue = FakeVenue({"ABC": 0.01, "BTC": 0.04})
    quotes = {"ABC": quote_of("ABC", bid="102.99")}
    moves = await read_inputs(venue).read_moves([abc()], quotes)
    assert dict(moves or {}) == {"ABC": pytest.approx(0.03), "BTC": pytest.approx(0.04)}
    assert venue.asked == [(MINUTE_MS, NOW - 360_000, NOW)]


@pytest.mark.parametrize(("late_ms", "counts"), [(60_000, True), (60_001, False)])
async def test_a_quote_more_than_a_minute_after_the_close_shows_no_move_within_a_minute(
    late_ms: int, counts: bool, autojump_clock: trio.testing.MockClock
) -> None:
    clock = SimulatedClock(start_ms=BAR_MS + late_ms)
    quotes = {"ABC": quote_of("ABC", bid="102.99", at_ms=BAR_MS + late_ms)}
    inputs = read_inputs(FakeVenue(), clock=clock, step_ms=300_000)
    assert bool(await inputs.read_moves([abc()], quotes)) == counts


async def test_a_move_of_an_earlier_cycle_counts_until_its_pause_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = SimulatedClock(start_ms=NOW)
    inputs = read_inputs(FakeVenue(), clock=clock, step_ms=300_000)
    assert await inputs.read_moves([abc()], {"ABC": quote_of("ABC", bid="102.99")})
    await clock.sleep_until(NOW + 299_999)
    assert dict(await inputs.read_moves([], {}) or {}) == {"ABC": pytest.approx(0.03)}
    await clock.sleep_until(NOW + 300_000)
    assert await inputs.read_moves([], {}) == {}


async def test_minute_bars_that_cannot_be_read_leave_the_moves_unknown(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await read_inputs(FakeVenue(None)).read_moves([abc()], {}) is None


async def test_bars_are_not_read_if_they_are_longer_than_a_minute_or_the_veto_is_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    venue = FakeVenue({"ABC": 0.5})
    assert await read_inputs(venue, step_ms=300_000).read_moves([abc()], {}) == {}
    assert await read_inputs(venue, enabled=("spread",)).read_moves([abc()], {}) == {}
    assert venue.asked == []


def hourly(n: int, r: str) -> list[Result]:
    first_ms = BAR_MS // DAY_MS * DAY_MS - 200 * DAY_MS + BAR_MS % DAY_MS
    return [
        Result(symbol="ABC", opened_at_ms=first_ms + at // 4 * DAY_MS, r=Decimal(r))
        for at in range(n)
    ]


def test_a_record_is_judged_again_once_a_block_is_complete() -> None:
    record = FakeRecord(hourly(60, "-1"))
    inputs = read_inputs(FakeVenue(), enabled=("hour",))

    def judge(now_ms: int = NOW) -> RecordFindings:
        return inputs.judge_records(record, [abc()], now_ms)["mean_reversion"]

    first = judge()
    assert judge() is first
    record.trades.append(hourly(61, "-1")[-1])  # of a complete block
    second = judge()
    assert second is not first
    record.trades.append(attrs.evolve(record.trades[0], opened_at_ms=NOW))
    record.since_ms = NOW - HOUR_MS
    assert judge() is second
    record.since_ms = None
    third = judge(NOW + DAY_MS)
    assert (second.wins.trades, third.wins.trades) == (61, 62)


def test_a_record_is_not_judged_if_no_veto_reads_it() -> None:
    record = FakeRecord(hourly(60, "-1"))
    assert read_inputs(FakeVenue()).judge_records(record, [abc()], NOW) == {}


def test_a_book_without_shadow_trades_finds_nothing_against_a_strategy() -> None:
    inputs, book = read_inputs(FakeVenue(), enabled=("win_rate",)), PositionBook()
    found = inputs.judge_records(book.shadows, [abc()], NOW)["mean_reversion"]
    assert (found.losing_hours, found.losing_symbols, found.wins.trades) == ({}, {}, 0)


def test_bitcoin_is_the_first_listed_symbol_of_its_base() -> None:
    listed = {s: instrument(s) for s in ("BTCUSDT", "BTCDOMUSDT", "ETHUSDT")}
    listed["XBTUSDTM"] = instrument("XBTUSDTM", base="XBT")
    assert find_listed_bitcoin((("ETHUSDT", "BTCDOMUSDT"), ("BTCUSDT",)), listed) == "BTCUSDT"
    assert find_listed_bitcoin((("XBTUSDTM", "BTCUSDT"),), listed) == "XBTUSDTM"
    assert find_listed_bitcoin((("BTCUSDC", "ETHUSDT"),), listed) == ""


def make_actor(journal: FakeJournal, limits: VetoLimits, record: FakeRecord) -> VetoActor:
    clock = SimulatedClock(start_ms=NOW)
    boxes: list[Mailbox[Any]] = [Mailbox(n, 8, now_ms=clock.now_ms) for n in ("veto", "refiner")]
    actor = VetoActor(
        inbox=boxes[0],
        clock=clock,
        port=cast(ExchangePort, FakeVenue()),
        journal=cast(Journal, journal),
        refiner=boxes[1],
        universe=(("ABC", "XYZ", "DEF"),),
        strategies={},
        vetoes=discover_vetoes(limits.enabled),
        cycle=CycleSettings(),
        period_ms=PERIOD_MS,
        step_ms=PERIOD_MS,
        limits=limits,
        parameters=TradingParameters(),
        handler_deadline_s=30.0,
        keep_detail=False,
    )
    actor._follower.book.shadows = cast(ShadowTrades, record)
    return actor


def ranked(*candidates: Candidate) -> ShardRanked:
    ranking = RankedCycle(
        bar_closed_at_ms=BAR_MS,
        symbols=3,
        candidates=len(candidates),
        by_strategy=(),
        abstained=(),
        late_shards=0,
        top=candidates,
    )
    return attrs.evolve(heartbeat(BAR_MS), bar_closed_at_ms=BAR_MS, ranking=ranking)


LIMITS = VetoLimits(enabled=("excluded", "hour", "losing_symbol", "win_rate"), excluded=("DEF",))


def take(box: Mailbox[Any]) -> Any:
    """Return the next message, or None."""
    with suppress(trio.WouldBlock):
        return box.get_nowait()


async def clear(record: FakeRecord, *candidates: Candidate) -> tuple[Any, CandidatesVetoed | None]:
    """Return the message to the refiner, or None, and the cycle's vetoes."""
    journal = FakeJournal()
    actor = make_actor(journal, LIMITS, record)
    await actor.handle(ranked(*candidates))
    vetoed = [each for each in journal.events if isinstance(each, CandidatesVetoed)]
    return take(cast("Mailbox[Any]", actor._refiner)), next(iter(vetoed), None)


async def test_a_candidate_that_only_its_record_vetoes_goes_on_for_the_shadow_record_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Wins in XYZ; never in ABC. The win rate of the strategy is fine."""
    wins = [attrs.evolve(each, symbol="XYZ", r=Decimal(2)) for each in hourly(400, "1")]
    wins = [attrs.evolve(each, opened_at_ms=each.opened_at_ms + HOUR_MS) for each in wins]
    record = FakeRecord([*wins, *hourly(40, "-1")])
    message, vetoed = await clear(record, abc("XYZ"), abc("ABC"), abc("DEF"))
    assert isinstance(message, CandidatesCleared)
    assert vetoed is not None
    assert [(each.symbol, [d.code for d in each.denials]) for each in vetoed.candidates] == [
        ("XYZ", [Veto.HOUR_LOSING]),
        ("ABC", [Veto.HOUR_LOSING, Veto.SYMBOL_LOSING]),
        ("DEF", [Veto.SYMBOL_EXCLUDED, Veto.HOUR_LOSING]),
    ]
    assert [each.symbol for each in message.shadow_only] == ["XYZ", "ABC"]
    assert message.candidates == ()


async def test_a_candidate_without_a_veto_is_not_marked_for_the_shadow_record_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    message, vetoed = await clear(FakeRecord([]), abc("XYZ"))
    assert isinstance(message, CandidatesCleared)
    assert vetoed is None
    assert [each.symbol for each in message.candidates] == ["XYZ"]
    assert message.shadow_only == ()


async def test_with_all_candidates_vetoed_by_other_vetoes_no_message_is_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    message, vetoed = await clear(FakeRecord([]), abc("DEF"))
    assert message is None
    assert vetoed is not None


async def test_the_refiner_makes_no_signal_of_candidates_for_the_shadow_record_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = SimulatedClock(start_ms=NOW)
    boxes: list[Mailbox[Any]] = [Mailbox(n, 8, now_ms=clock.now_ms) for n in ("refiner", "orders")]
    journal = FakeJournal()
    refiner = Refiner(
        inbox=boxes[0],
        clock=clock,
        journal=cast(Journal, journal),
        orders=boxes[1],
        handler_deadline_s=30.0,
    )
    for kept in ((), (abc("XYZ"),)):
        await refiner.handle(
            CandidatesCleared(
                cause_id="",
                expires_at_ms=NOW + 1,
                cycle_at_ms=BAR_MS,
                candidates=kept,
                shadow_only=(abc("ABC"),),
            )
        )
    assert len(journal.events) == 1
    assert [each.candidate.symbol for each in take(boxes[1]).signals] == ["XYZ"]
    assert take(boxes[1]) is None
