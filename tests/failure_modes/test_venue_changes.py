"""Changes of instruments with open positions, and lists that omit a position."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from kamou.actors import reconciler
from kamou.actors.reconciler import Reconciler
from kamou.core.book.events import (
    IntentRecorded,
    OrderRejected,
    StopConfirmed,
    TradeClosed,
    TradeRestated,
)
from kamou.core.book.instrument_events import InstrumentChanged
from kamou.core.book.trades import OpenTrade
from kamou.core.model import Instrument, OrderReport, OrderRole, PositionReport
from kamou.core.reconciliation import reconciliation, restatement
from kamou.venue.engine import Engine
from tests.actors.system_harness import Ended, Harness, at
from tests.actors.trouble import Trouble
from tests.failure_modes.harness import (
    HELD,
    D,
    Line,
    find_errors,
    play,
    position_at,
    select_errors,
    stops_at,
)

LATE = ("GGG", "HHH")  # entered at minute eleven, held to the end


async def living(harness: Harness, minute: float) -> Engine:
    """Return the venue's engine at that minute."""
    await harness.until(minute)
    await harness.tree.port.server_time_ms()
    return harness.session.engine


def change(engine: Engine, symbol: str, **terms: Any) -> None:
    engine.change_instrument(attrs.evolve(engine.instruments[symbol], **terms))


def reads_instruments_at_its_start_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naive: an instrument never changes."""
    record = Reconciler._record_instruments

    async def record_first(self: Reconciler, listed: tuple[Instrument, ...]) -> None:
        if not self._follower.book.instruments:
            await record(self, listed)

    monkeypatch.setattr(Reconciler, "_record_instruments", record_first)


def closed(ended: Ended, symbol: str) -> TradeClosed:
    (event,) = [e for e in ended.of(TradeClosed) if e.symbol == symbol]
    made: TradeClosed = event
    return made


# --- contract size ---------------------------------------------------------------------------


@pytest.mark.parametrize("factor", ["10", "0.1"])
def test_a_changed_contract_size_keeps_the_size_of_the_trade_and_its_stop(
    factor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of contracts changes without a fill, a drift or a loss."""

    stops: list[list[Decimal]] = []

    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            before = position_at(harness, HELD)
            engine.resize(HELD, D(factor))
            assert position_at(harness, HELD) == before / D(factor)
            await living(harness, 4.4)
            stops.append([stop.quantity for stop in stops_at(harness, HELD)])

        return play(direct=direct)

    plain = closed(play(), HELD)
    ended = run_case()
    assert find_errors(ended) == []
    assert stops == [[plain.quantity / D(factor)]]
    (restated,) = ended.of(TradeRestated)
    assert (restated.symbol, restated.contract_size) == (HELD, D(factor))
    (news,) = [e for e in ended.of(InstrumentChanged) if e.figures]
    assert news.figures[1].value == f"1 -> {D(factor)}"
    trade = closed(ended, HELD)
    assert trade.quantity * trade.contract_size == plain.quantity
    assert (trade.pnl_net, trade.exit_reason) == (plain.pnl_net, "time_limit")

    reads_instruments_at_its_start_only(monkeypatch)
    assert select_errors(find_errors(run_case()), "PositionCorrected")


def test_entries_after_a_change_of_contract_size_use_the_new_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the old size the entry would be ten times what its risk allows."""

    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            for symbol in LATE:
                engine.resize(symbol, D(10))

        return play(direct=direct)

    plain = {p.symbol: p.quantity for p in play().positions}
    ended = run_case()
    assert find_errors(ended) == []
    assert {p.symbol: 10 * p.quantity for p in ended.positions} == plain
    assert set(plain) == set(LATE)

    reads_instruments_at_its_start_only(monkeypatch)
    assert select_errors(find_errors(run_case()), "EXPOSURE")


# --- tick, lot, risk tier --------------------------------------------------------------------


def test_a_stop_that_is_lost_after_the_tick_grew_is_placed_on_the_new_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The venue rejects the old price then. The new one is no farther from the market."""
    old: list[Decimal] = []

    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            (stop,) = stops_at(harness, HELD)
            assert stop.trigger_price is not None
            old.append(stop.trigger_price)
            change(engine, HELD, tick=D("0.05"))
            engine = await living(harness, 4.4)
            assert stops_at(harness, HELD) == [stop]  # the resting stop is unchanged
            engine.cancel(stop.client_order_id)
            harness.push_events()

        return play(direct=direct)

    ended = run_case()
    assert find_errors(ended) == []
    confirmed = [s for s in ended.of(StopConfirmed) if s.symbol == HELD]
    assert confirmed[-1].trigger_price % D("0.05") == 0
    assert 0 < confirmed[-1].trigger_price - old[0] < D("0.05")
    assert (
        closed(ended, HELD).exit_reason == "time_limit"
    )  # the position was kept until its time limit

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
    assert find_errors(ended) == []
    assert {p.symbol for p in ended.positions} == set(LATE)
    assert not refused(ended, code)

    reads_instruments_at_its_start_only(monkeypatch)
    assert refused(run_case(), code)


