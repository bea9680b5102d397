"""A small history with a row for every table: a won trade, a veto, a halt."""

from __future__ import annotations

from decimal import Decimal as D

import attrs

from kamou.core.book import events as e
from kamou.core.book.candidate_events import (
    CandidatesRefined,
    CandidatesVetoed,
    RefinedCandidate,
    VetoedCandidate,
)
from kamou.core.codes import StateReason
from kamou.core.kinds import (
    ExitReason,
    FillReason,
    FillSource,
    IncomeKind,
    RefinerVerdict,
    RunEnd,
    RunMode,
    SizeLimit,
)
from kamou.core.model import (
    Candidate,
    Denial,
    Figure,
    FillReport,
    Income,
    Intent,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    Plan,
    Side,
    TimeInForce,
    TradingState,
)
from kamou.core.ranking.ranking import to_ranked

DAY0_MS = 1_700_006_400_000  # 2023-11-15T00:00Z
CYCLE_MS = DAY0_MS + 900_000
SIGNAL = f"{CYCLE_MS}.mean_reversion.ETHUSDT"
PERMIT = f"{SIGNAL}.0"
ENTRY, STOP, LIQUIDATED = "km" + "a" * 26, "km" + "b" * 26, ""


def day(number: int) -> e.DayOpened:
    return e.DayOpened(at_ms=number, day=f"2023-11-{number:02}", equity=D(number))


def lost(number: int) -> e.ProtectionLost:
    return e.ProtectionLost(at_ms=number, symbol="ETHUSDT", reason="test")


def make_candidate() -> Candidate:
    return Candidate(
        signal_id=SIGNAL,
        strategy="mean_reversion",
        symbol="ETHUSDT",
        side=Side.LONG,
        score=0.75,
        close=2000.5,
        stop_distance=30.0,
        target_distance=45.0,
        hold_ms=86_400_000,
        bar_opened_at_ms=CYCLE_MS - 900_000,
        bar_closed_at_ms=CYCLE_MS,
        features=(("z", -2.5), ("rsi2", 3.0)),
    )


def make_plan(permit_id: str = PERMIT) -> Plan:
    return Plan(
        permit_id=permit_id,
        signal_id=SIGNAL,
        attempt=0,
        strategy="mean_reversion",
        symbol="ETHUSDT",
        side=Side.LONG,
        quantity=D("0.50"),
        contract_size=D(1),
        entry_price=D("2000"),
        limit_price=D("2020"),
        stop_price=D("1970"),
        target_price=D("2045"),
        leverage=3,
        risk=D("18.5"),
        notional=D("1000.00"),
        bound_by=SizeLimit.EXPOSURE,
        hold_ms=86_400_000,
        planned_at_ms=CYCLE_MS + 2_000,
        expires_at_ms=CYCLE_MS + 32_000,
    )


def make_refined(
    signal_id: str,
    *,
    symbol: str = "ETHUSDT",
    verdict: RefinerVerdict = RefinerVerdict.OFF,
    reason_code: str = "OFF",
) -> RefinedCandidate:
    return RefinedCandidate(
        candidate=attrs.evolve(make_candidate(), signal_id=signal_id, symbol=symbol),
        verdict=verdict,
        size_multiplier=D(1),
        reason_code=reason_code,
    )


def make_intent(client_order_id: str, role: OrderRole) -> Intent:
    entry = role is OrderRole.ENTRY
    return Intent(
        client_order_id=client_order_id,
        trade_id=SIGNAL,
        permit_id=PERMIT if entry else "",
        role=role,
        attempt=0,
        symbol="ETHUSDT",
        side=OrderSide.BUY if entry else OrderSide.SELL,
        quantity=D("0.50"),
        type=OrderType.LIMIT if entry else OrderType.STOP_MARKET,
        limit_price=D("2020") if entry else None,
        trigger_price=None if entry else D("1970"),
        time_in_force=TimeInForce.IOC if entry else TimeInForce.GTC,
        reduce_only=not entry,
        leverage=3,
        intended_at_ms=CYCLE_MS + 2_010,
        salt="00" * 32,
        cause_id=PERMIT,
    )


