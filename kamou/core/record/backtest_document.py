"""The report of a backtest as a JSON document; ``docs/backtest.md`` describes it.

Money, prices and quantities are decimal text; ratios and counts are numbers. Names in ``_ms`` are
milliseconds: instants since 1970 in UTC, or durations. No number is infinite or NaN.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class StrategyReport(TypedDict):
    """Closed trades of one strategy.

    ``without_r`` counts the trades of which no plan opened a part. They have no R, and the mean is
    None if no trade has one.
    """

    trades: int
    wins: int
    pnl_net: str  # money, decimal text
    mean_r: float | None
    without_r: int


class FailureReport(TypedDict):
    """Failures of one strategy of one kind at one place, with the first of them."""

    strategy: str
    kind: str  # a ``FailureKind``
    place: str  # file and line
    count: int  # of evaluations: one for each bar and shard
    error: str
    symbol: str  # empty: not known
    first_at_ms: int  # close of the first bar
    last_at_ms: int


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

    ``until_ms`` is the end that was asked for, ``as_of_ms`` the newest equity snapshot: nothing
    later is in a figure or list. ``interrupted``: Ctrl-C ended the backtest before its end.
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
    """A tenfold change between a close and the next open of a symbol.

    ``trades`` were open then; their result has the jump in it.
    """

    symbol: str
    after_ms: int  # close of the bar before
    at_ms: int  # open of the bar after
    factor: float
    missing_bars: int
    trades: int
    pnl_net: str


class DatasetNotes(TypedDict):
    """What the backtested part of a dataset had."""

    ended: list[EndedSymbol]
    jumps: list[PriceJump]


class TestedData(TypedDict):
    """The dataset; ``digest`` is over all that is known up to the end of the test."""

    name: str
    symbols: list[str]
    period_ms: int
    first_ms: int
    digest: str


class Waterfall(TypedDict):
    """From gross to net, money: ``net = gross - slippage - fees + funding``.

    ``net`` is the change of equity. ``closed`` is the net PnL of closed trades, ``open`` the rest:
    that of the positions still open.
    """

    gross: str
    slippage: str
    fees: str
    funding: str
    net: str
    closed: str
    open: str


class OpenPosition(TypedDict):
    """A position that is still open at the end; ``entry_value`` is money."""

    trade_id: str
    symbol: str
    strategy: str
    side: str
    quantity: str
    entry_price: str
    entry_value: str
    opened_at_ms: int


class DrawdownReport(TypedDict):
    """A drawdown with its dates; ``recovery_ms`` is None while it lasts."""

    value: float
    peak_ms: int
    trough_ms: int
    recovery_ms: int | None
    duration_ms: int


class Drawdowns(TypedDict):
    """The deepest and the longest drawdown of all snapshots; None without a fall."""

    deepest: DrawdownReport | None
    longest: DrawdownReport | None


class DayReport(TypedDict):
    """A UTC day; ``complete`` is False for a part of a day."""

    day: str
    complete: bool
    equity_start: str
    equity_end: str
    return_twr: float | None
    trades: int


class MonthReport(TypedDict):
    """The chained returns of a month's days; ``complete`` if all of it was tested."""

    month: str
    complete: bool
    return_twr: float | None
    trades: int


class RBinReport(TypedDict):
    """Number of trades with ``low`` <= R < ``high``; a None side is open."""

    low: float | None
    high: float | None
    trades: int


class RReport(TypedDict):
    """The distribution of R, and the ids of the ``best`` and the ``worst`` trades."""

    bins: list[RBinReport]
    trades: int
    without_r: int
    best: list[str]
    worst: list[str]


class GroupReport(TypedDict):
    """A row of a table of trades; a ratio is None if it is not defined."""

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

    ``quantity`` is in contracts; ``funding`` is positive if received.
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
    """An equity snapshot, open positions at their mark.

    ``drawdown`` is its fall from the highest equity until then, 0 or negative.
    """

    at_ms: int
    equity: str
    drawdown: float


class RunCounts(TypedDict):
    """Counts and sums of the whole run, whatever its newest equity snapshot.

    ``violations`` is the number of violations of hard rules that the independent checker found in
    the venue's records; ``violation_list`` has each. ``worst_overshoot_r`` is the largest distance
    of a stop's fill beyond its trigger, divided by the distance between entry and trigger; it is
    decimal text too. Only ``runs.backtest.run`` adds the times and the memory.
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
