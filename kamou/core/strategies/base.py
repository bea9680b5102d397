"""What a strategy is: a name, a warm-up and a pure function from a panel to columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

import attrs
import numpy as np

from kamou.core.arrays import Codes, Floats, Mask
from kamou.core.codes import Abstain
from kamou.core.indicators.base import Indicator
from kamou.core.market.panel import Panel
from kamou.core.model import Bound

T = TypeVar("T")

FLAT_RELATIVE = 1e-9  # of the price: a deviation below this is rounding, not a market
STALE_PERIODS = 2  # data older than this many of its own periods is no basis for an opinion


DECLARED = "parameter"  # the key of a field's metadata


@attrs.frozen(kw_only=True)
class Parameter:
    """What a strategy's file says about one of its parameters, beside its type and default."""

    about: str  # what it is for
    unit: str
    low: Bound  # None: no bound
    high: Bound


def parameter(
    default: T, about: str, *, unit: str = "", low: Bound = None, high: Bound = None
) -> T:
    """Declare a field of ``Parameters``: a setting, with what is shown and checked of it.

    The setting's key is ``strategies.FILE.FIELD``. ``low`` and ``high`` are allowed values.
    """
    declared = Parameter(about=about, unit=unit, low=low, high=high)
    return attrs.field(default=default, metadata={DECLARED: declared})


@attrs.frozen(kw_only=True)
class Parameters:
    """Base of a strategy's parameters. Its file names its own in ``Strategy.parameter_class``."""

    def contradictions(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Values that are fine alone and wrong together: the fields, and what does not hold."""
        return ()


def declared_parameters(kind: type[Parameters]) -> dict[str, Parameter]:
    """Return what is declared of every field of a strategy's parameters, in their order."""
    return {field.name: field.metadata[DECLARED] for field in attrs.fields(kind)}


@attrs.frozen(kw_only=True)
class Requirement:
    """What a strategy asks of a symbol before it says anything of it; for `kamou why`."""

    wanted: str  # completes "the strategy wants", with its limits
    figures: tuple[str, ...]  # names of the features that it is asked of
    found: str = ""  # what a symbol that does not meet it has instead, in two words


@attrs.frozen(kw_only=True, eq=False)
class StrategyScores:
    """A strategy's columns over the panel's symbols at its newest closed bar, each ``[symbols]``.

    ``score`` in [-1, 1], > 0 long; meaningful only where ``abstain == 0``. A ``cross_sectional``
    strategy fills ``raw`` instead, also where it abstains for another reason than its data, and
    is scored when the shards are merged, because a rank needs all symbols. Distances are in
    price, > 0. ``weight`` multiplies the score (proxies).
    """

    strategy: str
    score: Floats
    raw: Floats  # NaN unless cross-sectional
    weight: Floats
    stop_distance: Floats
    target_distance: Floats
    abstain: Codes  # values of ``codes.Abstain``
    proxy: Codes  # index into the strategy's ``proxies``; 0 is none
    feature_names: tuple[str, ...]
    features: Floats  # [features, symbols]


class Strategy(Protocol):
    """Instances are immutable: all memory is the panel's, so one may serve many panels."""

    @property
    def name(self) -> str: ...

    @property
    def cross_sectional(self) -> bool: ...

    @property
    def score_min(self) -> float:
        """A |score| below this, before the weight, is no candidate."""
        ...

    @property
    def proxies(self) -> tuple[str, ...]:
        """Labels for ``StrategyScores.proxy``; the first is empty: no proxy."""
        ...

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        """The recursive states that ``evaluate`` reads from the panel."""
        ...

    @property
    def requirements(self) -> Mapping[Abstain, Requirement]:
        """What it asks before it scores, by the code that it abstains with otherwise.

        Codes of ``data_verdicts`` and of the ranking are left out.
        """
        ...

    @property
    def open_interest_span_ms(self) -> int:
        """How far back the open interest that ``evaluate`` reads goes; 0 when it reads none."""
        ...

    def hold_ms(self, period_ms: int) -> int:
        """The time stop: how long a position may be held."""
        ...

    def lookback_bars(self, period_ms: int) -> int:
        """The deepest window that ``evaluate`` reads."""
        ...

    def warmup_bars(self, period_ms: int) -> int:
        """Consecutive closed bars of a symbol needed before its first opinion."""
        ...

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        """Opinions at the panel's newest bar. Never raises on bad data: it abstains."""
        ...


class Verdicts:
    """The abstain column while it is being written: the first reason given to a symbol stands."""

    def __init__(self, symbols: int) -> None:
        self.codes: Codes = np.zeros(symbols, np.uint8)

    def abstain(self, where: Mask, code: Abstain) -> None:
        np.copyto(self.codes, np.uint8(code), where=where & (self.codes == 0))

    @property
    def speaking(self) -> Mask:
        return np.asarray(self.codes == 0)


def data_verdicts(panel: Panel, now_ms: int, warmup_bars: int) -> Verdicts:
    """Abstentions that every strategy shares: missing, stale and warming-up symbols."""
    verdicts = Verdicts(len(panel.symbols))
    seen = panel.last_close_ms >= 0
    fresh = panel.last_close_ms >= now_ms - STALE_PERIODS * panel.period_ms
    verdicts.abstain(seen & ~fresh, Abstain.DATA_STALE)
    verdicts.abstain(panel.count == 0, Abstain.DATA_MISSING)
    verdicts.abstain(panel.count < warmup_bars, Abstain.WARMING_UP)
    return verdicts


def failed(strategy: str, symbols: int) -> StrategyScores:
    """What stands in for the opinion of a strategy that raised: no symbol is spoken of."""
    unknown = np.full(symbols, np.nan)
    return StrategyScores(
        strategy=strategy,
        score=np.zeros(symbols),
        raw=unknown,
        weight=np.ones(symbols),
        stop_distance=unknown,
        target_distance=unknown,
        abstain=np.full(symbols, Abstain.STRATEGY_FAILED, np.uint8),
        proxy=np.zeros(symbols, np.uint8),
        feature_names=(),
        features=np.zeros((0, symbols)),
    )
