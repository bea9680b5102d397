"""Shadow records of simulated strategies, which earn sizes and lose them.

The journal begins with the closed shadow trades of past days. The last trades of a record are still
open then, and hold back their day. They close during the simulation, which makes a canary, demotes
it or halts it. A tree with such records has no shadow book.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from itertools import chain
from random import Random

import attrs
import trio

from kamou.app import Tree
from kamou.clock import Clock
from kamou.core.book.events import Event
from kamou.core.book.shadow_events import (
    ClosedShadowTrade,
    ShadowTrade,
    ShadowTradesClosed,
    ShadowTradesOpened,
)
from kamou.core.day import DAY_MS, HOUR_MS, day_start_ms
from kamou.core.kinds import ExitReason, GateState, RefinerVerdict
from kamou.core.model import Side
from kamou.core.record.gate import EarnedGate, Gate
from kamou.core.record.gate_transitions import GateRules
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.settings.config import Settings
from kamou.simulator.faults import Chaos, FaultName

D = Decimal
DAYS, PER_DAY = 30, 3
WIN, LOSS, RUIN = D("2.3"), D("-1.05"), D("-5")
RISK = D(100)  # money of 1 R


class RecordFate(StrEnum):
    """What becomes of a strategy during a simulation."""

    STAYS = "stays a canary"
    EARNS = "becomes a canary"
    FAILS = "is demoted"
    RUINED = "is halted"
    NULL = "stays in SHADOW"

    @property
    def end(self) -> GateState:
        """The state at the end."""
        return _ENDS[self]


_ENDS = {
    RecordFate.STAYS: GateState.CANARY,
    RecordFate.EARNS: GateState.CANARY,
    RecordFate.FAILS: GateState.SHADOW,
    RecordFate.RUINED: GateState.HALTED,
    RecordFate.NULL: GateState.SHADOW,
}


@attrs.frozen(kw_only=True)
class ScriptedRecord:
    """One strategy's trades: those of the past, and closes at ``due_ms``."""

    strategy: str
    fate: RecordFate
    opened: tuple[ShadowTrade, ...]
    past: tuple[ClosedShadowTrade, ...]
    later: tuple[ClosedShadowTrade, ...]
    due_ms: int

    def past_events(self) -> Iterator[Event]:
        """Yield the events with which a journal begins."""
        at_ms = max(each.closed_at_ms for each in self.past)
        yield ShadowTradesOpened(at_ms=at_ms, cause_id=self.strategy, trades=self.opened)
        yield ShadowTradesClosed(at_ms=at_ms, cause_id=self.strategy, trades=self.past)

    def later_event(self) -> Event:
        """Return the event of the closes during the simulation."""
        return ShadowTradesClosed(at_ms=self.due_ms, cause_id=self.strategy, trades=self.later)


@attrs.frozen(kw_only=True)
class SimulatedGate:
    """The gate of a simulation, with its records; without records it is assumed."""

    records: tuple[ScriptedRecord, ...]
    chaos: Chaos
    gate: Gate
    rules: GateRules | None

    @property
    def final_states(self) -> Mapping[str, GateState]:
        """State of each strategy with a record, once all its trades have closed."""
        return {each.strategy: each.fate.end for each in self.records}

    def past_events(self, run_number: int) -> tuple[Event, ...]:
        """Return the records with which a new journal begins; no events later."""
        if run_number > 1:
            return ()
        return tuple(chain.from_iterable(each.past_events() for each in self.records))

    async def close_trades(self, tree: Tree, clock: Clock) -> None:
        """Close the records' later trades when they are due; ``clock`` has the true time.

        Each process does it again, because an earlier one may have died before the commit. A second
        close changes no book. The gate gets a notice every minute, as it would from a shadow book
        with many trades: a cast waits on a full disk.
        """
        for record in sorted(self.records, key=lambda each: each.due_ms):
            await trio.sleep(max(0, record.due_ms - clock.now_ms()) / 1000)
            self.chaos.note(FaultName.EARNED_GATE)
            tree.journal.cast(record.later_event())
        while self.records:
            await trio.sleep(60)
            tree.mailboxes.wake_gate()


