"""Journals that begin with changes at the gate, close to the next thresholds.

The changes of the past days are those that the gate makes of the scripted shadow trades and of the
canaries' results, with the rules of a run. The trades that opened on the day before the simulation
are open at its start and close during it. They cross a threshold, or just do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from random import Random

import attrs

from kamou.core.book.events import Event, TradeClosed
from kamou.core.book.gate_states import StrategyGate
from kamou.core.book.position_book import PositionBook
from kamou.core.book.shadow_events import ShadowTrade, ShadowTradesClosed, ShadowTradesOpened
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS, day_start_ms
from kamou.core.kinds import ExitReason, GateState
from kamou.core.model import Side
from kamou.core.record.gate_record import gather_record
from kamou.core.record.gate_transitions import GateRules, find_transition
from kamou.simulator.invariants.earned_sizes import SeenGate
from kamou.simulator.scripted_trades import LOSS, RUIN, WIN, close_shadow, open_shadow

D = Decimal
_PER_DAY = 3
_LOOK_MS = 6 * MINUTE_MS  # of a past look, after 00:00 UTC
_COST = D("0.02")  # R by which a canary's results are below those of their shadows
_BETS = (0.02, 0.05, 0.08, 0.12, 0.16, 0.20, 0.25, 0.30, 0.36, 0.42)
_SPREAD = (D("1.5"), D(0), D("-1.5"))  # R of a day's trades around its mean
_LARGE_LOSS = D("1.9")  # R; a block with a mean below -2 R would halt the strategy
_CENT = D("0.01")
_JITTER = D(2)  # R between the means of two days in turn, so that limits allow for such days
_BIG, _SMALL = D(8), D("0.2")  # R of blocks: one doubles an e-value, the other hardly changes it


class HistoryFate(StrEnum):
    """What becomes of a strategy that has a history at the gate."""

    IS_LIVE = "is live from the first look on"
    BECOMES_LIVE = "becomes live"
    MISSES_LIVE = "stays a canary: its e-value is below 120"
    FEW_CLOSES = "stays a canary: it has 29 closes"
    FALLS_SHORT = "stays a canary: its results are 0.11 R below those of their shadows"
    LIVE_FALLS = "is live and is demoted by its drawdown"
    LIVE_FAILS = "is live and is demoted by its CUSUM"
    LIVE_RUINED = "is live and is halted"
    LIVE_HALVES = "is live and goes to half size"
    GROWS = "is a canary at half size and goes to full size"
    EARNS_AGAIN = "is demoted and becomes a canary at its second attempt"
    FAILS_AGAIN = "is demoted, and 20 is too little at its second attempt"

    @property
    def end(self) -> SeenGate:
        """State, size and attempt at the end."""
        state = GateState.CANARY
        if self in _LIVE:
            state = GateState.LIVE
        elif self in (self.LIVE_FALLS, self.LIVE_FAILS, self.FAILS_AGAIN):
            state = GateState.SHADOW
        elif self is self.LIVE_RUINED:
            state = GateState.HALTED
        second = self in (self.LIVE_FALLS, self.LIVE_FAILS, self.EARNS_AGAIN, self.FAILS_AGAIN)
        return SeenGate(state=state, half_size=self is self.LIVE_HALVES, attempt=2 if second else 1)


_F = HistoryFate
_LIVE = (_F.IS_LIVE, _F.BECOMES_LIVE, _F.LIVE_HALVES)
TRADES_AT_ONCE = tuple(each for each in HistoryFate if each not in (_F.EARNS_AGAIN, _F.FAILS_AGAIN))
"""Fates of strategies that are a canary or live from the start."""


@attrs.frozen(kw_only=True)
class GateHistory:
    """One strategy's past events, and its closes at ``due_ms``."""

    strategy: str
    fate: HistoryFate
    past: tuple[Event, ...]
    later: ShadowTradesClosed
    due_ms: int

    @property
    def end(self) -> SeenGate:
        """State, size and attempt once all its trades have closed."""
        return self.fate.end

    def past_events(self) -> Iterator[Event]:
        """Yield the events with which a journal begins."""
        yield from self.past

    def later_event(self) -> Event:
        """Return the event of the closes during the simulation."""
        return self.later


def make_history(
    draw: Random, strategy: str, fate: HistoryFate, start_ms: int, due_ms: int
) -> GateHistory:
    """Return the history of a fate for a simulation that starts at ``start_ms``."""
    script = _Script(strategy=strategy, draw=draw, today_ms=day_start_ms(start_ms))
    later = script.end(_SCRIPTS[fate](script), due_ms)
    return GateHistory(
        strategy=strategy,
        fate=fate,
        past=tuple(script.events),
        later=later,
        due_ms=due_ms,
    )


