"""``write_shadow_record``: a record whose strategies are judged by an earned gate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path
from random import Random

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import ExitReason, GateState, RunMode
from kamou.core.model import Side
from kamou.core.record.gate_record import find_strategies, gather_record
from kamou.core.record.gate_transitions import GateRules, find_transition
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter
from tests.core.shadow_cases import closed, closed_shadow, opened, shadow_trade
from tests.web.published_record import EQUITY, START_MS, equity_mark

RULES = GateRules(equity=float(EQUITY))
WIN_SHARES = {"funding_fade": 0.72, "mean_reversion": 0.28, "oi_momentum": 0.36}
RUINED = "ratio_fade"
RISK = D(100)
TRADES_PER_DAY = 3
REAL = {GateState.CANARY, GateState.LIVE}


def write_shadow_record(path: Path, *, days: int = 75, seed: int = 5) -> None:
    """Write shadow trades of four strategies, and what the gate decides at each midnight.

    One has an edge, two have none, and one is ruined on the tenth day. A canary has real trades
    beside its shadow trades. The last two days have open trades.
    """
    connection = open_writer(path, durable=False)
    writer, book, chance = JournalWriter(connection, run_number=1), PositionBook(), Random(seed)

    def append(*events: e.Event) -> None:
        book.apply_all((each.seq, each.event) for each in writer.append(events))

    append(started(START_MS), equity_mark(START_MS))
    for day in range(days):
        midnight_ms = START_MS + day * DAY_MS
        for strategy in sorted((*WIN_SHARES, RUINED)):
            if strategy != RUINED or day < 11:
                ends = day < days - 2
                append(*_trades_of_day(book, strategy, midnight_ms, chance, ends=ends))
        append(equity_mark(midnight_ms + 23 * HOUR_MS))
        for strategy in find_strategies(book):
            gate, record = book.gate.find(strategy), gather_record(book, strategy)
            change = find_transition(record, gate, midnight_ms + DAY_MS, RULES)
            if change is not None:
                append(change)
    connection.close()


def started(at_ms: int, gate: str = "earned", enabled: tuple[str, ...] = ()) -> e.RunStarted:
    return e.RunStarted(
        at_ms=at_ms,
        run_number=1,
        mode=RunMode.DEMO,
        version="1",
        config_digest="c0ffee" * 10,
        config_json=json.dumps(
            {"cycle.period_s": 3600, "equity": "10000", "strategies.enabled": enabled}
        ),
        change_reason="first run",
        gate=gate,
    )


def _trades_of_day(
    book: PositionBook, strategy: str, midnight_ms: int, chance: Random, *, ends: bool
) -> Iterator[e.Event]:
    for number in range(TRADES_PER_DAY):
        at_ms = midnight_ms + (2 + 6 * number) * HOUR_MS
        symbol = f"S{chance.randrange(14):02}USDT"
        name = f"{at_ms}.{strategy}.{symbol}"
        won = chance.random() < WIN_SHARES.get(strategy, 0.5)
        r = D("2.1") if won else D("-1.07")
        if strategy == RUINED and midnight_ms >= START_MS + 10 * DAY_MS:
            r = D("-4.5")
        trade = shadow_trade(
            name, strategy=strategy, symbol=symbol, planned_risk=RISK, opened_at_ms=at_ms
        )
        yield opened(trade, at_ms=at_ms)
        if not ends:
            continue
        close_ms = at_ms + 5 * HOUR_MS
        result = closed_shadow(trade, closed_at_ms=close_ms, pnl=r * RISK, r=r)
        yield closed(result, at_ms=close_ms)
        if book.gate.find(strategy).state in REAL:
            yield _real_trade(name, strategy, symbol, at_ms, r - D("0.02"))


def _real_trade(name: str, strategy: str, symbol: str, at_ms: int, r: D) -> e.TradeClosed:
    return e.TradeClosed(
        at_ms=at_ms + 5 * HOUR_MS,
        cause_id=name,
        trade_id=name,
        symbol=symbol,
        strategy=strategy,
        side=Side.LONG,
        quantity=D(10),
        contract_size=D(1),
        entry_price=D(100),
        exit_price=D(102),
        stop_price=D(98),
        opened_at_ms=at_ms + 200,
        closed_at_ms=at_ms + 5 * HOUR_MS,
        pnl_gross=r * 25,
        fees=D(0),
        funding=D(0),
        slippage=D(0),
        pnl_net=r * 25,
        r_multiple=r,
        exit_reason=ExitReason.TAKE_PROFIT,
    )
