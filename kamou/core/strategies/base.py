"""The interface of a strategy, and the types and checks that strategies share.

These are parameters with their declarations, requirements, scores as columns, and abstentions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

import attrs
import numpy as np

from kamou.core.arrays import Codes, Floats, Ints, Mask
from kamou.core.codes import Abstain
from kamou.core.indicators.base import Indicator
from kamou.core.indicators.open_interest import spacing_ms
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import PanelBlock
from kamou.core.model import Bound

T = TypeVar("T")

FLAT_RELATIVE = 1e-9  # of the price: a smaller deviation is rounding
ENTRY_REST_MAX_MS = 600_000  # a plan's quote is not a basis for longer
STALE_PERIODS = 2  # in bars, or spacings of open interest: older ones get no score, no z-score


DECLARED = "parameter"  # key in a field's metadata


@attrs.frozen(kw_only=True)
class Parameter:
    """Declaration of one parameter of a strategy; its field has type and default."""

    about: str  # completes "This is the"
    unit: str
    low: Bound  # None: no bound
    high: Bound


def parameter(
    default: T, about: str, *, unit: str = "", low: Bound = None, high: Bound = None
) -> T:
    """Declare a field of ``Parameters`` as the setting ``strategies.FILE.FIELD``.

    Args:
        default: value of the setting if the operator gives none.
        about: description of the setting; completes "This is the".
        unit: unit of the value; empty: none.
        low: smallest allowed value; None: no bound.
        high: largest allowed value; None: no bound.
    """
    declared = Parameter(about=about, unit=unit, low=low, high=high)
    return attrs.field(default=default, metadata={DECLARED: declared})


@attrs.frozen(kw_only=True)
class Parameters:
    """Base class of a strategy's parameters.

    The strategy names its class of parameters in ``parameter_class``.
    """

    def contradictions(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Return the fields whose values are invalid together, with the broken condition.

        There is one pair of fields and condition for each contradiction.
        """
        return ()


def declared_parameters(kind: type[Parameters]) -> dict[str, Parameter]:
    """Return the declaration of each field of a strategy's parameters, in their order.

    Raises:
        KeyError: a field is not made by ``parameter``.
    """
    return {field.name: field.metadata[DECLARED] for field in attrs.fields(kind)}


@attrs.frozen(kw_only=True)
class Requirement:
    """A condition for a symbol's score, which `kamou why` shows if it is not met."""

    wanted: str  # the condition with its limits; completes "the strategy wants"
    figures: tuple[str, ...]  # names of the features in the condition
    found: str = ""  # text for a symbol that does not meet the condition, in two words


@attrs.frozen(kw_only=True, eq=False)
class StrategyScores:
    """A strategy's columns at the panel's newest closed bar, each ``[symbols]``.

    Those of a block are ``[bars, symbols]``, and its features ``[features, bars, symbols]``.

    ``score`` is in [-1, 1], > 0 for long, and valid only where ``abstain == 0``. A
    ``cross_sectional`` strategy fills ``raw`` instead, wherever its data is good; the merge of the
    shards makes its score, because a rank needs all symbols. Distances are in price, finite and > 0
    where the strategy does not abstain. ``weight`` in [0, 1] multiplies the score.
    """

    strategy: str
    score: Floats
    raw: Floats  # NaN unless cross-sectional with good data
    weight: Floats
    stop_distance: Floats
    target_distance: Floats
    abstain: Codes  # values of ``codes.Abstain``
    proxy: Codes  # index into the strategy's ``proxies``; 0 is none
    feature_names: tuple[str, ...]
    features: Floats  # [features, symbols]
    error: str = ""  # the error that the strategy raised; empty: none

    def at_bar(self, bar: int) -> StrategyScores:
        """Return the columns at one bar of a block."""
        return StrategyScores(
            strategy=self.strategy,
            score=self.score[bar],
            raw=self.raw[bar],
            weight=self.weight[bar],
            stop_distance=self.stop_distance[bar],
            target_distance=self.target_distance[bar],
            abstain=self.abstain[bar],
            proxy=self.proxy[bar],
            feature_names=self.feature_names,
            features=self.features[:, bar],
        )