@attrs.define(kw_only=True)
class _Script:
    """The events of a past that ends with the day before ``today_ms``.

    Its days are numbered from the end: the trades of day 1 opened yesterday.
    """

    strategy: str
    draw: Random
    today_ms: int
    events: list[Event] = attrs.Factory(list)
    book: PositionBook = attrs.Factory(PositionBook)
    _opened: int = 0

    @property
    def gate(self) -> StrategyGate:
        """The strategy's state so far."""
        return self.book.gate.find(self.strategy)

    def trade(
        self, day: int, results: Sequence[Decimal], short: Decimal | None = None, real: int = 99
    ) -> None:
        """Open and close a day's shadow trades, and the real trades of a canary.

        ``short`` is the R by which the real trades are below their shadows; None: there are none.
        Only the first ``real`` shadow trades of the day have one.
        """
        opened = [self._open(day) for _ in results]
        closed_ms = opened[0].opened_at_ms + HOUR_MS
        self._add(ShadowTradesOpened(at_ms=closed_ms, cause_id=self.strategy, trades=tuple(opened)))
        pairs = list(zip(opened, results, strict=True))
        closed = tuple(close_shadow(trade, closed_ms, r) for trade, r in pairs)
        self._add(ShadowTradesClosed(at_ms=closed_ms, cause_id=self.strategy, trades=closed))
        if short is not None:
            for trade, r in pairs[:real]:
                self._add(_close_real(trade, closed_ms, r - short))

    def look(self, day: int) -> None:
        """Let the gate look on the morning after ``day``, and keep its change."""
        at_ms = self.today_ms - (day - 1) * DAY_MS + _LOOK_MS
        record = gather_record(self.book, self.strategy)
        change = find_transition(record, self.gate, at_ms, GateRules())
        if change is not None:
            self._add(change)

    def end(self, results: Sequence[Decimal], due_ms: int) -> ShadowTradesClosed:
        """Open the trades of yesterday; return their closes at ``due_ms``."""
        opened = [self._open(1) for _ in results]
        at_ms = opened[0].opened_at_ms
        self._add(ShadowTradesOpened(at_ms=at_ms, cause_id=self.strategy, trades=tuple(opened)))
        closed = [close_shadow(trade, due_ms, r) for trade, r in zip(opened, results, strict=True)]
        return ShadowTradesClosed(at_ms=due_ms, cause_id=self.strategy, trades=tuple(closed))

    def lucky(self) -> list[Decimal]:
        """Return a day of a strategy with a large edge."""
        return [WIN if self.draw.random() < 0.8 else LOSS for _ in range(_PER_DAY)]

    def _open(self, day: int) -> ShadowTrade:
        self._opened += 1
        opened_ms = self.today_ms - day * DAY_MS + HOUR_MS
        return open_shadow(self.strategy, f"H{self._opened:03}", opened_ms)

    def _add(self, event: Event) -> None:
        self.events.append(event)
        self.book.apply(len(self.events), event)


def _close_real(shadow: ShadowTrade, at_ms: int, r: Decimal) -> TradeClosed:
    """Return a canary's result, without money: the venue knows nothing of it."""
    return TradeClosed(
        at_ms=at_ms,
        trade_id=shadow.shadow_id,
        symbol=shadow.symbol,
        strategy=shadow.strategy,
        side=Side.LONG,
        quantity=shadow.quantity,
        contract_size=shadow.contract_size,
        entry_price=shadow.entry_price,
        exit_price=shadow.entry_price,
        stop_price=shadow.stop_price,
        opened_at_ms=shadow.opened_at_ms,
        closed_at_ms=at_ms,
        pnl_gross=D(0),
        fees=D(0),
        funding=D(0),
        slippage=D(0),
        pnl_net=D(0),
        r_multiple=r,
        exit_reason=ExitReason.EXIT,
    )


# --- results --------------------------------------------------------------------------


def reach_e_value(
    means: Sequence[Decimal], days: int, e_value: float, jitter: Decimal = _JITTER
) -> list[Decimal]:
    """Return means of ``days`` further blocks that lead to an e-value.

    ``means`` are those of the blocks so far; all but the e-value are R.
    """
    low, high = -0.5, 5.0
    for _ in range(40):
        middle = (low + high) / 2
        if _wealth([*means, *_days_around(middle, days, jitter)]) < e_value:
            low = middle
        else:
            high = middle
    return _days_around(high, days, jitter)


def _days_around(mean: float, days: int, jitter: Decimal) -> list[Decimal]:
    return [D(f"{mean:.3f}") + (jitter if day % 2 else -jitter) / 2 for day in range(days)]


def _wealth(means: Sequence[Decimal]) -> float:
    gains = [float(each) - 0.05 for each in means]
    return sum(math.prod(1 + bet * gain for gain in gains) for bet in _BETS) / len(_BETS)


