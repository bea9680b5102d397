"""What a venue makes of an instrument of which something is held, and what its lists leave out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from harness import HELD, D, Line, held_at, play, stops_at, told_of, wrong
from system_harness import Ended, Harness, at
from trouble import Trouble

from kamou.actors.reconciler import Reconciler
from kamou.core.book.events import (
    CandidateVetoed,
    InstrumentChanged,
    IntentRecorded,
    OrderRejected,
    StopConfirmed,
    TradeClosed,
    TradeRestated,
)
from kamou.core.book.trades import OpenTrade
from kamou.core.model import Instrument, OrderReport, OrderRole, PositionReport
from kamou.core.reconciliation import reconciliation, restatement
from kamou.runs import session
from kamou.simulator.venue import SimulatedEngine

LATE = ("GGG", "HHH")  # entered at minute eleven, held to the end


@pytest.fixture(autouse=True)
def _living(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the venue change the account by itself."""
    monkeypatch.setattr(session, "Engine", SimulatedEngine)


async def living(harness: Harness, minute: float) -> SimulatedEngine:
    """The venue at that minute."""
    await harness.until(minute)
    await harness.tree.port.server_time_ms()
    engine = harness.session.engine
    assert isinstance(engine, SimulatedEngine)
    return engine


def change(engine: SimulatedEngine, symbol: str, **terms: Any) -> None:
    engine.change(attrs.evolve(engine.instruments[symbol], **terms))


def reads_instruments_at_its_start_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naive: what an instrument is, it stays."""
    monkeypatch.setattr(Reconciler, "_use_instruments", lambda self, listed: None)


def closed(ended: Ended, symbol: str) -> TradeClosed:
    (event,) = [e for e in ended.of(TradeClosed) if e.symbol == symbol]
    made: TradeClosed = event
    return made


# --- contract size ---------------------------------------------------------------------------


@pytest.mark.parametrize("factor", ["10", "0.1"])
def test_a_contract_of_another_size_leaves_the_trade_as_large_and_behind_its_stop(
    factor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue holds another number of contracts: neither a fill nor drift, and the same money."""

    stops: list[list[Decimal]] = []

    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            before = held_at(harness, HELD)
            engine.resize(HELD, D(factor))
            assert held_at(harness, HELD) == before / D(factor)
            await living(harness, 4.4)
            stops.append([stop.quantity for stop in stops_at(harness, HELD)])

        return play(direct=direct)

    plain = closed(play(), HELD)
    ended = run_case()
    assert wrong(ended) == []
    assert stops == [[plain.quantity / D(factor)]]
    (restated,) = ended.of(TradeRestated)
    assert (restated.symbol, restated.contract_size) == (HELD, D(factor))
    (news,) = ended.of(InstrumentChanged)
    assert news.figures[1].value == f"1 -> {D(factor)}"
    trade = closed(ended, HELD)
    assert trade.quantity * trade.contract_size == plain.quantity
    assert (trade.pnl_net, trade.exit_reason) == (plain.pnl_net, "time_limit")

    reads_instruments_at_its_start_only(monkeypatch)
    assert told_of(wrong(run_case()), "PositionCorrected")


def test_what_is_entered_after_a_contract_changed_its_size_is_sized_in_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sized in the old one it would be ten times what its risk allows."""

    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            for symbol in LATE:
                engine.resize(symbol, D(10))

        return play(direct=direct)

    plain = {p.symbol: p.quantity for p in play().positions}
    ended = run_case()
    assert wrong(ended) == []
    assert {p.symbol: 10 * p.quantity for p in ended.positions} == plain
    assert set(plain) == set(LATE)

    reads_instruments_at_its_start_only(monkeypatch)
    assert told_of(wrong(run_case()), "EXPOSURE")


# --- tick, lot, risk tier -------------------------------------------------------------------


def test_a_stop_that_is_lost_after_the_tick_grew_is_placed_on_the_new_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old price is refused now. The new one is no farther from the market."""
    old: list[Decimal] = []

    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            (stop,) = stops_at(harness, HELD)
            assert stop.trigger_price is not None
            old.append(stop.trigger_price)
            change(engine, HELD, tick=D("0.05"))
            engine = await living(harness, 4.4)
            assert stops_at(harness, HELD) == [stop]  # what rests, rests
            engine.cancel(stop.client_order_id)
            harness.tree.port._forward(engine.take_events())

        return play(direct=direct)

    ended = run_case()
    assert wrong(ended) == []
    confirmed = [s for s in ended.of(StopConfirmed) if s.symbol == HELD]
    assert confirmed[-1].trigger_price % D("0.05") == 0
    assert 0 < confirmed[-1].trigger_price - old[0] < D("0.05")
    assert closed(ended, HELD).exit_reason == "time_limit"  # it was never given up

    with monkeypatch.context() as naive:
        naive.setattr(OpenTrade, "stop_on_tick", property(lambda self: self.stop_price))
        assert refused(run_case(), "PRICE_OFF_TICK")


