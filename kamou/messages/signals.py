"""Messages from scan to order: shard scores, cleared candidates, refined signals."""

from __future__ import annotations

from decimal import Decimal

import attrs
import numpy as np

from kamou.core.arrays import Codes, Floats
from kamou.core.model import Candidate
from kamou.messages.envelope import Expiring, Message


@attrs.frozen(kw_only=True, eq=False)
class StrategyColumns:
    """One strategy's scores of a shard's symbols: ``StrategyScores`` as a message."""

    strategy: str
    score: Floats
    raw: Floats
    weight: Floats
    stop_distance: Floats
    target_distance: Floats
    abstain: Codes
    proxy: Codes
    feature_names: tuple[str, ...]
    features: Floats  # [features, symbols]
    error: str = ""  # the error that the strategy raised


@attrs.frozen(kw_only=True, eq=False)
class ShardRanked(Message):
    """A shard's answer to ``BarsClosed``; without columns when no bar closed."""

    cycle_at_ms: int
    shard: int
    bar_closed_at_ms: int  # 0 when no bar closed
    close: Floats
    columns: tuple[StrategyColumns, ...]
    bars: Floats = attrs.field(factory=lambda: np.zeros(0))  # number of bars, per symbol
    last_close_ms: Floats = attrs.field(factory=lambda: np.zeros(0))  # per symbol; < 0: none


@attrs.frozen(kw_only=True)
class CandidatesCleared(Expiring):
    """Candidates without a veto, best first."""

    cycle_at_ms: int
    candidates: tuple[Candidate, ...]


@attrs.frozen(kw_only=True)
class RefinedSignal:
    """A candidate that the refiner did not refuse, and the factor of its size."""

    candidate: Candidate
    size_multiplier: Decimal  # 0 to 1


@attrs.frozen(kw_only=True)
class SignalsRefined(Expiring):
    """Signals that the refiner did not refuse, best first."""

    cycle_at_ms: int
    signals: tuple[RefinedSignal, ...]
