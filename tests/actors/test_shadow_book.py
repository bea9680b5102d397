"""The shadow book in the whole system: its results, restarts, reads and waits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio

from kamou.actors.journal import Journal
from kamou.actors.shadow_book import ShadowBook
from kamou.clock import SimulatedClock
from kamou.core.book.candidate_events import CandidatesRefined
from kamou.core.book.events import TradeClosed
from kamou.core.book.shadow_events import (
    ClosedShadowTrade,
    ShadowTrade,
    ShadowTradesClosed,
    ShadowTradesOpened,
    SkippedShadowTrade,
)
from kamou.core.codes import Deny, Veto
from kamou.core.kinds import ExitReason, RefinerVerdict
from kamou.core.market.bars import Bars, Series
from kamou.core.model import Quote
from kamou.core.refiner_codes import RefinerMode
from kamou.core.shadow.closing import HISTORY_BARS
from kamou.core.shadow.opening import ShadowTerms
from kamou.errors import UnreachableError
from kamou.exchange.base import ExchangePort
from kamou.exchange.embedded import SimulatedExchange
from kamou.ids import make_trade_id
from kamou.runtime.mailboxes import Mailbox
from kamou.settings.refiner import RefinerSettings
from tests.actors import scripted_market
from tests.actors.system_harness import SETTINGS, Ended, Harness, at, run_system
from tests.actors.test_refiner import FakeModel
from tests.actors.test_veto import FakeJournal, Silent
from tests.refining_cases import MODEL, REFUSAL, SHRINK

MINUTE_MS = 60_000


def run(**given: Any) -> Ended:
    return run_system(shadow_book=True, **given)


def opened(ended: Ended) -> dict[str, ShadowTrade]:
    found = [each for event in ended.of(ShadowTradesOpened) for each in event.trades]
    assert len(found) == len({each.shadow_id for each in found})
    return {each.shadow_id: each for each in found}


def skipped(ended: Ended) -> list[SkippedShadowTrade]:
    return [each for event in ended.of(ShadowTradesOpened) for each in event.skipped]


def closed(ended: Ended) -> dict[str, ClosedShadowTrade]:
    found = [each for event in ended.of(ShadowTradesClosed) for each in event.trades]
    assert len(found) == len({each.shadow_id for each in found})
    return {each.shadow_id: each for each in found}


def survivors(ended: Ended) -> list[str]:
    refined = ended.of(CandidatesRefined)
    return [each.candidate.signal_id for event in refined for each in event.candidates]


# --- openings and results ------------------------------------------------------------------------


def test_each_candidate_without_a_veto_opens_a_shadow_trade_or_says_why_it_does_not() -> None:
    ended = run()
    refused = skipped(ended)
    assert sorted(survivors(ended)) == sorted([*opened(ended), *(s.shadow_id for s in refused)])
    assert [(s.symbol, s.denial.code) for s in refused] == [("HHH", Deny.STOP_BEYOND_LIQUIDATION)]
    assert ended.crashes == []


def test_each_shadow_trade_has_the_result_in_r_of_the_real_trade_of_its_signal() -> None:
    """Both begin with the same quotes and follow the same bars; the depth limits neither."""
    ended = run()
    real = {trade.trade_id: trade for trade in ended.of(TradeClosed)}
    pairs = {
        shadow.symbol: (shadow, real[make_trade_id(shadow_id)])
        for shadow_id, shadow in closed(ended).items()
    }
    assert len(pairs) == 6
    for shadow, trade in pairs.values():
        assert (shadow.reason, shadow.exit_price) == (trade.exit_reason, trade.exit_price)
        assert shadow.r == trade.r_multiple
        # Later real trades are sized on another equity, and the depth fills CCC only in part.
        if shadow.symbol in {"AAA", "BBB"} and shadow.opened_at_ms < at(2):
            assert (shadow.pnl, shadow.funding) == (trade.pnl_net, trade.funding)
            assert (shadow.fees, shadow.slippage) == (trade.fees, trade.slippage)
    assert {shadow.reason for shadow, _ in pairs.values()} == {
        ExitReason.STOP_LOSS,
        ExitReason.TAKE_PROFIT,
        ExitReason.TIME_LIMIT,
    }
    assert pairs["EEE"][0].funding > 0 > pairs["DDD"][0].funding


def test_a_run_without_a_shadow_book_has_no_shadow_trades() -> None:
    ended = run_system(minutes=3)
    assert survivors(ended)
    assert ended.of(ShadowTradesOpened) == []


def test_a_refused_and_a_shrunk_candidate_have_the_shadow_trade_of_an_approved_one() -> None:
    model = FakeModel({"BBB": REFUSAL, "CCC": SHRINK})
    refiner = RefinerSettings(mode=RefinerMode.REQUIRED, url="https://llm.example/v1", model=MODEL)
    ended = run(settings=attrs.evolve(SETTINGS, refiner=refiner), ask_model=model.ask, minutes=3)
    found = {each.symbol: each for each in opened(ended).values()}
    assert found["AAA"].verdict is RefinerVerdict.APPROVE
    assert found["BBB"].verdict is RefinerVerdict.REFUSE
    assert found["CCC"].verdict is RefinerVerdict.SHRINK
    assert found["CCC"].size_multiplier < 1
    assert found["CCC"].quantity == found["AAA"].quantity
    assert found["AAA"].p_win_pct is not None
    assert "BBB" not in {trade.symbol for trade in ended.of(TradeClosed)}


def test_a_second_candidate_of_a_strategy_is_vetoed_while_its_shadow_trade_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = scripted_market.Line("DDD", 0.9)
    monkeypatch.setitem(scripted_market.LINES, 5, (again,))
    vetoed = [each for _, each in run(minutes=6).vetoed if each.symbol == "DDD"]
    codes = [denial.code for each in vetoed for denial in each.denials]
    assert Veto.SHADOW_OPEN in codes
    plain = [each for _, each in run_system(minutes=6).vetoed if each.symbol == "DDD"]
    assert Veto.SHADOW_OPEN not in [denial.code for each in plain for denial in each.denials]


# --- restarts and crashes ----------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [2.5, 4.5, 6.2])
def test_a_restart_in_the_middle_of_shadow_trades_changes_no_result(
    stop_at: float, tmp_path: Path
) -> None:
    """What the bars before the stop have shown is read again."""
    run(data_dir=tmp_path, minutes=stop_at)
    # The next run begins 10 s after the first ended.
    ended = run(data_dir=tmp_path, begin_ms=at(stop_at) + 30_000)
    before = run()
    assert {k: v for k, v in opened(ended).items() if v.opened_at_ms < at(stop_at)} == {
        k: v for k, v in opened(before).items() if v.opened_at_ms < at(stop_at)
    }
    whole, parts = closed(before), closed(ended)
    shared = {k for k in whole if opened(before)[k].opened_at_ms < at(stop_at)}
    assert shared
    assert {k: parts[k] for k in shared} == {k: whole[k] for k in shared}


def test_a_result_that_came_while_nothing_ran_has_the_time_of_its_bar(tmp_path: Path) -> None:
    first = run(data_dir=tmp_path, minutes=2)
    assert closed(first) == {}
    second = run(data_dir=tmp_path, begin_ms=at(8) + 30_000, minutes=9)
    found = {each.symbol: each.closed_at_ms for each in closed(second).values()}
    whole = {each.symbol: each.closed_at_ms for each in closed(run(minutes=2)).values()}
    assert whole == {}
    assert found["AAA"] == at(3)
    assert found["EEE"] == at(7)


class BarsFail(SimulatedExchange):
    """A venue whose bars of one minute cannot be read by the shadow book for a while."""

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        if at(6.5) < self._clock.now_ms() < at(8.5):
            raise UnreachableError("funding: connection reset")
        return await super().funding_rates(since_ms, until_ms)

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        if at(2.9) < self._clock.now_ms() < at(4.5):
            raise UnreachableError("bars: connection reset")
        return await super().bars(period_ms, since_ms, until_ms)


def test_failed_reads_of_bars_and_rates_delay_results_and_change_none() -> None:
    whole, ended = closed(run()), closed(run(adapter=BarsFail))
    shared = whole.keys() & ended.keys()
    assert {whole[k].symbol for k in shared} >= {"AAA", "BBB", "CCC", "DDD", "EEE"}
    assert {k: ended[k] for k in shared} == {k: whole[k] for k in shared}


def test_after_a_crash_of_the_shadow_book_every_result_is_that_of_an_undisturbed_run() -> None:
    async def crash(harness: Harness) -> None:
        for minute in (2.5, 4.2, 6.5):
            await harness.clock.sleep_until(at(minute))
            book = harness.tree.mailboxes.shadow_book
            book.put_nowait("no message of the shadow book")  # type: ignore[arg-type]  # a message that crashes it

    ended, whole = run(direct=crash), run()
    assert len(ended.crashes) >= 3
    assert closed(ended) == closed(whole)


class NoQuotes(SimulatedExchange):
    """A venue that answers no read of quotes in the first 90 seconds after minute 1."""

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        if set(symbols) == {"AAA", "BBB", "CCC"} and at(1) < self._clock.now_ms() < at(2):
            raise UnreachableError("quotes: connection reset")
        return await super().quotes(symbols)


def test_candidates_without_quotes_are_listed_with_the_reason() -> None:
    ended = run(adapter=NoQuotes, minutes=3)
    codes = {each.symbol: each.denial.code for each in skipped(ended)}
    assert {codes[symbol] for symbol in ("AAA", "BBB", "CCC")} == {Deny.PRICE_MARK_MISSING}


# --- reads and waits ---------------------------------------------------------------------------


@attrs.define
class Reads:
    """What the shadow book's task has read of the venue, in minutes after the start."""

    bars: list[tuple[float, float]] = attrs.Factory(list)  # since and until
    quotes: list[int] = attrs.Factory(list)
    funding: list[int] = attrs.Factory(list)


