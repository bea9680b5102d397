"""The ranking of a cycle, which merges the scores of all shards and strategies.

A shard is fresh if it answered with the newest bar of all shards; otherwise it is late.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import attrs
import numpy as np

from kamou.core.arrays import Codes, Floats, Ints
from kamou.core.codes import Abstain
from kamou.core.indicators.regime import find_regimes
from kamou.core.indicators.regime_terms import SymbolRegime
from kamou.core.model import Candidate, Figure, Ranked, Side
from kamou.core.strategies.base import RestingStrategy, Strategy, StrategyScores
from kamou.ids import make_signal_id

BITCOIN = ("BTC", "XBT")  # how exchanges begin the symbol of Bitcoin
ABSTENTIONS = tuple((int(code), code.name) for code in Abstain if code)


class ShardColumns(Protocol):
    """The scan of one shard: its index, newest bar, closes and strategies' columns."""

    @property
    def shard(self) -> int: ...
    @property
    def bar_closed_at_ms(self) -> int:
        """Close time of the newest bar; 0 if no bar closed."""
        ...

    @property
    def close(self) -> Floats: ...
    @property
    def columns(self) -> Sequence[StrategyScores]: ...
    @property
    def regimes(self) -> Floats | None:
        """Figures of the regimes, ``[figures, symbols]``; None: no regime is computed."""
        ...


@attrs.frozen(kw_only=True)
class RankedCycle:
    """The counts of one cycle's ranking, and its best candidates.

    Abstentions are counted by ``strategy.CODE``.
    """

    bar_closed_at_ms: int  # 0 if no bar closed in this cycle
    symbols: int  # of fresh shards
    candidates: int  # signals, of which ``top`` has the best of each strategy
    by_strategy: tuple[Figure, ...]  # number of signals of each strategy that has one
    abstained: tuple[Figure, ...]
    late_shards: int
    top: tuple[Candidate, ...]
    # Of the symbols in ``top``, and of those whose name begins as Bitcoin's.
    regimes: Mapping[str, SymbolRegime] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Ranking(RankedCycle):
    """The ranking of one cycle with the columns that it is made from."""

    names: tuple[str, ...] = attrs.field(eq=False, repr=False)  # symbols of fresh shards
    scored: tuple[Scored, ...] = attrs.field(eq=False, repr=False)  # every strategy's columns

    def without_columns(self) -> RankedCycle:
        """Return the counts and the best candidates, which a message can carry."""
        return RankedCycle(
            bar_closed_at_ms=self.bar_closed_at_ms,
            symbols=self.symbols,
            candidates=self.candidates,
            by_strategy=self.by_strategy,
            abstained=self.abstained,
            late_shards=self.late_shards,
            top=self.top,
            regimes=self.regimes,
        )


def cross_section_rank(values: Floats) -> Floats:
    """Return the ranks of the values in [-1, 1], both ``[symbols]``.

    Equal values get the mean of their ranks, a single value gets 0, and NaN stays NaN.
    """
    ranks = np.full(values.shape, np.nan)
    known = ~np.isnan(values)
    ordered = np.sort(values[known])
    if len(ordered) == 1:
        ranks[known] = 0.0
    elif len(ordered):
        first = np.searchsorted(ordered, values[known], side="left")
        last = np.searchsorted(ordered, values[known], side="right") - 1
        ranks[known] = (first + last) / (len(ordered) - 1) - 1.0
    return ranks


def merge_shards(
    shards: Sequence[ShardColumns],
    *,
    universe: Sequence[Sequence[str]],
    strategies: Mapping[str, Strategy],
    period_ms: int,
    top: int,
) -> Ranking:
    """Merge the shards that answered into one ranking.

    A shard without an answer, or whose newest bar is older than that of another, is left out and
    counted as late. Ties in |weighted score| are ordered by symbol, then strategy, so that equal
    inputs give equal rankings.

    Args:
        shards: the scans of the shards that answered.
        universe: symbols of each shard, by its index.
        strategies: the strategies by name.
        period_ms: length of the bars.
        top: maximum number of candidates of each strategy in ``Ranking.top``.
    """
    bar_closed_at_ms = max((s.bar_closed_at_ms for s in shards), default=0)
    fresh = [s for s in shards if s.bar_closed_at_ms == bar_closed_at_ms]
    symbols = [name for s in fresh for name in universe[s.shard]]
    late = len(universe) - len({s.shard for s in fresh})
    close = np.concatenate([s.close for s in fresh]) if bar_closed_at_ms else np.zeros(0)
    scored = tuple(
        Scored.of_shards(strategy, [_columns_of(s, name) for s in fresh])
        for name, strategy in strategies.items()
        if bar_closed_at_ms
    )
    regimes = [s.regimes for s in fresh if s.regimes is not None]
    bar = ScoredBar(
        symbols=tuple(symbols),
        close=close,
        closed_at_ms=bar_closed_at_ms,
        period_ms=period_ms,
        regimes=np.concatenate(regimes, axis=1) if regimes and bar_closed_at_ms else None,
    )
    return rank_bar(bar, scored, top=top, late_shards=late)


