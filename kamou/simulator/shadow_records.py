"""Shadow records of simulated strategies, which earn sizes and lose them.

The journal begins with the closed shadow trades of past days. The last trades of a record are still
open then, and hold back their day. They close during the simulation, which makes a canary, demotes
it or halts it. Histories, which also have changes of the past, are in ``gate_histories``. A tree
with such records has no shadow book.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from kamou.core.kinds import GateState
from kamou.core.record.gate import EarnedGate, Gate
from kamou.core.record.gate_transitions import GateRules
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.settings.config import Settings
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.gate_histories import TRADES_AT_ONCE, GateHistory, HistoryFate, make_history
from kamou.simulator.invariants.earned_sizes import SeenGate
from kamou.simulator.scripted_trades import LOSS, RUIN, WIN, close_shadow, open_shadow

_DAYS, _PER_DAY = 30, 3


class RecordFate(StrEnum):
    """What becomes of a strategy during a simulation."""

    STAYS = "stays a canary"
    EARNS = "becomes a canary"
    FAILS = "is demoted"
    RUINED = "is halted"
    NULL = "stays in SHADOW"

    @property
    def end(self) -> SeenGate:
        """State, size and attempt at the end."""
        return _ENDS[self]


_ENDS = {
    RecordFate.STAYS: SeenGate(state=GateState.CANARY),
    RecordFate.EARNS: SeenGate(state=GateState.CANARY),
    RecordFate.FAILS: SeenGate(attempt=2),
    RecordFate.RUINED: SeenGate(state=GateState.HALTED),
    RecordFate.NULL: SeenGate(),
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

    @property
    def end(self) -> SeenGate:
        """State, size and attempt once all its trades have closed."""
        return self.fate.end

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

    records: tuple[ScriptedRecord | GateHistory, ...]
    faults: tuple[FaultName, ...]  # that made the records
    chaos: Chaos
    gate: Gate
    rules: GateRules | None

    @property
    def final_states(self) -> Mapping[str, SeenGate]:
        """The end of each strategy with a record, once its trades have closed."""
        return {each.strategy: each.end for each in self.records}

    @property
    def kills(self) -> tuple[tuple[int, FaultName], ...]:
        """Kills at the moments at which trades close, before the changes follow."""
        both = {FaultName.GATE_HISTORY, FaultName.PROCESS_KILL} <= self.chaos.on
        return tuple((each.due_ms, FaultName.PROCESS_KILL) for each in self.records) if both else ()

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
            for fault in self.faults:
                self.chaos.note(fault)
            tree.journal.cast(record.later_event())
        while self.records:
            await trio.sleep(60)
            tree.mailboxes.wake_gate()


def make_gate(chaos: Chaos, settings: Settings, start_ms: int, end_ms: int) -> SimulatedGate:
    """Return a simulation's gate; with a fault each strategy has a drawn record.

    The first strategy may trade from the start.
    """
    faults = tuple(
        each for each in (FaultName.EARNED_GATE, FaultName.GATE_HISTORY) if each in chaos.on
    )
    if not faults:
        assumed = AssumedLiveGate()
        return SimulatedGate(records=(), faults=(), chaos=chaos, gate=assumed, rules=None)
    draw = chaos.draw(faults[-1])
    records: list[ScriptedRecord | GateHistory] = []
    for number, strategy in enumerate(settings.strategies.enabled):
        if FaultName.GATE_HISTORY in faults:
            told = draw.choice(list(HistoryFate) if number else TRADES_AT_ONCE)
            due_ms = start_ms + round((end_ms - start_ms) * draw.uniform(0.4, 0.8))
            records.append(make_history(draw, strategy, told, start_ms, due_ms))
            continue
        fate = draw.choice(
            list(RecordFate) if number else [RecordFate.STAYS, RecordFate.FAILS, RecordFate.RUINED]
        )
        due_ms = start_ms + round((end_ms - start_ms) * draw.uniform(0.4, 0.8))
        records.append(_make_record(draw, strategy, fate, start_ms, due_ms))
    rules = GateRules(equity=float(settings.equity))
    return SimulatedGate(
        records=tuple(records), faults=faults, chaos=chaos, gate=EarnedGate(), rules=rules
    )


def _make_record(
    draw: Random, strategy: str, fate: RecordFate, start_ms: int, due_ms: int
) -> ScriptedRecord:
    """Return the record of a fate; its later trades opened on the day before."""
    today_ms = day_start_ms(start_ms)
    edge = 0.3 if fate is RecordFate.NULL else 0.8
    opened, past, later = [], [], []
    for day in range(_DAYS):
        opened_ms = today_ms - (_DAYS + 1 - day) * DAY_MS + HOUR_MS
        for number in range(_PER_DAY):
            r = WIN if draw.random() < edge else LOSS
            trade = open_shadow(strategy, f"S{(day * _PER_DAY + number) % 12:02}", opened_ms)
            opened.append(trade)
            past.append(close_shadow(trade, opened_ms + HOUR_MS, r))
    results = {RecordFate.FAILS: [LOSS] * 80, RecordFate.RUINED: [RUIN]}.get(fate, [WIN] * 2)
    if fate is RecordFate.EARNS:  # its oldest trade is open until then
        later = [attrs.evolve(past.pop(0), closed_at_ms=due_ms)]
        results = []
    for number, r in enumerate(results):
        trade = open_shadow(strategy, f"T{number:02}", today_ms - HOUR_MS)
        opened.append(trade)
        later.append(close_shadow(trade, due_ms, r))
    return ScriptedRecord(
        strategy=strategy,
        fate=fate,
        opened=tuple(opened),
        past=tuple(past),
        later=tuple(later),
        due_ms=due_ms,
    )