def refused(ended: Ended, code: str) -> list[OrderRejected]:
    return [event for event in ended.of(OrderRejected) if event.code == code]


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"tick": D("0.05")}, "PRICE_OFF_TICK"),
        ({"lot": D("0.7"), "qty_min": D("0.7")}, "QUANTITY_OFF_STEP"),
        ({"leverage_max": 2}, "LEVERAGE_EXCEEDED"),
    ],
)
def test_new_orders_use_the_venues_newest_contract_specification(
    terms: dict[str, Any], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            for symbol in LATE:
                change(engine, symbol, **terms)

        return play(direct=direct)

    ended = run_case()
    assert wrong(ended) == []
    assert {p.symbol for p in ended.positions} == set(LATE)
    assert not refused(ended, code)

    reads_instruments_at_its_start_only(monkeypatch)
    assert refused(run_case(), code)


def test_a_fee_that_the_venue_raised_counts_in_what_a_candidate_is_worth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """GGG would win 4 and risk 2 at a price of 100; a fee of a hundredth takes 2 of each."""

    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            change(engine, "GGG", taker_fee=D("0.01"))

        return play(direct=direct)

    ended = run_case()
    assert wrong(ended) == []
    vetoed = [e for e in ended.of(CandidateVetoed) if e.at_ms > at(11) and e.symbol == "GGG"]
    assert [[denial.code for denial in e.denials] for e in vetoed] == [["REWARD_TO_RISK_LOW"]]
    assert {p.symbol for p in ended.positions} == {"HHH"}

    reads_instruments_at_its_start_only(monkeypatch)
    assert {p.symbol for p in run_case().positions} == set(LATE)


def test_a_stop_behind_which_liquidation_has_moved_is_placed_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A higher risk tier: a stop that the market reaches after liquidation protects nothing."""

    def run_case() -> list[bool]:
        """Whether the stop would be reached first: before the change, after it, a cycle later."""
        seen: list[bool] = []

        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            seen.append(stop_first(harness))
            (held,) = [p for p in engine.positions() if p.symbol == HELD]
            safe = engine.instruments[HELD]
            # Liquidation halfway between entry and stop.
            near = (held.entry_price + (stops_at(harness, HELD)[0].trigger_price or D(0))) / 2
            kept = held.entry_price * (1 - D(1) / held.leverage) / near
            change(engine, HELD, maintenance_margin_rate=1 - safe.taker_fee - kept)
            seen.append(stop_first(harness))
            await living(harness, 4.4)
            seen.append(stop_first(harness))
            assert len(stops_at(harness, HELD)) == 1

        assert wrong(play(direct=direct)) == []
        return seen

    assert run_case() == [True, False, True]

    monkeypatch.setattr(restatement, "is_liquidated_first", lambda trade, position: False)
    assert run_case() == [True, False, False]


def stop_first(harness: Harness) -> bool:
    """Of a long: its stop is nearer than its liquidation."""
    (held,) = [p for p in harness.session.engine.positions() if p.symbol == HELD]
    (stop,) = stops_at(harness, HELD)
    assert held.quantity > 0
    assert stop.trigger_price is not None
    return held.liquidation_price is None or held.liquidation_price < stop.trigger_price


def test_invalid_instruments_are_not_used_and_entries_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Garbled(Line):
        async def instruments(self) -> tuple[Instrument, ...]:
            told = await super().instruments()
            return tuple(attrs.evolve(each, tick=D(0)) for each in told)

    ended = play(venue=Garbled)
    assert wrong(ended) == []
    assert not ended.of(InstrumentChanged)
    assert not [e for e in ended.of(IntentRecorded) if e.intent.role is OrderRole.ENTRY]

    def takes(self: Reconciler, told: tuple[Instrument, ...]) -> None:
        self._instruments.update({each.symbol: each for each in told})

    monkeypatch.setattr(Reconciler, "_use_instruments", takes)
    assert wrong(play(venue=Garbled))


# --- a list that leaves something out -----------------------------------------------------------


class Forgetful(Line):
    """One answer leaves a position out. It is there all the time."""

    left_out = 0

    async def positions(self) -> tuple[PositionReport, ...]:
        told = await super().positions()
        if self.left_out and any(p.symbol == HELD for p in told):
            self.left_out -= 1
            return tuple(p for p in told if p.symbol != HELD)
        return told


def test_a_position_that_one_answer_omits_keeps_its_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read as flat, its stop would be swept as an orphan."""

    def run_case() -> tuple[Ended, list[OrderReport]]:
        seen: list[OrderReport] = []

        async def direct(harness: Harness) -> None:
            port = harness.tree.port
            assert isinstance(port, Forgetful)
            await harness.until(3.9)
            seen.extend(stops_at(harness, HELD))
            port.left_out = 1
            await harness.until(4.05)
            assert not port.left_out
            seen.extend(stops_at(harness, HELD))

        return play(venue=Forgetful, direct=direct), seen

    ended, (before, after) = run_case()
    assert wrong(ended) == []
    assert after == before

    # Naive: one answer is enough.
    monkeypatch.setattr(reconciliation._Work, "_is_pending", lambda work, symbol, held: False)
    ended, seen = run_case()
    assert told_of(wrong(ended), "PositionCorrected")
    assert seen == [before]  # it stood bare


def test_two_answers_that_omit_a_position_are_no_proof_with_a_timeout_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Around an outage lists are worth least."""

    def run_case() -> Ended:
        trouble = Trouble()

        async def direct(harness: Harness) -> None:
            port = harness.tree.port
            assert isinstance(port, Forgetful)
            await harness.until(3.9)
            port.left_out = 1
            await harness.until(4.05)
            trouble.away = frozenset({"account"})
            await harness.until(4.5)
            port.left_out = 1
            trouble.away = frozenset()
            await harness.until(4.7)
            assert not port.left_out

        return play(trouble, Forgetful, direct=direct)

    assert wrong(run_case()) == []

    # Naive: when it was left out first is all that counts.
    pending = reconciliation._Work._is_pending
    first: dict[Any, int] = {}

    def since_ever(work: Any, symbol: str, held: Decimal) -> bool:
        first.setdefault((symbol, held), work.now_ms)
        work.inputs = attrs.evolve(work.inputs, pending_mismatches=first)
        return pending(work, symbol, held)

    monkeypatch.setattr(reconciliation._Work, "_is_pending", since_ever)
    assert told_of(wrong(run_case()), "PositionCorrected")