def test_a_raised_fee_counts_in_the_value_of_a_candidate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """GGG can win 4 or lose 2 at a price of 100; a fee of 1 % costs 2 in both cases."""

    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            change(engine, "GGG", taker_fee=D("0.01"))

        return play(direct=direct)

    ended = run_case()
    assert find_errors(ended) == []
    vetoed = [e for at_ms, e in ended.vetoed if at_ms > at(11) and e.symbol == "GGG"]
    assert [[denial.code for denial in e.denials] for e in vetoed] == [["REWARD_TO_RISK_LOW"]]
    assert {p.symbol for p in ended.positions} == {"HHH"}

    reads_instruments_at_its_start_only(monkeypatch)
    assert {p.symbol for p in run_case().positions} == set(LATE)


def test_a_stop_beyond_the_liquidation_price_is_moved_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A higher risk tier: a stop beyond the liquidation price protects nothing."""

    def run_case() -> list[bool]:
        """Return ``stop_first`` before the change, after it, and a cycle later."""
        seen: list[bool] = []

        async def direct(harness: Harness) -> None:
            engine = await living(harness, 3.5)
            seen.append(stop_first(harness))
            (held,) = [p for p in engine.positions() if p.symbol == HELD]
            safe = engine.instruments[HELD]
            # The new rate puts the liquidation price halfway between entry and stop.
            near = (held.entry_price + (stops_at(harness, HELD)[0].trigger_price or D(0))) / 2
            kept = held.entry_price * (1 - D(1) / held.leverage) / near
            change(engine, HELD, maintenance_margin_rate=1 - safe.taker_fee - kept)
            seen.append(stop_first(harness))
            await living(harness, 4.4)
            seen.append(stop_first(harness))
            assert len(stops_at(harness, HELD)) == 1

        assert find_errors(play(direct=direct)) == []
        return seen

    assert run_case() == [True, False, True]

    monkeypatch.setattr(restatement, "is_liquidated_first", lambda trade, position: False)
    assert run_case() == [True, False, False]


def stop_first(harness: Harness) -> bool:
    """Return True if the stop of a long is nearer than its liquidation price."""
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
            listed = await super().instruments()
            return tuple(attrs.evolve(each, tick=D(0)) for each in listed)

    ended = play(venue=Garbled)
    assert find_errors(ended) == []
    assert not ended.of(InstrumentChanged)
    assert not [e for e in ended.of(IntentRecorded) if e.intent.role is OrderRole.ENTRY]

    monkeypatch.setattr(reconciler, "find_faults", lambda symbols, listed: ())
    assert find_errors(play(venue=Garbled))


# --- lists that omit a position --------------------------------------------------------------


class Forgetful(Line):
    """A venue that omits a position in one list, although it is open."""

    left_out = 0

    async def positions(self) -> tuple[PositionReport, ...]:
        reports = await super().positions()
        if self.left_out and any(p.symbol == HELD for p in reports):
            self.left_out -= 1
            return tuple(p for p in reports if p.symbol != HELD)
        return reports


def test_a_position_that_one_answer_omits_keeps_its_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it counted as flat, its stop would be canceled as an orphan order."""

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
    assert find_errors(ended) == []
    assert after == before

    # Naive: one list without the position closes it.
    monkeypatch.setattr(reconciliation._Work, "_is_pending", lambda work, symbol, held: False)
    ended, seen = run_case()
    assert select_errors(find_errors(ended), "PositionCorrected")
    assert seen == [before]  # it was unprotected


def test_a_position_stays_open_if_two_lists_around_a_timeout_omit_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lists around an outage are the least reliable ones."""

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

    assert find_errors(run_case()) == []

    # Naive: only the time of the first omission counts.
    pending = reconciliation._Work._is_pending
    first: dict[Any, int] = {}

    def since_ever(work: Any, symbol: str, held: Decimal) -> bool:
        first.setdefault((symbol, held), work.now_ms)
        work.inputs = attrs.evolve(work.inputs, pending_mismatches=first)
        return pending(work, symbol, held)

    monkeypatch.setattr(reconciliation._Work, "_is_pending", since_ever)
    assert select_errors(find_errors(run_case()), "PositionCorrected")
