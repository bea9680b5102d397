"""Findings of a shadow record against real entries: hours, symbols, win rate.

Trades count by blocks, all trades that opened in one UTC day. A block counts once its day is over
and all its trades have closed, and a block with an open trade holds back every later one: otherwise
fast closes would count before slow ones.

Hours and symbols (``cell_vetoes.py``) are looked at whenever the record has grown to
``FIRST_LOOK_TRADES``, and to each double of it, so that few looks are taken; the findings of a look
last until the next one. The win rate may be looked at after every block: its e-value is that of a
bettor who bets on each block that fewer trades win than break even. For a strategy that breaks
even it ever reaches ``1 / WIN_RATE_ALPHA`` with a probability of at most ``WIN_RATE_ALPHA`` (Ville
1939), whichever of the break-even rates at or below its own is asked, because every bet grows with
the break-even rate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Protocol, TypeVar

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.record.cell_vetoes import Cells, is_win_rate_too_low, veto_cells

FIRST_LOOK_TRADES = 100
WIN_RATE_ALPHA = 0.025
WIN_RATE_LAMBDAS = (0.05, 0.10, 0.20, 0.30, 0.45, 0.60, 0.80)
"""Shares of the bets on blocks, fixed beforehand; below 1, so that no bet loses everything."""

Key = TypeVar("Key", bound=Hashable)


class ShadowOutcome(Protocol):
    """A closed shadow trade."""

    @property
    def symbol(self) -> str: ...
    @property
    def opened_at_ms(self) -> int: ...
    @property
    def r(self) -> Decimal: ...


class ShadowRecord(Protocol):
    """The shadow trades of all strategies."""

    def results_of(self, strategy: str) -> Sequence[ShadowOutcome]:
        """Return the strategy's closed trades."""
        ...

    def open_since_ms(self, strategy: str) -> int | None:
        """Return the time of its oldest open trade's opening; None without an open trade."""
        ...

    def count_opened_before(self, strategy: str, day: int) -> int:
        """Return how many of the closed trades opened before a UTC day (days since 1970)."""
        ...


@attrs.frozen(kw_only=True)
class LosingCell:
    """An hour or a symbol in which a strategy loses, at the last look."""

    trades: int
    mean_r: float


@attrs.frozen(kw_only=True)
class WinRecord:
    """Wins of a strategy's complete blocks. A trade wins if its R is above 0."""

    wins: int
    trades: int
    shares: tuple[Fraction, ...]  # of each block's trades that won

    def is_too_low(self, reward_to_risk: float) -> bool:
        """Return True if the win rate is below break-even with confidence.

        Wilson's upper bound must be below it, after at least 30 trades, and the e-value must have
        reached ``1 / WIN_RATE_ALPHA`` by the last block.

        Args:
            reward_to_risk: net of all costs, above 0; break-even is 1 / (1 + reward_to_risk).
        """
        if not is_win_rate_too_low(self.wins, self.trades, reward_to_risk):
            return False
        return self.e_value(1 / (1 + reward_to_risk)) * WIN_RATE_ALPHA >= 1

    def e_value(self, break_even: float) -> float:
        """Return the evidence that fewer trades win than ``break_even``.

        It is 1 without a block.
        """
        gains = [break_even - float(share) for share in self.shares]
        logs = [math.fsum(math.log1p(each * gain) for gain in gains) for each in WIN_RATE_LAMBDAS]
        top = max(logs)
        mean = math.fsum(math.exp(log - top) for log in logs) / len(logs)
        return math.exp(min(top + math.log(mean), 700.0))  # e^709 is the largest float


@attrs.frozen(kw_only=True)
class RecordFindings:
    """Findings against real entries of one strategy."""

    losing_hours: Mapping[int, LosingCell]  # by the hour of the UTC day in which trades opened
    losing_symbols: Mapping[str, LosingCell]
    wins: WinRecord
    looked_at: int = 0  # trades of the last look at hours and symbols


