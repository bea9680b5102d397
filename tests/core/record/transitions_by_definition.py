"""The gate's transitions, statistics of demotion and limits, a second time by their definitions.

It shares nothing with ``core/record/gate_transitions.py``, ``demotion.py``, ``canary.py`` and
``core/book/gate_states.py``: times are dates, figures are fractions, paths are lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from hashlib import sha256
from typing import NamedTuple

from numpy.random import Generator

from tests.core.record.gate_by_definition import Line, day_of, figures


class Thresholds(NamedTuple):
    """Texts and numbers of ``strategies.md``; simulated gates have smaller ones."""

    e_value: int = 20
    trades: int = 50
    blocks: int = 14
    symbols: int = 10
    original_trades: int = 30
    live_closes: int = 30
    cooldown: timedelta = timedelta(days=7)
    equity: float = 10_000.0
    m0: str = "0.05"


class PairOf(NamedTuple):
    opened_at_ms: str
    real_r: str
    shadow_r: str


class Change(NamedTuple):
    """What the judge expects of one change."""

    before: str
    after: str
    half_size: bool
    attempt: int
    reason: str
    counted: int
    data_hash: str


class Seen(NamedTuple):
    """What may be known at one look, in any order."""

    now: datetime
    closed: list[Line]
    open_days: list[date]  # of open shadow trades
    pairs: list[PairOf]
    real_open_days: list[date]  # of open real trades of the canary


def order(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda x: (int(x.opened_at_ms), x.symbol, int(x.closed_at_ms)))


def worst_levels(results: Sequence[Fraction], k: Fraction) -> tuple[Fraction, Fraction]:
    """Return the highest CUSUM and the deepest fall of the running sum from its peak."""
    level = top = total = peak = fall = Fraction(0)
    for r in results:
        level = level + k - r
        if level < 0:
            level = Fraction(0)
        top = max(top, level)
        total = total + r
        peak = max(peak, total)
        fall = max(fall, peak - total)
    return top, fall


def walk_blocks(lines: Sequence[Line], trades: int, chance: Generator) -> list[Fraction]:
    """Return R of one path: blocks of the stationary bootstrap, joined and cut."""
    blocks: dict[date, list[Fraction]] = {}
    for line in order(lines):
        blocks.setdefault(day_of(line.opened_at_ms), []).append(Fraction(line.r))
    days = sorted(blocks)
    path: list[Fraction] = []
    at, drawn = 0, 0
    stay = 1 - 1 / max(1.0, len(days) ** (1 / 3))
    while len(path) < trades:
        at = (
            (at + 1) % len(days)
            if drawn and chance.random() < stay
            else int(chance.integers(len(days)))
        )
        drawn += 1
        path.extend(blocks[days[at]])
    return path[:trades]


@dataclass
class GateByDefinition:
    """A strategy's state, as its own looks have changed it."""

    need: Thresholds
    state: str = "SHADOW"
    half: bool = False
    attempt: int = 1
    fresh_from: date | None = None  # trades that opened earlier belong to earlier attempts
    not_before: datetime | None = None
    reference_ends: date | None = None
    canary_reference: list[Line] = field(default_factory=list)
    limits: tuple[Fraction, Fraction, Fraction] | None = None  # mean, CUSUM, drawdown
    known: dict[object, bool] = field(default_factory=dict)  # answers, because they take long

    def look(self, seen: Seen) -> Change | None:
        """Return the change that is due, and take it on."""
        if self.state == "HALTED":
            return None
        ended = [x for x in seen.closed if day_of(x.opened_at_ms) < self._first_unfinished(seen)]
        counted = [x for x in ended if not self._stale(x)]
        if self._ruined(seen.closed, ended):
            return self._become("HALTED", "ruin", counted, half=False)
        if self.state == "SHADOW":
            waits = self.not_before is not None and seen.now < self.not_before
            if waits or not self._earned(counted, 1):
                return None
            self.canary_reference = counted
            self.reference_ends = self._first_unfinished(seen)
            return self._become("CANARY", "canary_earned", counted, half=self._weak(counted))
        return self._trading(seen, counted)

    def _trading(self, seen: Seen, counted: list[Line]) -> Change | None:
        assert self.limits is not None
        assert self.reference_ends is not None
        since = [x for x in order(counted) if day_of(x.opened_at_ms) >= self.reference_ends]
        mean, cusum, drawdown = self.limits
        top, fall = worst_levels([Fraction(x.r) for x in since], mean / 2)
        if top > cusum or fall > drawdown:
            self.attempt += 1
            change = self._become(
                "SHADOW", "cusum" if top > cusum else "drawdown", counted, half=False
            )
            self.not_before = seen.now + self.need.cooldown
            self.fresh_from = seen.now.date() + timedelta(days=1)
            return change
        weak = self._weak(counted)
        if self.state == "CANARY" and self._earned(counted, 6) and self._pairs_agree(seen):
            return self._become("LIVE", "live_earned", counted, half=weak)
        if weak != self.half:
            return self._become(self.state, "rolling_mean", counted, half=weak)
        return None

    def _become(self, after: str, reason: str, counted: list[Line], *, half: bool) -> Change:
        text = "".join(
            f"{x.strategy},{x.opened_at_ms},{x.closed_at_ms},{x.symbol},{x.r},{x.pnl_usd}\n"
            for x in order(counted)
        )
        digest = sha256(text.encode()).hexdigest()
        change = Change(self.state, after, half, self.attempt, reason, len(counted), digest)
        self.state, self.half = after, half
        return change

    @staticmethod
    def _first_unfinished(seen: Seen) -> date:
        return min([seen.now.date(), *seen.open_days])

    def _stale(self, line: Line) -> bool:
        return self.fresh_from is not None and day_of(line.opened_at_ms) < self.fresh_from

    @staticmethod
    def _ruined(closed: list[Line], ended: list[Line]) -> bool:
        days: dict[date, list[Fraction]] = {}
        for line in ended:
            days.setdefault(day_of(line.opened_at_ms), []).append(Fraction(line.r))
        return any(Fraction(x.r) < -4 for x in closed) or any(
            sum(each) < -2 * len(each) for each in days.values()
        )

    @staticmethod
    def _weak(counted: list[Line]) -> bool:
        last = order(counted)[-30:]
        return len(last) == 30 and sum(Fraction(x.r) for x in last) < 0

    def _earned(self, counted: list[Line], factor: int) -> bool:
        key = (frozenset(counted), factor, self.attempt, self.fresh_from)
        if key not in self.known:
            self.known[key] = self._earns(counted, factor)
        return self.known[key]

    def _earns(self, counted: list[Line], factor: int) -> bool:
        need = self.need
        if len(counted) < max(need.trades, need.original_trades):
            return False
        found = figures(
            counted,
            equity=need.equity,
            m0=need.m0,
            attempt=self.attempt,
            first_day=self.fresh_from,
        )
        return (
            found.e_value_blocks >= factor * need.e_value * 2 ** (self.attempt - 1)
            and found.blocks >= need.blocks
            and found.symbols >= need.symbols
            and found.sharpe is not None
            and found.sharpe > 0.5
            and found.per_100 is not None
            and found.per_100 > 1
        )

    def _pairs_agree(self, seen: Seen) -> bool:
        end = min([self._first_unfinished(seen), *seen.real_open_days])
        pairs = [x for x in seen.pairs if day_of(x.opened_at_ms) < end]
        if len(pairs) < self.need.live_closes:
            return False
        gaps = [Fraction(x.shadow_r) - Fraction(x.real_r) for x in pairs]
        return sum(gaps) <= Fraction(1, 10) * len(gaps)
