"""Messages from scan to order: shard scores, cleared candidates, refined signals."""

from __future__ import annotations

from decimal import Decimal

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.model import Candidate
from kamou.core.ranking.ranking import RankedCycle
from kamou.core.shadow.opening import JudgedCandidate
from kamou.core.strategies.base import StrategyScores
from kamou.messages.envelope import Expiring, Message


@attrs.frozen(kw_only=True, eq=False)
class ShardRanked(Message):
    """A shard's answer to ``BarsClosed``.

    It has no columns if no bar closed, or if ``ranking`` has the ranking of the whole cycle.
    """

    cycle_at_ms: int
    shard: int
    bar_closed_at_ms: int  # 0: no bar closed
    close: Floats  # of the newest bar, per symbol; empty without columns
    columns: tuple[StrategyScores, ...]
    bars: Floats = attrs.field(factory=lambda: np.zeros(0))  # number of bars, per symbol
    last_close_ms: Floats = attrs.field(factory=lambda: np.zeros(0))  # per symbol; < 0: none
    regimes: Floats | None = None  # [figures, symbols]; None: no bar closed, or none is computed
    ranking: RankedCycle | None = None  # of the whole cycle, if scores of recorded data made it


@attrs.frozen(kw_only=True)
class CandidatesCleared(Expiring):
    """Candidates without a veto, best first.

    Those of ``shadow_only`` have vetoes of real entries alone: only a shadow record may use them.
    """

    cycle_at_ms: int
    candidates: tuple[Candidate, ...]
    shadow_only: tuple[Candidate, ...] = ()


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


@attrs.frozen(kw_only=True)
class CandidatesJudged(Expiring):
    """Candidates of a cycle with the refiner's verdicts, best first.

    The shadow book gets all of them, refused ones too.
    """

    candidates: tuple[JudgedCandidate, ...]


@attrs.frozen(kw_only=True)
class ShadowRecordGrew(Message):
    """A notice to the gate's actor that shadow trades have closed."""