READS = Reads()


def minute(at_ms: int) -> int:
    return (at_ms - at(0)) // MINUTE_MS


def in_shadow_book() -> bool:
    return trio.lowlevel.current_task().name == "shadow_book"


class Counting(SimulatedExchange):
    """A venue that records what the shadow book reads."""

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        if in_shadow_book():
            READS.bars.append((minute(since_ms), minute(until_ms)))
        return await super().bars(period_ms, since_ms, until_ms)

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        if in_shadow_book():
            READS.quotes.append(minute(self._clock.now_ms()))
        return await super().quotes(symbols)

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        if in_shadow_book():
            READS.funding.append(minute(self._clock.now_ms()))
        return await super().funding_rates(since_ms, until_ms)


def test_quotes_are_read_once_for_a_cycle_with_candidates_and_each_bar_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = Reads()
    monkeypatch.setitem(globals(), "READS", reads)
    waits: list[int] = []
    tick = ShadowBook.tick

    async def counted(self: ShadowBook) -> None:
        waits.append(minute(self.clock.now_ms()))
        await tick(self)

    monkeypatch.setattr(ShadowBook, "tick", counted)
    ended = run(adapter=Counting)
    with_candidates = [minute(event.at_ms) for event in ended.of(CandidatesRefined)]
    assert reads.quotes == with_candidates == [1, 2, 4, 6, 11]
    # The first read has the 15 bars before, for the ATR. From minute 9 on no shadow trade is open.
    assert reads.bars[0] == (1 - HISTORY_BARS, 2)
    assert reads.bars[1:7] == [(m, m + 1) for m in range(2, 8)]
    assert reads.bars[7] == (8, 9)
    assert reads.bars[8:] == [(11 - HISTORY_BARS, 12), (12, 13), (13, 14)]
    # One wait for each bar with an open trade, and none between minutes 9 and 12.
    assert waits == [*range(2, 10), *range(12, 15)]
    assert reads.funding == sorted({*reads.funding})


def test_a_shadow_book_without_an_open_trade_waits_for_candidates_only() -> None:
    clock = SimulatedClock(start_ms=at(0))
    boxes: list[Mailbox[Any]] = [Mailbox("shadow_book", 8, now_ms=clock.now_ms)]
    idle = ShadowBook(
        inbox=boxes[0],
        clock=clock,
        handler_deadline_s=30.0,
        journal=cast(Journal, FakeJournal()),
        port=cast(ExchangePort, Silent()),
        terms=cast(ShadowTerms, None),
        native_ms=MINUTE_MS,
        delay_ms=1_000,
    )
    assert idle.next_due_ms() is None
    assert idle.next_due_s() == math.inf


def test_the_gate_hears_of_results_when_they_are_committed_and_never_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[int] = []
    recover = ShadowBook.recover

    async def with_gate(self: ShadowBook) -> None:
        self._on_closed = lambda: heard.append(minute(self.clock.now_ms()))
        await recover(self)

    monkeypatch.setattr(ShadowBook, "recover", with_gate)
    ended = run()
    assert heard == [minute(event.at_ms) for event in ended.of(ShadowTradesClosed)]
    assert heard == [3, 4, 5, 7, 8, 9]
