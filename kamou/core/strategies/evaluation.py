"""``CheckedStrategy``, a strategy whose reads and scores are checked.

Strategies may come from outside of Kamou, so their code is not trusted: declarations are checked
once, reads by a ``PanelView``, scores at every bar. Each failure has one ``FailureKind``.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import NoReturn

import attrs
import numpy as np

from kamou.core.arrays import Ints, Mask
from kamou.core.codes import Abstain
from kamou.core.market.panel import INTEREST_PERIOD_MS, Panel
from kamou.core.market.panel_view import (
    DeclaredReads,
    PanelView,
    UndeclaredReadError,
    UnknownFieldError,
)
from kamou.core.strategies.base import (
    FlowStrategy,
    FundingStrategy,
    MarketStrategy,
    PremiumStrategy,
    RatioStrategy,
    Strategy,
    StrategyScores,
)
from kamou.core.strategies.declarations import find_invalid_declarations
from kamou.errors import ConfigurationError, KamouError, summarize_error

FLOAT_COLUMNS = ("score", "raw", "weight", "stop_distance", "target_distance")
CODE_COLUMNS = ("abstain", "proxy")
CODE_MAX = max(Abstain)
# What a strategy's code may raise. A SystemExit that nothing catches ends Kamou without an error.
StrategyError = Exception | SystemExit
_least, _most = np.minimum.reduce, np.maximum.reduce  # take half the time of the methods min, max


class FailureKind(StrEnum):
    """The rule that a strategy broke. Reports have these texts."""

    RAISED = "raised"  # another error of ``evaluate``
    FIELD_UNKNOWN = "field_unknown"  # an ``UnknownFieldError``
    READ_UNDECLARED = "read_undeclared"  # an ``UndeclaredReadError``
    NAME_WRONG = "name_wrong"  # the scores name another strategy
    COLUMN_WRONG = "column_wrong"  # type or shape of a column, the features, or the result's type
    CODE_UNKNOWN = "code_unknown"  # an abstention or a proxy
    SCORE_INVALID = "score_invalid"  # NaN, outside of -1 to 1, or an infinite raw value
    WEIGHT_INVALID = "weight_invalid"  # NaN, or outside of 0 to 1
    DISTANCE_INVALID = "distance_invalid"  # NaN, infinite, 0 or negative
    WARMUP_IGNORED = "warmup_ignored"  # a score before the warm-up ended


ERROR_KINDS: tuple[tuple[type[Exception], FailureKind], ...] = (
    (UnknownFieldError, FailureKind.FIELD_UNKNOWN),
    (UndeclaredReadError, FailureKind.READ_UNDECLARED),
)


class InvalidScoresError(KamouError):
    """A strategy's scores break a rule of ``StrategyScores``."""

    def __init__(self, kind: FailureKind, what: str, symbol: str = "") -> None:
        super().__init__(what)
        self.kind = kind
        self.symbol = symbol


@attrs.frozen(kw_only=True, eq=False)
class StrategyFailure:
    """One failed evaluation of a strategy."""

    strategy: str
    kind: FailureKind
    bar_closed_at_ms: int
    symbol: str  # empty: not known
    error: StrategyError
    summary: str  # the error with its type, unless its text is Kamou's own
    trace: TracebackType | None  # from the strategy's own frame on; None: no line of it raised
    file: str  # where it raised, else that of ``evaluate``
    line: int

    @property
    def place(self) -> str:
        """File and line, such as ``strategies/breakout.py:31``."""
        return f"{'/'.join(self.file.split('/')[-2:])}:{self.line}"