@attrs.frozen(kw_only=True, eq=False)
class ScoredBar:
    """The closed bar that strategies scored."""

    symbols: tuple[str, ...]
    close: Floats  # [symbols]
    closed_at_ms: int  # 0 if no bar closed in this cycle
    period_ms: int
    regimes: Floats | None = None  # [figures, symbols]; None: no regime is computed


def rank_bar(
    bar: ScoredBar, scored: tuple[Scored, ...], *, top: int, late_shards: int = 0
) -> Ranking:
    """Return the ranking of all strategies' scores at one bar; see ``merge_shards``."""
    symbols = bar.symbols
    signals = [part.signals() for part in scored]
    counts = {
        part.strategy.name: len(where) for part, (where, _) in zip(scored, signals, strict=True)
    }
    ordered = sorted(
        (-strength, symbols[i], part.strategy.name, i, part)
        for part, (where, strengths) in zip(scored, signals, strict=True)
        for i, strength in _find_strongest(where, strengths, symbols, top)
    )
    best = tuple(part.candidate(i, bar) for *_, i, part in ordered)
    return Ranking(
        bar_closed_at_ms=bar.closed_at_ms,
        symbols=len(symbols),
        candidates=sum(counts.values()),
        by_strategy=tuple(
            Figure(name=name, value=str(count)) for name, count in sorted(counts.items()) if count
        ),
        abstained=tuple(figure for part in scored for figure in part.abstentions()),
        late_shards=late_shards,
        top=best,
        regimes=_find_regimes(bar, best),
        names=symbols,
        scored=scored,
    )


def _find_strongest(
    where: Ints, strengths: Floats, symbols: Sequence[str], top: int
) -> list[tuple[int, float]]:
    """Return index and strength of one strategy's ``top`` strongest signals.

    Equal ones are ordered by symbol. To order all signals as tuples would take most of the time of
    a merge.
    """
    if len(where) > top > 0:
        least = np.partition(strengths, len(where) - top)[len(where) - top]
        where, strengths = where[strengths >= least], strengths[strengths >= least]
    found = zip(where.tolist(), strengths.tolist(), strict=True)
    return sorted(found, key=lambda each: (-each[1], symbols[each[0]]))[:top]


def _find_regimes(bar: ScoredBar, best: tuple[Candidate, ...]) -> Mapping[str, SymbolRegime]:
    if bar.regimes is None or not best:
        return {}
    wanted = {each.symbol for each in best}
    wanted |= {symbol for symbol in bar.symbols if symbol.startswith(BITCOIN)}
    return find_regimes(bar.symbols, bar.regimes, frozenset(wanted))


def to_ranked(candidate: Candidate) -> Ranked:
    """Return the part of a candidate that ``CycleRanked`` stores.

    Its score has six significant digits.
    """
    return Ranked(
        strategy=candidate.strategy,
        symbol=candidate.symbol,
        side=candidate.side,
        score=float(f"{candidate.score:.6g}"),
    )


def _columns_of(shard: ShardColumns, strategy: str) -> StrategyScores:
    for columns in shard.columns:
        if columns.strategy == strategy:
            return columns
    raise AssertionError(f"shard {shard.shard} has no columns of {strategy}")


def score_symbols(
    strategy: Strategy, raw: Floats, score: Floats, abstain: Codes
) -> tuple[Floats, Codes]:
    """Return the scores of all symbols, and their abstentions.

    Arrays are ``[symbols]``, or ``[bars, symbols]`` for a block of bars. The score of a
    cross-sectional strategy is the rank of its raw value; it abstains with ``NO_TRIGGER`` if the
    two have different signs. Every strategy abstains with ``SCORE_TOO_SMALL`` from a score that is
    0, NaN, or smaller in absolute value than its ``score_min``. An earlier abstention stays.

    Args:
        strategy: the strategy that scored the symbols.
        raw: its raw values; used if it is cross-sectional.
        score: its scores; used if it is not.
        abstain: its abstentions.
    """
    abstain = abstain.copy()
    if strategy.cross_sectional:
        rows = raw.reshape(-1, raw.shape[-1])
        score = np.stack([cross_section_rank(row) for row in rows]).reshape(raw.shape)
        # A rank has no direction: the strongest symbol of a falling market may fall too.
        agrees = np.sign(score) == np.sign(raw)
        abstain[~agrees & (abstain == 0)] = Abstain.NO_TRIGGER
    weak = ~(np.abs(score) >= strategy.score_min) | (score == 0)
    abstain[weak & (abstain == 0)] = Abstain.SCORE_TOO_SMALL
    return score, abstain