def make_fill(
    number: int, client_order_id: str, side: OrderSide, quantity: str, at_ms: int
) -> FillReport:
    return FillReport(
        symbol="ETHUSDT",
        execution_id=str(number),
        client_order_id=client_order_id,
        venue_order_id="v1" if client_order_id else "",
        side=side,
        quantity=D(quantity),
        price=D("2000") if side is OrderSide.BUY else D("2045"),
        fee=D("0.3"),
        slippage=D("0.1"),
        maker=False,
        reason=FillReason.ORDER if client_order_id else FillReason.LIQUIDATION,
        at_ms=at_ms,
    )


def make_fill_event(
    number: int, client_order_id: str, side: OrderSide, quantity: str, at_ms: int
) -> e.Event:
    return e.FillRecorded(
        at_ms=at_ms,
        fill=make_fill(number, client_order_id, side, quantity, at_ms),
        source=FillSource.STREAM,
    )


def make_equity(at_ms: int, equity: str, net_deposits: str = "0") -> e.EquityRecorded:
    return e.EquityRecorded(
        at_ms=at_ms,
        equity=D(equity),
        wallet_balance=D(equity),
        unrealized_pnl=D(0),
        margin_used=D(0),
        open_risk=D(0),
        net_deposits=D(net_deposits),
    )


def make_transfer(at_ms: int, amount: str) -> e.IncomeRecorded:
    income = Income(
        income_id=f"t{at_ms}", kind=IncomeKind.TRANSFER, symbol="", amount=D(amount), at_ms=at_ms
    )
    return e.IncomeRecorded(at_ms=at_ms, income=income)


def make_run_start(run_number: int, at_ms: int) -> e.RunStarted:
    return e.RunStarted(
        at_ms=at_ms,
        run_number=run_number,
        mode=RunMode.DEMO,
        version="1",
        config_digest="c0ffee",
        config_json="{}",
        change_reason="first",
    )


def make_trade_close() -> e.TradeClosed:
    return e.TradeClosed(
        at_ms=CYCLE_MS + 60_000,
        cause_id=SIGNAL,
        trade_id=SIGNAL,
        symbol="ETHUSDT",
        strategy="mean_reversion",
        side=Side.LONG,
        quantity=D("0.50"),
        contract_size=D(1),
        entry_price=D("2000"),
        exit_price=D("2045"),
        stop_price=D("1970"),
        opened_at_ms=CYCLE_MS + 2_200,
        closed_at_ms=CYCLE_MS + 50_000,
        pnl_gross=D("22.5"),
        fees=D("0.6"),
        funding=D("-0.05"),
        slippage=D("0.2"),
        pnl_net=D("21.85"),
        r_multiple=D("1.4567"),
        exit_reason=ExitReason.TAKE_PROFIT,
    )


def make_order_close(at_ms: int, client_order_id: str, quantity: str) -> e.Event:
    return e.OrderClosed(
        at_ms=at_ms,
        client_order_id=client_order_id,
        status=OrderStatus.FILLED,
        filled=D(quantity),
        reason="",
    )