@attrs.frozen(kw_only=True, eq=False)
class CheckedStrategy:
    """A strategy with its declarations, for one length of bars."""

    strategy: Strategy
    name: str
    cross_sectional: bool
    proxies: int  # number of the strategy's labels
    warmup_bars: int
    reads: DeclaredReads

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        """Return the scores at the panel's newest bar.

        Raises:
            UnknownFieldError, UndeclaredReadError: as ``PanelView``.
            InvalidScoresError: as ``check``.
            Exception, SystemExit: what the strategy raises.
        """
        scores = self.strategy.evaluate(PanelView(panel, self.reads), now_ms)
        self.check(scores, panel.symbols, panel.count)
        return scores

    def check(self, scores: StrategyScores, symbols: Sequence[str], count: Ints) -> None:
        """Check the scores of one bar.

        Args:
            scores: the columns.
            symbols: the symbol of each element of a column.
            count: number of consecutive valid bars of each symbol, ``[symbols]``.

        Raises:
            InvalidScoresError: the first broken rule.
        """
        if not isinstance(scores, StrategyScores):
            _fail(
                FailureKind.COLUMN_WRONG,
                f"evaluate returned {type(scores).__name__}, not StrategyScores",
            )
        if scores.strategy != self.name:
            _fail(
                FailureKind.NAME_WRONG,
                f"the scores are of strategy {scores.strategy!r}, not of {self.name!r}",
            )
        _check_columns(scores, len(symbols))
        abstain = scores.abstain
        if len(abstain) and not 0 <= _least(abstain) <= _most(abstain) <= CODE_MAX:
            at = int(np.argmax((abstain < 0) | (abstain > CODE_MAX)))
            self._fail_at(FailureKind.CODE_UNKNOWN, "abstention", abstain[at], symbols[at])
        scored = (abstain == 0).nonzero()[0]
        if self.cross_sectional and np.isinf(scores.raw).any():
            at = int(np.argmax(np.isinf(scores.raw)))
            self._fail_at(FailureKind.SCORE_INVALID, "raw value", scores.raw[at], symbols[at])
        if not len(scored) or self._all_hold(scores, scored, count):
            return
        for kind, what, column, holds in self._rules(scores, scored, count):
            if not holds.all():
                at = int(scored[np.argmin(holds)])
                self._fail_at(kind, what, column[at], symbols[at])
        raise AssertionError("_all_hold found a broken rule of a scored symbol, _rules found none")

    def _all_hold(self, scores: StrategyScores, scored: Ints, count: Ints) -> bool:
        """Return True if all of ``_rules`` hold. A call takes a few microseconds.

        A comparison with NaN is False, so NaN breaks each rule.
        """
        score = scores.raw if self.cross_sectional else scores.score
        columns = (score, scores.weight, scores.stop_distance, scores.target_distance)
        values = np.array(columns)[:, scored]
        lows, highs = _least(values, axis=1).tolist(), _most(values, axis=1).tolist()
        least, most = (-math.inf, math.inf) if self.cross_sectional else (-1.0, 1.0)
        proxy = scores.proxy[scored]
        return bool(
            least <= lows[0]
            and highs[0] <= most
            and lows[1] >= 0
            and highs[1] <= 1
            and lows[2] > 0
            and highs[2] < math.inf
            and lows[3] > 0
            and highs[3] < math.inf
            and _least(proxy) >= 0
            and _most(proxy) < self.proxies
            and _least(count[scored]) >= self.warmup_bars
        )

    def _rules(
        self, scores: StrategyScores, scored: Ints, count: Ints
    ) -> Iterator[tuple[FailureKind, str, np.ndarray[tuple[int, ...], np.dtype[np.generic]], Mask]]:
        """Yield kind, name, column and mask of each rule; the masks are over ``scored``."""
        if self.cross_sectional:
            yield FailureKind.SCORE_INVALID, "raw value", scores.raw, ~np.isnan(scores.raw[scored])
        else:
            held = np.abs(scores.score[scored]) <= 1  # False for NaN, like the rules below
            yield FailureKind.SCORE_INVALID, "score", scores.score, held
        weight = scores.weight[scored]
        yield FailureKind.WEIGHT_INVALID, "weight", scores.weight, (weight >= 0) & (weight <= 1)
        for what, column in (
            ("stop distance", scores.stop_distance),
            ("target distance", scores.target_distance),
        ):
            distance = column[scored]
            held = (distance > 0) & (distance < np.inf)
            yield FailureKind.DISTANCE_INVALID, what, column, held
        proxy = scores.proxy[scored]
        yield FailureKind.CODE_UNKNOWN, "proxy", scores.proxy, (proxy >= 0) & (proxy < self.proxies)
        warm = count[scored] >= self.warmup_bars
        yield FailureKind.WARMUP_IGNORED, "score before its warm-up ended, at bar", count, warm

    def _fail_at(self, kind: FailureKind, what: str, value: object, symbol: str) -> NoReturn:
        wanted = {
            "abstention": f"0 to {CODE_MAX}, a member of Abstain",
            "raw value": "a finite number where it does not abstain",
            "score": "-1 to 1 where it does not abstain",
            "weight": "0 to 1 where it does not abstain",
            "proxy": f"0 to {self.proxies - 1}, an index into its proxies",
            "score before its warm-up ended, at bar": f"{self.warmup_bars} bars, its warmup_bars,"
            " or an abstention WARMING_UP (check_data gives it)",
        }.get(what, "a finite number above 0 where it does not abstain")
        _fail(kind, f"{symbol} has the {what} {value}; expected {wanted}", symbol)

    def describe(self, error: StrategyError, panel: Panel) -> StrategyFailure:
        """Return the failure for an error of ``evaluate``."""
        trace = _cut_trace(error.__traceback__)
        kind = FailureKind.RAISED
        if isinstance(error, InvalidScoresError):
            kind, trace = error.kind, None
        for error_class, named in ERROR_KINDS:
            kind = named if isinstance(error, error_class) else kind
        file, line = find_evaluate(self.strategy)
        if trace is not None:
            own = (_find_file(self.strategy), file, trace.tb_frame.f_code.co_filename)
            file, line = next(found for name in own for found in _last_line_of(trace, name))
        return StrategyFailure(
            strategy=self.name,
            kind=kind,
            bar_closed_at_ms=panel.close_ms,
            symbol=getattr(error, "symbol", "") if isinstance(error, InvalidScoresError) else "",
            error=error,
            summary=summarize_error(error),
            trace=trace,
            file=file,
            line=line,
        )