class Strategy(Protocol):
    """A strategy (T1). Instances are immutable, so one may serve several panels."""

    @property
    def name(self) -> str: ...

    @property
    def cross_sectional(self) -> bool: ...

    @property
    def score_min(self) -> float:
        """Minimum |score|, before the weight, for a signal."""
        ...

    @property
    def proxies(self) -> tuple[str, ...]:
        """Labels for ``StrategyScores.proxy``; the first is empty: no proxy."""
        ...

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        """Indicators whose states ``evaluate`` reads from the panel."""
        ...

    @property
    def requirements(self) -> Mapping[Abstain, Requirement]:
        """Conditions of a score, by the code of the abstention if one is not met.

        The codes of ``check_data`` and of a small score are left out: those conditions are the
        same for all strategies.
        """
        ...

    @property
    def open_interest_span_ms(self) -> int:
        """Period of open interest that ``evaluate`` reads, in ms back from now; 0: none."""
        ...

    def hold_ms(self, period_ms: int) -> int:
        """Return the time limit of a position, in ms."""
        ...

    def lookback_bars(self, period_ms: int) -> int:
        """Return the longest window that ``evaluate`` reads, in bars."""
        ...

    def warmup_bars(self, period_ms: int) -> int:
        """Return the number of consecutive closed bars before a symbol's first score."""
        ...

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        """Return the scores at the panel's newest bar; abstain from symbols with bad data."""
        ...


@runtime_checkable
class BlockStrategy(Strategy, Protocol):
    """A strategy that also scores a block of bars at once.

    A backtest scores recorded data in blocks if all of its strategies are block strategies.
    Otherwise it evaluates all of them at each bar.
    """

    def evaluate_block(self, block: PanelBlock, now_ms: Ints) -> StrategyScores:
        """Return the scores at each bar of the block, bit for bit those of ``evaluate``.

        ``now_ms`` is the time of each evaluation, ``[bars, 1]``.
        """
        ...


@runtime_checkable
class FundingStrategy(Strategy, Protocol):
    """A strategy that also reads funding rates."""

    @property
    def funding_settlements(self) -> int:
        """Settlements of each symbol that ``evaluate`` reads; 0: none."""
        ...


@runtime_checkable
class FlowStrategy(Strategy, Protocol):
    """A strategy that also reads order flow."""

    @property
    def flow_windows(self) -> int:
        """Windows of order flow that ``evaluate`` reads; 0: none."""
        ...


@runtime_checkable
class RatioStrategy(Strategy, Protocol):
    """A strategy that also reads ratios of long to short accounts."""

    @property
    def ratio_hours(self) -> int:
        """Hours of ratios that ``evaluate`` reads; 0: none."""
        ...


@runtime_checkable
class PremiumStrategy(Strategy, Protocol):
    """A strategy that also reads the premium index."""

    @property
    def premium_hours(self) -> int:
        """Hours of the premium index that ``evaluate`` reads; 0: none."""
        ...


@runtime_checkable
class MarketStrategy(Strategy, Protocol):
    """A strategy that also reads the figures of the whole market."""

    @property
    def reads_market(self) -> bool:
        """True if ``evaluate`` reads them, in bars of its lookback."""
        ...


@runtime_checkable
class RestingStrategy(Strategy, Protocol):
    """A strategy whose entries may be post-only orders that rest until a deadline."""

    @property
    def entry_rest_ms(self) -> int:
        """Time for which an entry rests, in ms; 0: it takes.

        At most ``ENTRY_REST_MAX_MS``.
        """
        ...


class Verdicts:
    """The abstain column under construction, ``[symbols]`` or ``[bars, symbols]``.

    The first code given to a symbol stays.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.codes: Codes = np.zeros(shape, np.uint8)

    def abstain(self, where: Mask, code: Abstain) -> None:
        """Give the code to the symbols in the mask that have none."""
        np.copyto(self.codes, np.uint8(code), where=where & (self.codes == 0))

    @property
    def scored(self) -> Mask:
        """Mask of the symbols without an abstention."""
        return np.asarray(self.codes == 0)


def check_data(panel: Panel | PanelBlock, now_ms: int | Ints, warmup_bars: int) -> Verdicts:
    """Return the abstentions from symbols with missing, stale or too few bars.

    Args:
        panel: a panel, or its block.
        now_ms: time of the evaluation; for a block ``[bars, 1]``.
        warmup_bars: minimum number of consecutive valid bars.
    """
    verdicts = Verdicts(panel.count.shape)
    seen = panel.last_close_ms >= 0
    fresh = panel.last_close_ms >= now_ms - STALE_PERIODS * panel.period_ms
    verdicts.abstain(seen & ~fresh, Abstain.DATA_STALE)
    verdicts.abstain(panel.count == 0, Abstain.DATA_MISSING)
    verdicts.abstain(panel.count < warmup_bars, Abstain.WARMING_UP)
    return verdicts


def find_stale_interest_ms(times: Ints, _logs: Floats) -> Floats:
    """Return the instant, in ms, after which this open interest is stale, ``[1]``.

    It is NaN with fewer than two rows.
    """
    newest_ms = times[-1] if len(times) else 0
    return np.asarray([newest_ms + STALE_PERIODS * spacing_ms(times)])


def make_failed_scores(strategy: str, symbols: int, error: str = "") -> StrategyScores:
    """Return the columns of a strategy that raised, with abstentions for all symbols."""
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
        error=error,
    )
