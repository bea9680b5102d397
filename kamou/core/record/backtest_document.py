"""The report of a backtest as a JSON document; ``docs/backtest.md`` describes it.

Money, prices and quantities are decimal text; ratios and counts are numbers. Names that end in
``_ms`` are milliseconds: instants since 1970 in UTC, or durations. No number is infinite or NaN.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class StrategyReport(TypedDict):
    """Signals, abstentions and closed trades of one strategy.

    ``without_r`` counts the trades of which a part had no plan. These have no R. ``mean_r`` is the
    mean of the others; None if there are none. ``wanted`` has the strategy's own conditions by the
    code of an abstention, if one is not met; other codes mean the same for all strategies.
    """

    candidates: int  # signals, also those beyond the best of a cycle
    abstained: dict[str, int]  # number of abstentions by code, the most frequent first
    wanted: dict[str, str]  # conditions of the codes in ``abstained``
    trades: int
    wins: int
    pnl_net: str  # money, decimal text
    mean_r: float | None
    without_r: int


class FailureReport(TypedDict):
    """Failures of one strategy of one kind at one place; ``error`` is of the first."""

    strategy: str
    kind: str  # a ``FailureKind``
    place: str  # file and line
    count: int  # number of failed evaluations; one evaluation is of one bar and shard
    error: str
    symbol: str  # of the first failure; empty: not known
    first_at_ms: int  # close of the first bar at which it failed
    last_at_ms: int  # close of the newest such bar


class ViolationReport(TypedDict):
    """One violation of a hard rule, as ``kamou.venue.checker`` found it."""

    rule: str
    at_ms: int
    symbol: str
    detail: str


class BacktestFigure(TypedDict):
    """One figure. If ``value`` is None, ``reason`` says why; else ``reason`` is None.

    ``n`` is the number of observations. ``low`` and ``high`` are the 95 % interval of the win
    rate; other figures have none.
    """

    value: float | None
    reason: str | None
    n: int
    unit: str
    low: NotRequired[float]
    high: NotRequired[float]


class TestedSpan(TypedDict):
    """The tested time.

    ``until_ms`` is the requested end, ``as_of_ms`` is the time of the newest equity snapshot: no
    figure or list has anything later. ``days`` are those from ``from_ms`` to ``as_of_ms``.
    ``interrupted`` is True if Ctrl-C ended the backtest before its end.
    """

    from_ms: int
    until_ms: int
    as_of_ms: int
    days: float
    interrupted: bool


class EndedSymbol(TypedDict):
    """A symbol whose bars ended before those of the dataset.

    ``settled`` trades were open then and were closed at its last close; no funding was paid after.
    """

    symbol: str
    at_ms: int
    last_close: float
    settled: int
    pnl_net: str  # of the settled trades, money as decimal text


class PriceJump(TypedDict):
    """A change by a factor of at least 10 between a close and a symbol's next open.

    ``trades`` is the number of trades that were open then, and ``pnl_net`` their result, which
    includes the jump.
    """

    symbol: str
    after_ms: int  # close of the bar before
    at_ms: int  # open of the bar after
    factor: float  # open over close
    missing_bars: int
    trades: int
    pnl_net: str  # money, decimal text


class DatasetNotes(TypedDict):
    """The ended symbols and the price jumps in the backtested part of a dataset."""

    ended: list[EndedSymbol]
    jumps: list[PriceJump]


class TestedData(TypedDict):
    """The dataset; ``digest`` is the SHA-256 of its data up to the end of the test."""

    name: str
    symbols: list[str]
    period_ms: int
    first_ms: int
    digest: str


class Waterfall(TypedDict):
    """The parts of the net result, as money: net = gross - slippage - fees + funding.

    ``net`` is the change of equity. ``closed`` is the net PnL of closed trades, ``open`` is that of
    the positions still open.
    """

    gross: str
    slippage: str
    fees: str
    funding: str
    net: str
    closed: str
    open: str


class OpenPosition(TypedDict):
    """A position that is open at ``as_of_ms``; ``entry_value`` is money."""

    trade_id: str
    symbol: str
    strategy: str
    side: str
    quantity: str
    entry_price: str
    entry_value: str
    opened_at_ms: int


class DrawdownReport(TypedDict):
    """A drawdown with its times; ``recovery_ms`` is None while it lasts.

    ``value`` is a fraction of the peak, negative.
    """

    value: float
    peak_ms: int
    trough_ms: int
    recovery_ms: int | None
    duration_ms: int


class Drawdowns(TypedDict):
    """The maximum and the longest drawdown of all snapshots; None without a fall."""

    deepest: DrawdownReport | None
    longest: DrawdownReport | None


class DayReport(TypedDict):
    """A UTC day; ``complete`` is False for a part of a day.

    ``return_twr`` is the time-weighted return, a fraction; None if it is not known.
    """

    day: str
    complete: bool
    equity_start: str
    equity_end: str
    return_twr: float | None
    trades: int


class MonthReport(TypedDict):
    """The chained returns of a month's days, as a fraction.

    ``complete`` is True if the whole month was tested. ``return_twr`` is None if the return of one
    of the days is not known.
    """

    month: str
    complete: bool
    return_twr: float | None
    trades: int


class RBinReport(TypedDict):
    """Number of trades with ``low`` <= R < ``high``; None: there is no such bound."""

    low: float | None
    high: float | None
    trades: int


class RReport(TypedDict):
    """The distribution of R, and the ids of the ``best`` and the ``worst`` trades.

    ``trades`` counts the trades with R, ``without_r`` those without.
    """

    bins: list[RBinReport]
    trades: int
    without_r: int
    best: list[str]
    worst: list[str]


class GroupReport(TypedDict):
    """Sums of the trades with the same ``key``, such as one symbol or exit reason.

    A ratio is None if it is not defined.
    """

    key: str
    trades: int
    wins: int
    win_rate: float | None
    expectancy_r: float | None
    profit_factor: float | None
    pnl_net: str
    fees: str
    funding: str
    slippage: str


class RefusalReport(TypedDict):
    """How often a tier gave a code as a reason; one refusal may have several codes."""

    tier: str
    code: str
    count: int
    meaning: str


class HaltReport(TypedDict):
    """A halt, or a period of reduced size; ``until_ms`` is None while it lasts."""

    state: str
    reason: str
    from_ms: int
    until_ms: int | None


class TradeReport(TypedDict):
    """A closed trade.

    ``quantity`` is in contracts; ``funding`` is positive if received. ``planned_stop`` is None
    without a plan, ``r`` if a part of the trade had no plan.
    """

    trade_id: str
    symbol: str
    strategy: str
    side: str
    quantity: str
    contract_size: str
    entry_price: str
    exit_price: str
    planned_stop: str | None
    opened_at_ms: int
    closed_at_ms: int
    pnl_gross: str
    fees: str
    funding: str
    slippage: str
    pnl_net: str
    r: float | None
    exit_reason: str


class CurvePoint(TypedDict):
    """An equity snapshot, with open positions at their mark price.

    ``drawdown`` is its fall from the highest equity until then, a fraction, 0 or negative.
    """

    at_ms: int
    equity: str
    drawdown: float


class RunCounts(TypedDict):
    """Counts and sums of the whole run, its part after the newest equity snapshot too.

    ``violations`` is the number of violations of hard rules that the independent checker found in
    the venue's records; ``violation_list`` has each. ``worst_overshoot_r`` is the largest distance
    of a stop's fill beyond its trigger, divided by the distance between entry and trigger; it is
    decimal text too. ``digest`` is the SHA-256 of the journal, ``facts_digest`` that of its facts
    without names and ids (``kamou.runs.facts``). Only ``runs.backtest.run`` adds the times and the
    memory.
    """

    symbols: int
    bars: int
    first_ms: int
    last_ms: int
    cycles: int
    candidates: int
    abstained: int
    vetoed: int
    refused: int
    orders: int
    fills: int
    trades: int
    equity_start: str
    equity_end: str
    fees: str
    funding: str
    slippage: str
    max_drawdown: float
    worst_overshoot_r: str
    halts: int
    violations: int
    violation_list: list[ViolationReport]
    by_strategy: dict[str, StrategyReport]
    digest: str
    facts_digest: str
    cpu_s: NotRequired[float]
    wall_s: NotRequired[float]
    peak_rss_mb: NotRequired[float]


class BacktestReport(RunCounts):
    """The report of a backtest: counts and ratios as numbers, money as decimal text.

    The keys from ``tested`` on are as of ``tested.as_of_ms``, except ``refusals``, which are of the
    whole run.
    """

    version: str
    currency: str
    settings: dict[str, object]
    config_digest: str
    data: TestedData
    data_notes: list[str]
    dataset_notes: DatasetNotes
    strategy_failures: list[FailureReport]
    strategy_files: dict[str, str]  # SHA-256 of each enabled strategy outside of the package
    tested: TestedSpan
    figures: dict[str, BacktestFigure]
    waterfall: Waterfall
    unrealized_pnl: str
    open_positions: list[OpenPosition]
    drawdowns: Drawdowns
    days: list[DayReport]
    months: list[MonthReport]
    r_distribution: RReport
    tables: dict[str, list[GroupReport]]
    refusals: list[RefusalReport]
    halt_list: list[HaltReport]
    trade_list: list[TradeReport]
    equity_curve: list[CurvePoint]