def _check_columns(scores: StrategyScores, width: int) -> None:
    shape = (width,)
    for names, kinds, wanted in ((FLOAT_COLUMNS, "f", "float64"), (CODE_COLUMNS, "iu", "uint8")):
        for name in names:
            column = getattr(scores, name)
            if not (
                isinstance(column, np.ndarray)
                and column.shape == shape
                and column.dtype.kind in kinds
            ):
                _fail(
                    FailureKind.COLUMN_WRONG,
                    f"{name} is {_describe_column(column)}; expected {wanted} of shape {shape},"
                    " one value for each symbol",
                )
    labels = scores.feature_names
    texts = isinstance(labels, tuple) and all(isinstance(label, str) for label in labels)
    if not texts or len(set(labels)) < len(labels):
        _fail(
            FailureKind.COLUMN_WRONG,
            f"feature_names is {labels!r}; expected a tuple of texts that are all different",
        )
    features, shape_of_features = scores.features, (len(labels), width)
    if not (
        isinstance(features, np.ndarray)
        and features.shape == shape_of_features
        and features.dtype.kind in "fiu"
    ):
        _fail(
            FailureKind.COLUMN_WRONG,
            f"features is {_describe_column(features)}; expected float64 of shape"
            f" {shape_of_features}, one row for each of feature_names",
        )


def _describe_column(column: object) -> str:
    if isinstance(column, np.ndarray):
        return f"{column.dtype} of shape {column.shape}"
    return f"of type {type(column).__name__}"


