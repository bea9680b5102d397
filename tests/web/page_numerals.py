"""Every number on the pages, computed a second time from ``/results.json``.

The document is recomputed elsewhere (``recomputation.py``). Here its figures are put into the
sentences and tables of the page, and all numbers of the page's text are compared, in their order.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tests.web.raw_events import Plans

D = Decimal
MINUS = "\N{MINUS SIGN}"
NUMBER = re.compile(rf"[+{MINUS}]?\d(?:[\d,]*\d)?(?:\.\d+)?%?")
DAYS_SHOWN, TRADES_SHOWN = 30, 50  # on one page
STATIC = {  # numbers in the meaning of a figure
    "return_twr": "",
    "max_drawdown": "",
    "sharpe": "365 1",
    "sortino": "0 365",
    "win_rate": "",
    "expectancy_r": "1",
    "profit_factor": "1",
}


def numbers_of(page: str) -> list[str]:
    """Return the numbers in a page's main text, without addresses, drawings, digests."""
    main = page.partition("<main")[2].partition(">")[2].partition("</main>")[0]
    for element in ("svg", "code", "style"):
        main = re.sub(rf"(?s)<{element}\b.*?</{element}>", " ", main)
    return NUMBER.findall(html.unescape(re.sub(r"<[^>]*>", " ", main)))


def expected_numbers(document: dict[str, Any]) -> list[str]:
    """Return the same numbers from the document, in the order of the page."""
    return NUMBER.findall(" | ".join(_page(document)))


def front_numbers(document: dict[str, Any], plans: Plans) -> list[str]:
    """Return the numbers of the front page: equity, and counts of the raw events."""
    counted = [plans.cycles, plans.candidates, plans.refusals, document["trades_total"]]
    shown = [money(document["equity"]), *(f"{n:,}" for n in counted)]
    return NUMBER.findall(" | ".join([*shown, moment(document["as_of_ms"])]))


def days_numbers(document: dict[str, Any]) -> list[str]:
    """Return the numbers of the first page of ``/days``."""
    rows = [_day(day) for day in document["days"][::-1]][:DAYS_SHOWN]
    return NUMBER.findall(" | ".join([*rows, str(document["days_total"])]))