@attrs.frozen(kw_only=True, eq=False)
class Scored:
    """One strategy's columns over all fresh shards, with scores and abstentions.

    Arrays are ``[symbols]``. An index is a position among the symbols of all these shards.
    """

    strategy: Strategy
    parts: Sequence[StrategyScores]
    score: Floats
    abstain: Codes
    weight: Floats

    @classmethod
    def of_shards(cls, strategy: Strategy, parts: Sequence[StrategyScores]) -> Scored:
        """Return the merged columns, in the order of the shards."""
        raw = np.concatenate([p.raw for p in parts])
        score = np.concatenate([p.score for p in parts])
        abstain = np.concatenate([p.abstain for p in parts])
        score, abstain = score_symbols(strategy, raw, score, abstain)
        weight = np.concatenate([p.weight for p in parts])
        return cls(strategy=strategy, parts=parts, score=score, abstain=abstain, weight=weight)

    def abstentions(self) -> Iterator[Figure]:
        """Yield the number of abstentions of each code, named ``strategy.CODE``."""
        counts = np.bincount(self.abstain, minlength=len(Abstain)).tolist()
        for code, name in ABSTENTIONS:
            if counts[code]:
                yield Figure(name=f"{self.strategy.name}.{name}", value=str(counts[code]))

    def features(self) -> tuple[tuple[str, ...], Floats]:
        """Return the names and values of the features, ``[features, symbols]``.

        The values are NaN for the symbols of a shard in which the strategy failed.
        """
        names: tuple[str, ...] = max((p.feature_names for p in self.parts), key=len, default=())
        blocks = [
            part.features
            if part.feature_names == names
            else np.full((len(names), len(part.abstain)), np.nan)
            for part in self.parts
        ]
        return names, np.concatenate(blocks, axis=1) if blocks else np.zeros((len(names), 0))

    def signals(self) -> tuple[Ints, Floats]:
        """Return indices and |weighted scores| of all symbols without an abstention."""
        where = np.flatnonzero(self.abstain == 0)
        return where, np.abs(self.score[where] * self.weight[where])

    def candidate(self, at: int, bar: ScoredBar) -> Candidate:
        """Return the candidate at the merged index ``at``."""
        part, i = self._locate(at)
        symbol, bar_closed_at_ms = bar.symbols[at], bar.closed_at_ms
        strategy = self.strategy
        figures: list[float] = part.features[:, i].tolist()
        return Candidate(
            signal_id=make_signal_id(bar_closed_at_ms, strategy.name, symbol),
            strategy=strategy.name,
            symbol=symbol,
            side=Side.of(float(self.score[at])),
            score=abs(float(self.score[at] * self.weight[at])),
            close=float(bar.close[at]),
            stop_distance=float(part.stop_distance[i]),
            target_distance=float(part.target_distance[i]),
            hold_ms=strategy.hold_ms(bar.period_ms),
            bar_opened_at_ms=bar_closed_at_ms - bar.period_ms,
            bar_closed_at_ms=bar_closed_at_ms,
            # Finite features only, because NaN has no canonical JSON; six significant digits are
            # enough for people.
            features=tuple(
                (name, float(f"{value:.6g}"))
                for name, value in zip(part.feature_names, figures, strict=True)
                if math.isfinite(value)
            ),
            proxy=strategy.proxies[int(part.proxy[i])],
            rest_ms=strategy.entry_rest_ms if isinstance(strategy, RestingStrategy) else 0,
        )

    def _locate(self, at: int) -> tuple[StrategyScores, int]:
        """Return the shard's columns with the merged index ``at``, and the index in them."""
        begin = 0
        for part in self.parts:
            if at < begin + len(part.abstain):
                return part, at - begin
            begin += len(part.abstain)
        raise AssertionError(f"index {at} is beyond the {begin} merged symbols")