def _fail(kind: FailureKind, what: str, symbol: str = "") -> NoReturn:
    raise InvalidScoresError(kind, what, symbol)


def _cut_trace(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the strategy's own frame on; None without one."""
    while trace is not None and trace.tb_frame.f_code is not CheckedStrategy.evaluate.__code__:
        trace = trace.tb_next
    return trace.tb_next if trace is not None else None


def _last_line_of(trace: TracebackType | None, file: str) -> list[tuple[str, int]]:
    """Return the file with the line of its deepest frame; empty if it has no frame."""
    found: list[tuple[str, int]] = []
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            found = [(file, trace.tb_lineno)]
        trace = trace.tb_next
    return found


def _find_file(strategy: Strategy) -> str:
    """Return the file of the strategy's class; empty if unknown."""
    module = sys.modules.get(type(strategy).__module__)
    return getattr(module, "__file__", None) or ""


def find_evaluate(strategy: Strategy) -> tuple[str, int]:
    """Return file and line of a strategy's ``evaluate``, inside of its decorators.

    Return an empty text and 0 if they are unknown.
    """
    code = getattr(inspect.unwrap(strategy.evaluate), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code is not None else ("", 0)


def check_strategies(
    strategies: Mapping[str, Strategy], period_ms: int
) -> tuple[CheckedStrategy, ...]:
    """Check the declarations of strategies for one length of bars.

    Raises:
        ConfigurationError: declarations are missing or invalid, with a line for each; or reading a
            declaration raised an error.
    """
    problems = [
        f"the strategy {name} declares {what}"
        for name, strategy in strategies.items()
        for what in find_invalid_declarations(name, strategy, period_ms)
    ]
    if problems:
        raise ConfigurationError(*problems)
    return tuple(
        CheckedStrategy(
            strategy=strategy,
            name=name,
            cross_sectional=strategy.cross_sectional,
            proxies=len(strategy.proxies),
            warmup_bars=strategy.warmup_bars(period_ms),
            reads=DeclaredReads(
                strategy=name,
                bars=strategy.lookback_bars(period_ms),
                indicators=frozenset(strategy.indicators),
                open_interest_rows=count_interest_rows(strategy.open_interest_span_ms),
                funding_settlements=count_settlements(strategy),
                flow_windows=count_flow_windows(strategy),
                ratio_hours=count_ratio_hours(strategy),
                premium_hours=count_premium_hours(strategy),
                reads_market=need_market(strategy),
            ),
        )
        for name, strategy in strategies.items()
    )


def count_interest_rows(span_ms: int) -> int:
    """Return the number of rows of open interest that a period needs; 0: none."""
    return span_ms // INTEREST_PERIOD_MS + 2 if span_ms else 0


def count_settlements(strategy: Strategy) -> int:
    """Return the number of settlements of funding that the strategy reads; 0: none."""
    return strategy.funding_settlements if isinstance(strategy, FundingStrategy) else 0


def count_flow_windows(strategy: Strategy) -> int:
    """Return the number of windows of order flow that the strategy reads; 0: none."""
    return strategy.flow_windows if isinstance(strategy, FlowStrategy) else 0


def raise_failure(failure: StrategyFailure) -> None:
    """Raise the error of a strategy that failed, which crashes its scanner.

    A run in which a failed strategy abstains passes another function.
    """
    raise failure.error


def count_ratio_hours(strategy: Strategy) -> int:
    """Return the hours of long/short ratios that the strategy reads; 0: none."""
    return strategy.ratio_hours if isinstance(strategy, RatioStrategy) else 0


def count_premium_hours(strategy: Strategy) -> int:
    """Return the hours of the premium index that the strategy reads; 0: none."""
    return strategy.premium_hours if isinstance(strategy, PremiumStrategy) else 0


def need_market(strategy: Strategy) -> bool:
    """Return True if the strategy reads the figures of the whole market."""
    return isinstance(strategy, MarketStrategy) and strategy.reads_market