def trades_numbers(listed: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Return the numbers of the first page of ``/trades``; ``names`` are in its form."""
    rows = listed[: -TRADES_SHOWN - 1 : -1]
    shown = [f"{len(listed):,}", *names]
    for row in rows:
        shown.append(f"{row['symbol']} {moment(row['closed_at_ms'])}")
        shown.append(f"{price(D(row['entry_price']))} {price(D(row['exit_price']))}")
        shown.append(lasted(row["closed_at_ms"] - row["opened_at_ms"]))
        shown.append(money(D(row["fees"]) - D(row["funding"])))
        shown.append(money(row["pnl_net"], signed=True))
        if row["r_multiple"] is not None:
            shown.append(number(row["r_multiple"], signed=True))
    shown += [moment(rows[-1]["closed_at_ms"]), moment(rows[0]["closed_at_ms"])]
    return NUMBER.findall(" | ".join([*shown, f"{MINUS}1"]))  # R of a clean stop


def price(value: Decimal) -> str:
    """Return eight digits, or more before the point, without zeros at the end."""
    return exact(value.quantize(D(1).scaleb(-max(0, 7 - value.adjusted())), ROUND_HALF_EVEN))


def exact(value: Decimal) -> str:
    """Return every digit of a value, without zeros at the end."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _page(d: dict[str, Any]) -> Iterator[str]:
    figures = d["performance"]
    yield _date(d["since_ms"])
    yield money(d["equity_start"])
    if D(d["net_deposits"]):
        yield money(abs(D(d["net_deposits"])))
    yield money(d["equity"])
    twr = figures["return_twr"]
    if twr["value"] is None:
        yield twr["reason"]
    else:
        yield f"{percent(twr['value'], signed=True)} {twr['n']} 95%"
        yield f"{percent(twr['low'], signed=True)} {percent(twr['high'], signed=True)}"
    complete = [day for day in d["days"] if day["complete"]]
    yield f"{moment(d['as_of_ms'])} {d['trades_total']:,}"
    yield str(sum(day["return"] > 0 for day in complete))
    yield str(sum(day["return"] < 0 for day in complete))
    worst = min((day["return"] for day in complete), default=0.0)
    if worst < 0:
        yield percent(worst, signed=True)
    yield f"{d['halts_total']} {d['downtime_total']}"
    yield _drawdown(figures)
    yield "95%"
    if complete:
        closed_at_ms = int(_start(complete[-1]["day"]).timestamp() * 1000) + 86_400_000
        yield f"{len(complete)} {moment(closed_at_ms)}"
    yield "95%"
    for name, meaning in STATIC.items():
        yield meaning
        yield from _figure(name, figures[name])
        if name == "expectancy_r" and d["trades_total"] > figures[name]["n"]:
            yield f"{d['trades_total'] - figures[name]['n']:,}"
    if d["strategies"]:
        yield from _strategies(d)
        yield "30"
    ended = d["days"][:-1]
    if len(ended) > 1:  # a drawing of one day is none
        yield str(len(ended))
    for day in reversed(d["days"]):
        yield _day(day)
    yield f"{len(d['days'])} {d['days_total']}"
    for month in reversed(d["months"]):
        yield _month(month)
    yield from _interruptions(d)
    yield f"{d['journal_seq']} {d['config_changes_total']}"


def _figure(name: str, figure: dict[str, Any]) -> Iterator[str]:
    if figure["value"] is None:
        yield figure["reason"]
    else:
        for key in ("value", "low", "high"):
            if figure[key] is not None:  # else "no upper bound"
                yield SHOWN[name](figure[key])
        rests_on = figure.get("interval", figure)["n"]
        if rests_on != figure["n"]:
            yield f"{rests_on:,}"
    yield f"{figure['n']:,}"


def _strategies(d: dict[str, Any]) -> Iterator[str]:
    every = {"performance": d["performance"], "name": "", "trades": d["trades_total"]}
    for name in ("pnl_net", "fees", "funding", "slippage"):
        every[name] = str(sum(D(row[name]) for row in d["strategies"]))
    for row in (*d["strategies"], every):
        of = row["performance"]
        yield f"{row['trades']:,} {money(row['pnl_net'], signed=True)}"
        for name, places in (("expectancy_r", 2), ("win_rate", 0), ("profit_factor", 2)):
            if of[name]["value"] is None:
                continue
            yield SHOWN[name](of[name]["value"])
            for key in ("low", "high"):
                if name == "win_rate":
                    yield percent(of[name][key], places=places)
                elif of[name][key] is not None:
                    yield number(of[name][key], signed=name == "expectancy_r", places=places)
            if of[name]["interval"]["n"] != row["trades"]:
                yield f"{of[name]['interval']['n']:,}"
        yield f"{money(row['fees'])} {money(row['funding'], signed=True)} {money(row['slippage'])}"


def _day(day: dict[str, Any]) -> str:
    names = f"{_day_name(day['day'])}"
    if not day["separable"]:
        names += f" {_day_name(day['last_day'])}"
    return f"{names} {_row(day)} {money(day['equity_end'])}"


def _month(month: dict[str, Any]) -> str:
    tag = f"{month['unseparated_days']} " if month["unseparated_days"] else ""
    up_down = f"{month['gaining_days']} / {month['losing_days']}"
    return f"{month['month'][:4]} {tag}{_row(month, up_down)} {money(month['equity_end'])}"


def _row(row: dict[str, Any], between: str = "") -> str:
    shown = "" if row["return"] is None else percent(row["return"], signed=True)
    change = money(row["pnl"], signed=True)
    costs = f"{money(row['fees'])} {money(row['funding'], signed=True)}"
    return f"{shown} {change} {row['trades']:,} {between} {costs}"


def _drawdown(figures: dict[str, Any]) -> str:
    every, closes = figures["max_drawdown_snapshots"], figures["max_drawdown"]["value"]
    if closes is not None and closes < every["value"]:
        return percent(closes)
    if every["peak_ms"] is None:
        return ""
    recovered = "" if every["recovery_ms"] is None else moment(every["recovery_ms"])
    lasted = f"{moment(every['peak_ms'])} {moment(every['trough_ms'])}"
    return f"{percent(every['value'])} {lasted} {recovered}"


def _interruptions(d: dict[str, Any]) -> Iterator[str]:
    rows: list[tuple[int, str]] = []
    for period in (*d["halts"], *d["reduced_size"]):
        first, *later = period["steps"]
        lines = [first["note"]]
        lines += [f"{moment(step['at_ms'])}: {step['note']}" for step in later]
        if period["end"] is not None:
            lines.append(period["end"]["note"])
        lasted = "" if period["until_ms"] is None else _lasted(period)
        rows.append((period["from_ms"], f"{lasted} {' '.join(lines)}"))
    rows += [(gap["from_ms"], _lasted(gap)) for gap in d["downtime"]]
    spans = [row for name in ("halts", "reduced_size", "downtime") for row in d[name]]
    for command in d["commands"]:  # those in a span are among its steps
        at_ms = command["at_ms"]
        after = at_ms >= min((span["from_ms"] for span in spans), default=0)
        if after and not any(s["from_ms"] <= at_ms <= (s["until_ms"] or 2**62) for s in spans):
            rows.append((at_ms, command["note"]))
    for span in d["disabled_strategies"]:
        rows.append((span["from_ms"], "" if span["until_ms"] is None else _lasted(span)))
    for from_ms, text in sorted(rows, key=lambda row: row[0], reverse=True):
        yield f"{moment(from_ms)} {text}"
    for name in ("halts", "reduced_size", "downtime"):
        assert d[f"{name}_total"] == len(d[name]), "no history has more than are listed"


def _lasted(span: dict[str, Any]) -> str:
    return lasted(span["until_ms"] - span["from_ms"])


def lasted(ms: int) -> str:
    """Return the numbers of a duration in its one or two largest units."""
    for large, small in ((86_400_000, 3_600_000), (3_600_000, 60_000)):
        if ms >= large:
            rest = ms % large // small
            return f"{ms // large} {rest}" if rest else str(ms // large)
    return str(ms // 60_000) if ms >= 60_000 else f"{ms / 1000:.1f}"


# --- formats of figures -----------------------------------------------------------------------


def money(value: Decimal | str, *, signed: bool = False, places: int = 2) -> str:
    return _signed(D(value).quantize(D(1).scaleb(-places), ROUND_HALF_EVEN), "", signed)


def percent(value: float, *, signed: bool = False, places: int = 2) -> str:
    return _signed(D(f"{round(value * 100, places):.{places}f}"), "%", signed)


def number(value: float, *, signed: bool = False, places: int = 2) -> str:
    return _signed(D(f"{round(value, places):.{places}f}"), "", signed)


SHOWN: dict[str, Callable[[float], str]] = {
    "return_twr": lambda v: percent(v, signed=True),
    "max_drawdown": percent,
    "sharpe": number,
    "sortino": number,
    "win_rate": lambda v: percent(v, places=1),
    "expectancy_r": lambda v: number(v, signed=True, places=3),
    "profit_factor": number,
}


def moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _signed(value: Decimal, unit: str, signed: bool) -> str:
    sign = MINUS if value < 0 else "+" if signed and value > 0 else ""
    return f"{sign}{abs(value):,}{unit}"


def _start(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _date(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at.day} {at.year}"


def _day_name(day: str) -> str:
    return f"{_start(day).day} {_start(day).year}"