@attrs.define(eq=False)
class RecordJudge:
    """The findings of strategies, judged again only once a block is complete.

    Only complete blocks count, and a trade never changes once it has closed, so closes of other
    trades leave the findings as they are.
    """

    _known: dict[str, tuple[tuple[int, int], RecordFindings]] = attrs.field(
        init=False, factory=dict
    )

    def judge(self, record: ShadowRecord, strategy: str, now_ms: int) -> RecordFindings:
        """Return the findings of a strategy's record at ``now_ms``."""
        since_ms = record.open_since_ms(strategy)
        day = find_end_ms(now_ms, since_ms) // DAY_MS
        key = (day, record.count_opened_before(strategy, day))
        known = self._known.get(strategy)
        if known is not None and known[0] == key:
            return known[1]
        before = None if known is None else known[1]
        results = record.results_of(strategy)
        findings = judge_record(results, open_since_ms=since_ms, now_ms=now_ms, before=before)
        self._known[strategy] = (key, findings)
        return findings


def find_end_ms(now_ms: int, open_since_ms: int | None) -> int:
    """Return the time in whose UTC day the first block is that does not count yet."""
    return now_ms if open_since_ms is None else min(now_ms, open_since_ms)


def judge_record(
    results: Iterable[ShadowOutcome],
    *,
    open_since_ms: int | None,
    now_ms: int,
    before: RecordFindings | None = None,
) -> RecordFindings:
    """Return the findings of one strategy's closed shadow trades.

    Args:
        results: the closed trades, in any order.
        open_since_ms: opening of the oldest open trade; None without one.
        now_ms: the time; the block of its day is not complete.
        before: earlier findings of the same record, whose last look is taken if it is still the
            last one; None: none.
    """
    end_day = find_end_ms(now_ms, open_since_ms) // DAY_MS
    complete = [each for each in results if each.opened_at_ms // DAY_MS < end_day]
    looked_at, wins = _take_last_look(complete), _count_wins(complete)
    if before is not None and before.looked_at == len(looked_at):
        return attrs.evolve(before, wins=wins)
    return RecordFindings(
        losing_hours=_find_losing([(r.opened_at_ms // HOUR_MS % 24, r.r) for r in looked_at]),
        losing_symbols=_find_losing([(r.symbol, r.r) for r in looked_at]),
        wins=wins,
        looked_at=len(looked_at),
    )


def _take_last_look(complete: Sequence[ShadowOutcome]) -> list[ShadowOutcome]:
    """Return the trades of the blocks up to the last look; none before the first."""
    per_day = Counter(each.opened_at_ms // DAY_MS for each in complete)
    last_day, trades, wanted = -1, 0, FIRST_LOOK_TRADES
    for day in sorted(per_day):
        trades += per_day[day]
        if trades >= wanted:
            last_day = day
        while wanted <= trades:
            wanted *= 2
    return [each for each in complete if each.opened_at_ms // DAY_MS <= last_day]


def _find_losing(results: Sequence[tuple[Key, Decimal]]) -> dict[Key, LosingCell]:
    """Return the cells that ``veto_cells`` vetoes, by key."""
    number = {key: at for at, key in enumerate(dict.fromkeys(key for key, _ in results))}
    if not number:
        return {}
    where = np.array([number[key] for key, _ in results])
    values: Floats = np.array([float(r) for _, r in results])
    cells = Cells(
        n=np.bincount(where),
        total=_sum_by(where, values),
        squares=_sum_by(where, values * values),
    )
    vetoed = veto_cells(cells)
    return {
        key: LosingCell(trades=int(cells.n[at]), mean_r=float(cells.means[at]))
        for key, at in number.items()
        if vetoed[at]
    }


def _sum_by(where: Ints, values: Floats) -> Floats:
    sums: Floats = np.zeros(int(where.max()) + 1)
    np.add.at(sums, where, values)
    return sums


def _count_wins(complete: Sequence[ShadowOutcome]) -> WinRecord:
    trades = Counter(each.opened_at_ms // DAY_MS for each in complete)
    wins = Counter(each.opened_at_ms // DAY_MS for each in complete if each.r > 0)
    return WinRecord(
        wins=wins.total(),
        trades=trades.total(),
        shares=tuple(Fraction(wins[day], trades[day]) for day in sorted(trades)),
    )
