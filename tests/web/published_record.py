"""``write_record``: a record as runs write it, with trades and their chains."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from random import Random

from kamou.core.book import events as e
from kamou.core.book.candidate_events import CandidatesRefined, RefinedCandidate
from kamou.core.codes import StateReason
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.kinds import (
    ExitReason,
    FillReason,
    FillSource,
    IncomeKind,
    RefinerVerdict,
    RunMode,
    SizeLimit,
)
from kamou.core.model import (
    Candidate,
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
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter

START_MS = 1_753_488_000_000  # 2025-07-26T00:00Z
STRATEGIES = ("mean_reversion", "oi_momentum")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "1000PEPEUSDT", "AVAXUSDT")
EQUITY = D(10_000)


def equity_mark(at_ms: int, equity: D = D(10_000)) -> e.EquityRecorded:
    """Return an equity snapshot without positions and transfers."""
    return e.EquityRecorded(
        at_ms=at_ms,
        equity=equity,
        wallet_balance=equity,
        unrealized_pnl=D(0),
        margin_used=D(0),
        open_risk=D(0),
        net_deposits=D(0),
    )


def write_record(
    path: Path,
    *,
    days: int = 40,
    trades_per_day: int = 2,
    seed: int = 7,
    marks_per_day: int = 24,
    flow_day: int | None = None,
    halt_day: int | None = 9,
    outage_day: int | None = 15,
    down_days: int = 0,
) -> None:
    """Write a record of ``days`` daily rows and half a day; it depends on the seed.

    The row of ``outage_day`` has ``down_days`` more days, and is complete only without them.
    """
    connection = open_writer(path, durable=False)
    record = _Record(Random(seed))
    writer = JournalWriter(connection, run_number=1)
    writer.append([_started(1, START_MS, "c0ffee" * 10, "first run")])
    skipped = 0
    for day in range(days + 1):
        at_ms = START_MS + (day + skipped) * DAY_MS
        flow = D(2_000) if day == flow_day else D(0)
        marks = marks_per_day if day < days else marks_per_day // 2
        trades = trades_per_day if day < days else 0
        writer.append(
            record.day(
                at_ms, marks=marks, step_ms=DAY_MS // marks_per_day, trades=trades, flow=flow
            )
        )
        if day == halt_day:
            writer.append(record.halted(at_ms + 13 * HOUR_MS, 11 * HOUR_MS))
        if day == outage_day:
            skipped += down_days
            writer = JournalWriter(connection, run_number=2)
            restart_ms = at_ms + (1 + down_days) * DAY_MS - HOUR_MS
            writer.append([_started(2, restart_ms, "decade" * 10, "lower risk")])
    connection.close()


class _Record:
    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._equity = EQUITY
        self._net_deposits = D(0)
        self._trades = 0

    def day(self, at_ms: int, *, marks: int, step_ms: int, trades: int, flow: D) -> list[e.Event]:
        name = datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
        made: list[e.Event] = [self._mark(at_ms), _closed(at_ms)]
        made.append(e.DayOpened(at_ms=at_ms, day=name, equity=self._equity))
        step = 12 * HOUR_MS // max(1, trades)
        for i in range(trades):
            made += self._trade(at_ms + HOUR_MS + i * step)
        for i in range(1, marks):
            if flow and i == marks // 2:
                self._equity += flow
                self._net_deposits += flow
                made.append(_income(at_ms + i * step_ms, IncomeKind.TRANSFER, "", flow))
            made.append(self._mark(at_ms + i * step_ms))
            made.append(_closed(at_ms + i * step_ms))
        return made

    def halted(self, at_ms: int, for_ms: int) -> list[e.Event]:
        return [
            _state(at_ms, TradingState.ACTIVE, TradingState.REDUCE_ONLY, "DAY_LOSS_LIMIT"),
            _state(at_ms + for_ms, TradingState.REDUCE_ONLY, TradingState.ACTIVE, "DAY_ROLLED"),
        ]

    def _mark(self, at_ms: int) -> e.Event:
        wobble = D(round(self._chance.gauss(0, 18), 2)).quantize(D("0.01"))
        return e.EquityRecorded(
            at_ms=at_ms,
            equity=self._equity + wobble,
            wallet_balance=self._equity,
            unrealized_pnl=wobble,
            margin_used=D(200),
            open_risk=D(80),
            net_deposits=self._net_deposits,
        )

    def _trade(self, at_ms: int) -> list[e.Event]:
        chance = self._chance
        self._trades += 1
        strategy = STRATEGIES[0] if chance.random() < 0.7 else STRATEGIES[1]
        symbol = chance.choice(SYMBOLS)
        side = chance.choice((Side.LONG, Side.SHORT))
        won = chance.random() < 0.41
        return list(self._chain(at_ms, strategy, symbol, side, won))

    def _chain(
        self, at_ms: int, strategy: str, symbol: str, side: Side, won: bool
    ) -> tuple[e.Event, ...]:
        entry, distance, size = D("100.0"), D("2.0"), D("40")
        stop = entry - side.sign * distance
        target = entry + side.sign * distance * D("1.7")
        role = OrderRole.TAKE_PROFIT if won else OrderRole.STOP_LOSS
        out = target if won else stop
        signal = f"{at_ms}.{strategy}.{symbol}"
        candidate = Candidate(
            signal_id=signal,
            strategy=strategy,
            symbol=symbol,
            side=side,
            score=round(self._chance.uniform(0.4, 0.99), 4),
            close=99.95,
            stop_distance=2.0,
            target_distance=3.4,
            hold_ms=DAY_MS,
            bar_opened_at_ms=at_ms - 15 * MINUTE_MS,
            bar_closed_at_ms=at_ms,
            features=(("z", -2.31), ("rsi2", 4.2), ("half_life", 11.5)),
        )
        plan = _plan(candidate, at_ms, entry, stop, target, size)
        ids = {one: f"km{self._trades:05d}{one.value:a<21}" for one in OrderRole}
        opening, closed_at_ms = ids[OrderRole.ENTRY], at_ms + 150 * MINUTE_MS
        gross = (out - entry) * side.sign * size
        fees, funding, slip = D("4.80"), D("-0.12"), D("0.83")
        net = gross - fees + funding
        self._equity += net
        return (
            *_opening(at_ms, candidate, plan, ids),
            _filled(2 * self._trades, plan, opening, side.opening, entry, at_ms + 200),
            _ended(opening, size, at_ms + 210),
            _income(at_ms + 120 * MINUTE_MS, IncomeKind.FUNDING, symbol, funding),
            _filled(2 * self._trades + 1, plan, ids[role], side.closing, out, closed_at_ms),
            _ended(ids[role], size, closed_at_ms),
            e.TradeClosed(
                at_ms=closed_at_ms,
                cause_id=signal,
                trade_id=signal,
                symbol=symbol,
                strategy=strategy,
                side=side,
                quantity=size,
                contract_size=D(1),
                entry_price=entry,
                exit_price=out,
                stop_price=stop,
                opened_at_ms=at_ms + 200,
                closed_at_ms=closed_at_ms,
                pnl_gross=gross,
                fees=fees,
                funding=funding,
                slippage=slip,
                pnl_net=net,
                r_multiple=net / (distance * size),
                exit_reason=ExitReason(role),
            ),
        )


def _closed(at_ms: int) -> e.Event:
    return e.CycleClosed(
        at_ms=at_ms, cycle_at_ms=at_ms, positions=0, open_orders=0, drift=0, repaired=0
    )


def _income(at_ms: int, kind: IncomeKind, symbol: str, amount: D) -> e.Event:
    income = Income(
        income_id=f"{kind}.{symbol}.{at_ms}", kind=kind, symbol=symbol, amount=amount, at_ms=at_ms
    )
    return e.IncomeRecorded(at_ms=at_ms, income=income)


def _opening(
    at_ms: int, candidate: Candidate, plan: Plan, ids: dict[OrderRole, str]
) -> tuple[e.Event, ...]:
    """Return the events from the ranking to the accepted orders."""
    roles = (OrderRole.ENTRY, OrderRole.STOP_LOSS, OrderRole.TAKE_PROFIT)
    signal = candidate.signal_id
    return (
        _ranked(at_ms, candidate),
        CandidatesRefined(
            at_ms=at_ms + 10,
            cause_id=signal,
            candidates=(
                RefinedCandidate(
                    candidate=candidate,
                    verdict=RefinerVerdict.OFF,
                    size_multiplier=D(1),
                    reason_code="OFF",
                ),
            ),
        ),
        e.PermitGranted(
            at_ms=at_ms + 20,
            cause_id=signal,
            permit_id=plan.permit_id,
            plan=plan,
            figures=(),
            expires_at_ms=at_ms + 30_000,
        ),
        *(e.IntentRecorded(at_ms=at_ms + 30, intent=_intent(plan, one, ids[one])) for one in roles),
        e.PermitConsumed(
            at_ms=at_ms + 40, permit_id=plan.permit_id, client_order_id=ids[OrderRole.ENTRY]
        ),
        *(
            e.OrderAccepted(at_ms=at_ms + 190, client_order_id=ids[one], venue_order_id=f"v-{one}")
            for one in roles
        ),
    )


def _ended(client_order_id: str, filled: D, at_ms: int) -> e.Event:
    return e.OrderClosed(
        at_ms=at_ms,
        client_order_id=client_order_id,
        status=OrderStatus.FILLED,
        filled=filled,
        reason="",
    )


def _started(run_number: int, at_ms: int, digest: str, reason: str) -> e.Event:
    return e.RunStarted(
        at_ms=at_ms,
        run_number=run_number,
        mode=RunMode.DEMO,
        version="1",
        config_digest=digest,
        config_json='{"cycle.period_s":3600}',
        change_reason=reason,
    )


def _state(at_ms: int, before: TradingState, after: TradingState, reason: str) -> e.Event:
    cause = StateReason(reason)
    return e.StateChanged(at_ms=at_ms, before=before, after=after, reason=cause)


def _ranked(at_ms: int, candidate: Candidate) -> e.Event:
    return e.CycleRanked(
        at_ms=at_ms,
        cycle_at_ms=at_ms,
        bar_closed_at_ms=at_ms,
        symbols=220,
        candidates=3,
        by_strategy=(),
        abstained=(Figure(name="mean_reversion.6", value="217"),),
        late_shards=0,
        top=(to_ranked(candidate),),
    )


def _plan(candidate: Candidate, at_ms: int, entry: D, stop: D, target: D, size: D) -> Plan:
    return Plan(
        permit_id=f"{candidate.signal_id}.0",
        signal_id=candidate.signal_id,
        attempt=0,
        strategy=candidate.strategy,
        symbol=candidate.symbol,
        side=candidate.side,
        quantity=size,
        contract_size=D(1),
        entry_price=entry,
        limit_price=entry * D("1.01"),
        stop_price=stop,
        target_price=target,
        leverage=3,
        risk=D("98.40"),
        notional=entry * size,
        bound_by=SizeLimit.RISK,
        hold_ms=DAY_MS,
        planned_at_ms=at_ms + 15,
        expires_at_ms=at_ms + 30_000,
    )


def _intent(plan: Plan, role: OrderRole, client_order_id: str) -> Intent:
    kinds = {
        OrderRole.ENTRY: OrderType.LIMIT,
        OrderRole.STOP_LOSS: OrderType.STOP_MARKET,
        OrderRole.TAKE_PROFIT: OrderType.LIMIT,
    }
    entry = role is OrderRole.ENTRY
    return Intent(
        client_order_id=client_order_id,
        trade_id=plan.signal_id,
        permit_id=plan.permit_id if entry else "",
        role=role,
        attempt=0,
        symbol=plan.symbol,
        side=plan.side.opening if entry else plan.side.closing,
        quantity=plan.quantity,
        type=kinds[role],
        limit_price={
            OrderRole.ENTRY: plan.limit_price,
            OrderRole.TAKE_PROFIT: plan.target_price,
        }.get(role),
        trigger_price=plan.stop_price if role is OrderRole.STOP_LOSS else None,
        time_in_force=TimeInForce.IOC if entry else TimeInForce.GTC,
        reduce_only=not entry,
        leverage=plan.leverage,
        intended_at_ms=plan.planned_at_ms + 15,
        salt="00" * 32,
        cause_id=plan.permit_id,
    )


def _filled(
    number: int, plan: Plan, client_order_id: str, side: OrderSide, price: D, at_ms: int
) -> e.Event:
    fill = FillReport(
        symbol=plan.symbol,
        execution_id=str(number),
        client_order_id=client_order_id,
        venue_order_id="v1",
        side=side,
        quantity=plan.quantity,
        price=price,
        fee=D("2.40"),
        slippage=D("0.40"),
        maker=False,
        reason=FillReason.ORDER,
        at_ms=at_ms,
    )
    return e.FillRecorded(at_ms=at_ms, fill=fill, source=FillSource.STREAM)


def started_with(at_ms: int) -> e.Event:
    """Return the start of the first run of a record."""
    return _started(1, at_ms, "c0ffee" * 10, "first run")