def _spread(mean: Decimal) -> list[Decimal]:
    return [mean + each for each in _SPREAD]


_WEAK = [LOSS, LOSS, WIN]  # a day with a mean of 0.07 R
_STEADY = [WIN, LOSS, WIN]  # a day after which no sum of losses is left
_REFERENCE, _CANARY = 17, 10  # days; 51 trades and 30 closes


def _close_canary(
    script: _Script, e_value: float, short: Decimal = _COST, lacking: int = 0
) -> None:
    """Script a canary with 30 closes less ``lacking``, and with this e-value."""
    means = reach_e_value([], _REFERENCE, 22)
    for number, mean in enumerate(means):
        script.trade(1 + _CANARY + _REFERENCE - number, _spread(mean))
    script.look(2 + _CANARY)
    for number, mean in enumerate(reach_e_value(means, _CANARY, e_value, jitter=D(0))):
        real = _PER_DAY - lacking * (number == 0)
        script.trade(1 + _CANARY - number, [mean] * _PER_DAY, short, real)


def _strong_live(script: _Script, reference: int, weak: int = 0) -> None:
    """Script a live strategy with a large edge, and days without one."""
    for day in range(1 + _CANARY + weak + reference, 1 + _CANARY + weak, -1):
        script.trade(day, script.lucky())
    for day in range(1 + _CANARY + weak, 1 + _CANARY, -1):
        script.trade(day, _WEAK if day % 7 else [LOSS] * _PER_DAY)
    script.look(2 + _CANARY)
    for day in range(1 + _CANARY, 1, -1):
        script.trade(day, _WEAK if weak else _STEADY, _COST)
    script.look(2)


def _fall(script: _Script) -> list[Decimal]:
    """Return few losses that exceed the limit of the drawdown, not that of the CUSUM."""
    limits = script.gate.limits
    assert limits is not None, "the script's strategy is not live"
    count = math.floor(limits.drawdown / _LARGE_LOSS) + 1
    return [-(limits.drawdown / count).quantize(_CENT, rounding=ROUND_CEILING) - _CENT] * count


def _is_live(script: _Script) -> list[Decimal]:
    _close_canary(script, 130)
    return [_SMALL]


def _becomes_live(script: _Script) -> list[Decimal]:
    _close_canary(script, 100)
    return [_BIG]


def _misses_live(script: _Script) -> list[Decimal]:
    _close_canary(script, 100)
    return [_SMALL]


def _few_closes(script: _Script) -> list[Decimal]:
    _close_canary(script, 130, lacking=1)
    return [_SMALL]


def _falls_short(script: _Script) -> list[Decimal]:
    _close_canary(script, 130, short=D("0.11"))
    return [_SMALL]


def _live_falls(script: _Script) -> list[Decimal]:
    _strong_live(script, 25)
    return _fall(script)


def _live_fails(script: _Script) -> list[Decimal]:
    _strong_live(script, 25)
    return [LOSS] * 80


def _live_ruined(script: _Script) -> list[Decimal]:
    _strong_live(script, 25)
    return [RUIN]


def _live_halves(script: _Script) -> list[Decimal]:
    _strong_live(script, 20, weak=14)
    return [LOSS] * _PER_DAY


def _grows(script: _Script) -> list[Decimal]:
    for day in range(32, 12, -1):
        script.trade(day, script.lucky())
    for day in range(12, 2, -1):
        script.trade(day, _WEAK)
    script.trade(2, [LOSS] * _PER_DAY)
    return [WIN] * _PER_DAY


def _second_attempt(script: _Script) -> None:
    """Script a demotion, and fresh trades whose e-value is just above 20."""
    for day in range(60, 35, -1):
        script.trade(day, script.lucky())
    script.look(36)
    script.trade(35, [LOSS] * 40)
    script.look(35)
    for number, mean in enumerate(reach_e_value([], _REFERENCE, 32)):
        script.trade(1 + _REFERENCE - number, _spread(mean))
    script.look(2)


def _earns_again(script: _Script) -> list[Decimal]:
    _second_attempt(script)
    return [_BIG]


def _fails_again(script: _Script) -> list[Decimal]:
    _second_attempt(script)
    return [_SMALL]


_SCRIPTS = {
    _F.IS_LIVE: _is_live,
    _F.BECOMES_LIVE: _becomes_live,
    _F.MISSES_LIVE: _misses_live,
    _F.FEW_CLOSES: _few_closes,
    _F.FALLS_SHORT: _falls_short,
    _F.LIVE_FALLS: _live_falls,
    _F.LIVE_FAILS: _live_fails,
    _F.LIVE_RUINED: _live_ruined,
    _F.LIVE_HALVES: _live_halves,
    _F.GROWS: _grows,
    _F.EARNS_AGAIN: _earns_again,
    _F.FAILS_AGAIN: _fails_again,
}