def opening_events() -> list[e.Event]:
    """Return the events from the start of the run to the open position."""
    at = CYCLE_MS + 2_000
    entry, stop = make_intent(ENTRY, OrderRole.ENTRY), make_intent(STOP, OrderRole.STOP_LOSS)
    return [
        make_run_start(1, DAY0_MS),
        make_equity(DAY0_MS, "10000"),
        e.DayOpened(at_ms=DAY0_MS, day="2023-11-15", equity=D("10000")),
        e.CycleRanked(
            at_ms=at,
            cycle_at_ms=CYCLE_MS,
            bar_closed_at_ms=CYCLE_MS,
            symbols=220,
            candidates=2,
            by_strategy=(),
            abstained=(
                Figure(name="mean_reversion.6", value="200"),
                Figure(name="oi_momentum.1", value="18"),
            ),
            late_shards=0,
            top=(to_ranked(make_candidate()),),
        ),
        CandidatesVetoed(
            at_ms=at,
            candidates=(
                VetoedCandidate(
                    signal_id="other",
                    strategy="oi_momentum",
                    symbol="BTCUSDT",
                    denials=(
                        Denial(code="REWARD_TO_RISK_LOW", figures=(Figure(name="b", value="1.1"),)),
                        Denial(code="SYMBOL_HELD"),
                    ),
                ),
            ),
        ),
        CandidatesRefined(at_ms=at, cause_id=SIGNAL, candidates=(make_refined(SIGNAL),)),
        e.PermitGranted(
            at_ms=at,
            cause_id=SIGNAL,
            permit_id=PERMIT,
            plan=make_plan(),
            figures=(
                Figure(name="gap_buffer", value="0.25 = max(0.25, none measured in 30 days)"),
            ),
            expires_at_ms=at + 30_000,
        ),
        e.IntentRecorded(at_ms=at + 10, cause_id=PERMIT, intent=entry),
        e.IntentRecorded(at_ms=at + 10, cause_id=PERMIT, intent=stop),
        e.PermitConsumed(at_ms=at + 20, permit_id=PERMIT, client_order_id=ENTRY),
        e.OrderAccepted(at_ms=at + 170, client_order_id=ENTRY, venue_order_id="v1"),
        make_fill_event(1, ENTRY, OrderSide.BUY, "0.20", at + 200),
        make_fill_event(2, ENTRY, OrderSide.BUY, "0.30", at + 210),
        make_order_close(at + 220, ENTRY, "0.50"),
        e.OrderAccepted(at_ms=at + 230, client_order_id=STOP, venue_order_id="v2"),
    ]


def make_cycle_close(at_ms: int) -> e.Event:
    return e.CycleClosed(
        at_ms=at_ms, cycle_at_ms=at_ms, positions=0, open_orders=0, drift=0, repaired=0
    )


def closing_events() -> list[e.Event]:
    """Return the events from the exit to the next day and the stop of the run."""
    at = CYCLE_MS + 50_000
    return [
        make_fill_event(3, LIQUIDATED, OrderSide.SELL, "0.50", at),
        e.IncomeRecorded(
            at_ms=at,
            income=Income(
                income_id="f1",
                kind=IncomeKind.FUNDING,
                symbol="ETHUSDT",
                amount=D("-0.05"),
                at_ms=at,
            ),
        ),
        make_trade_close(),
        e.PermitReleased(at_ms=at + 1, permit_id=PERMIT, reason="trade closed"),
        e.CycleClosed(
            at_ms=at + 5, cycle_at_ms=CYCLE_MS, positions=0, open_orders=1, drift=0, repaired=0
        ),
        e.StateChanged(
            at_ms=at + 6,
            before=TradingState.ACTIVE,
            after=TradingState.REDUCE_ONLY,
            reason=StateReason.OPERATOR_HALT,
            figures=(Figure(name="by", value="operator"),),
        ),
        e.StateChanged(
            at_ms=at + 1_006,
            before=TradingState.REDUCE_ONLY,
            after=TradingState.ACTIVE,
            reason=StateReason.OPERATOR_RESUME,
        ),
        make_transfer(at + 2_000, "500"),
        make_equity(at + 3_000, "10521.85", net_deposits="500"),
        make_equity(DAY0_MS + 86_400_000, "10521.85", net_deposits="500"),
        e.DayOpened(at_ms=DAY0_MS + 86_400_000, day="2023-11-16", equity=D("10521.85")),
        e.RunStopped(at_ms=DAY0_MS + 86_500_000, run_number=1, reason=RunEnd.STOPPED),
    ]
