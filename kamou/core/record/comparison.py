"""The differences between two reports of backtests, as values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypedDict

from kamou.core.record.backtest_document import BacktestReport, TradeReport


class ValueChange(TypedDict):
    """A value that differs; None: one report has no such value."""

    name: str
    before: object
    after: object


class FigurePair(TypedDict):
    """A figure of both reports; ``change`` is None unless both have a value."""

    name: str
    before: float | None
    after: float | None
    change: float | None


class TradePair(TypedDict):
    """A trade of both reports whose values are not all equal."""

    before: TradeReport
    after: TradeReport


class Comparison(TypedDict):
    """All differences, and all figures of both reports, equal ones too.

    ``warnings`` say why the two tests are not comparable.
    """

    warnings: list[str]
    settings: list[ValueChange]
    figures: list[FigurePair]
    same_trades: int
    changed_trades: list[TradePair]
    only_before: list[TradeReport]
    only_after: list[TradeReport]


def compare_reports(before: BacktestReport, after: BacktestReport) -> Comparison:
    """Return the differences from the first report to the second."""
    same, changed, only_before, only_after = _match_trades(before, after)
    return {
        "warnings": _find_warnings(before, after),
        "settings": _compare_settings(before["settings"], after["settings"]),
        "figures": [
            _pair(name, _value(before, name), _value(after, name))
            for name in dict.fromkeys([*before["figures"], *after["figures"]])
        ],
        "same_trades": same,
        "changed_trades": changed,
        "only_before": only_before,
        "only_after": only_after,
    }


def _find_warnings(before: BacktestReport, after: BacktestReport) -> list[str]:
    """Return a text for each reason why the two tests are not comparable."""
    found: list[str] = []
    data = before["data"], after["data"]
    lost, added = (
        sorted(set(one["symbols"]) - set(other["symbols"])) for one, other in (data, data[::-1])
    )
    if lost:
        found.append(f"symbols of the first report only: {_shorten(lost)}")
    if added:
        found.append(f"symbols of the second report only: {_shorten(added)}")
    if data[0]["period_ms"] != data[1]["period_ms"]:
        found.append("the bars have different periods")
    spans = before["tested"], after["tested"]
    if any(spans[0][key] != spans[1][key] for key in ("from_ms", "as_of_ms")):
        found.append("the tested times differ")
    elif not (lost or added) and data[0]["digest"] != data[1]["digest"]:
        found.append("the data differs: the same symbols and times, other values")
    for place, span in zip(("first", "second"), spans, strict=True):
        if span["interrupted"]:
            found.append(f"the {place} backtest was interrupted")
    if before["version"] != after["version"]:
        versions = f"{before['version']} and {after['version']}"
        found.append(f"the reports are of different versions of Kamou: {versions}")
    if before["currency"] != after["currency"]:
        found.append("the currencies differ")
    return found


def _shorten(names: list[str], shown: int = 5) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def _compare_settings(
    before: Mapping[str, object], after: Mapping[str, object]
) -> list[ValueChange]:
    return [
        {"name": name, "before": before.get(name), "after": after.get(name)}
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _value(report: BacktestReport, name: str) -> float | None:
    figure = report["figures"].get(name)
    return None if figure is None else figure["value"]


def _pair(name: str, before: float | None, after: float | None) -> FigurePair:
    known = before is not None and after is not None
    change = after - before if known and before is not None and after is not None else None
    return {"name": name, "before": before, "after": after, "change": change}


def _match_trades(
    before: BacktestReport, after: BacktestReport
) -> tuple[int, list[TradePair], list[TradeReport], list[TradeReport]]:
    """Return the number of equal trades, the changed pairs, and each report's others.

    A trade's id has its bar, its strategy and its symbol, so trades with equal ids and sides are of
    the same signal.
    """
    wanted: dict[tuple[str, str], list[TradeReport]] = defaultdict(list)
    for trade in after["trade_list"]:
        wanted[_key(trade)].append(trade)
    same = 0
    changed: list[TradePair] = []
    only_before: list[TradeReport] = []
    for trade in before["trade_list"]:
        others = wanted[_key(trade)]
        if not others:
            only_before.append(trade)
        elif trade == (other := others.pop(0)):
            same += 1
        else:
            changed.append({"before": trade, "after": other})
    left = {id(trade) for others in wanted.values() for trade in others}
    only_after = [trade for trade in after["trade_list"] if id(trade) in left]
    return same, changed, only_before, only_after


def _key(trade: TradeReport) -> tuple[str, str]:
    return trade["trade_id"], trade["side"]