def make_gate(chaos: Chaos, settings: Settings, start_ms: int, end_ms: int) -> SimulatedGate:
    """Return a simulation's gate; with the fault, each strategy has a drawn record.

    The first strategy is a canary from the start, so that something trades.
    """
    if FaultName.EARNED_GATE not in chaos.on:
        return SimulatedGate(records=(), chaos=chaos, gate=AssumedLiveGate(), rules=None)
    draw = chaos.draw(FaultName.EARNED_GATE)
    records = []
    for number, strategy in enumerate(settings.strategies.enabled):
        fate = draw.choice(
            list(RecordFate) if number else [RecordFate.STAYS, RecordFate.FAILS, RecordFate.RUINED]
        )
        due_ms = start_ms + round((end_ms - start_ms) * draw.uniform(0.4, 0.8))
        records.append(_make_record(draw, strategy, fate, start_ms, due_ms))
    rules = GateRules(equity=float(settings.equity))
    return SimulatedGate(records=tuple(records), chaos=chaos, gate=EarnedGate(), rules=rules)


def _make_record(
    draw: Random, strategy: str, fate: RecordFate, start_ms: int, due_ms: int
) -> ScriptedRecord:
    """Return the record of a fate; its later trades opened on the day before."""
    today_ms = day_start_ms(start_ms)
    edge = 0.3 if fate is RecordFate.NULL else 0.8
    opened, past, later = [], [], []
    for day in range(DAYS):
        opened_ms = today_ms - (DAYS + 1 - day) * DAY_MS + HOUR_MS
        for number in range(PER_DAY):
            r = WIN if draw.random() < edge else LOSS
            trade = _trade(strategy, f"S{(day * PER_DAY + number) % 12:02}", opened_ms)
            opened.append(trade)
            past.append(_close(trade, opened_ms + HOUR_MS, r))
    results = {RecordFate.FAILS: [LOSS] * 80, RecordFate.RUINED: [RUIN]}.get(fate, [WIN] * 2)
    if fate is RecordFate.EARNS:  # its oldest trade is open until then
        later = [attrs.evolve(past.pop(0), closed_at_ms=due_ms)]
        results = []
    for number, r in enumerate(results):
        trade = _trade(strategy, f"T{number:02}", today_ms - HOUR_MS)
        opened.append(trade)
        later.append(_close(trade, due_ms, r))
    return ScriptedRecord(
        strategy=strategy,
        fate=fate,
        opened=tuple(opened),
        past=tuple(past),
        later=tuple(later),
        due_ms=due_ms,
    )


def _trade(strategy: str, symbol: str, opened_ms: int) -> ShadowTrade:
    one = D(1)
    return ShadowTrade(
        shadow_id=f"{opened_ms}.{strategy}.{symbol}",
        strategy=strategy,
        symbol=symbol,
        side=Side.LONG,
        score=one,
        verdict=RefinerVerdict.OFF,
        size_multiplier=one,
        p_win_pct=None,
        quantity=one,
        contract_size=one,
        planned_entry=D(1_000),
        entry_price=D(1_000),
        stop_price=D(900),
        target_price=D(1_230),
        planned_risk=RISK,
        half_spread=D(0),
        fee_rate=D(0),
        target_fee_rate=D(0),
        fee=D(0),
        slippage=D(0),
        opened_at_ms=opened_ms,
        closes_by_ms=0,
    )


def _close(trade: ShadowTrade, at_ms: int, r: Decimal) -> ClosedShadowTrade:
    return ClosedShadowTrade(
        shadow_id=trade.shadow_id,
        strategy=trade.strategy,
        symbol=trade.symbol,
        opened_at_ms=trade.opened_at_ms,
        closed_at_ms=at_ms,
        reason=ExitReason.TAKE_PROFIT if r > 0 else ExitReason.STOP_LOSS,
        exit_price=trade.entry_price + r * RISK,
        gross=r * RISK,
        fees=D(0),
        funding=D(0),
        slippage=D(0),
        pnl=r * RISK,
        r=r,
    )
