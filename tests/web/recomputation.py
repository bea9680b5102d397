"""The public record a second time: from the venue's own file and the market's prices.

What only Kamou knows (which plan an order belongs to, halts) is read from the raw ``event`` rows.
Nothing here calls code of ``kamou/core`` or reads a read model. A day is a UTC day, an entry of
the ledger belongs to the day of its own stamp, and equity at T is the wallet after all entries
stamped before T with the open positions at the marks of T.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs

D = Decimal
DAY_MS = 86_400_000
LAST_DIGIT = D("0.00000001")
DAYS_MIN = 14
NEWEST = 20  # halts, downtime and transfers that the document lists
MarkAt = Callable[[str, int], Decimal]
"""(symbol, at_ms) -> the venue's mark price then"""


@attrs.frozen(kw_only=True)
class Stretch:
    """A position from flat to flat: what readers call a trade."""

    symbol: str
    opened_ms: int
    closed_ms: int
    entry_ids: tuple[str, ...]  # of the orders that filled in it, in order
    net: Decimal  # after fees and funding
    fees: Decimal
    funding: Decimal
    added: Decimal  # contracts, by the orders that opened or enlarged it
    contract_size: Decimal


@attrs.define
class _Open:
    opened_ms: int
    quantity: Decimal = D(0)  # signed
    cash: Decimal = D(0)  # bought is negative, sold positive: money
    fees: Decimal = D(0)
    funding: Decimal = D(0)
    added: Decimal = D(0)
    ids: list[str] = attrs.Factory(list)


def day_ms(day: str) -> int:
    """00:00 UTC of a day as the document names it."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


class Ledger:
    """Everything that the venue's file says of money, oldest first."""

    def __init__(self, venue: Path, mark_at: MarkAt) -> None:
        connection = sqlite3.connect(f"file:{venue}?mode=ro", uri=True)
        rows = connection.execute("SELECT kind, body FROM evidence ORDER BY n").fetchall()
        connection.close()
        read = [(kind, json.loads(body)) for kind, body in rows]
        self.fills = [row for kind, row in read if kind == "fill"]
        self.money = [row for kind, row in read if kind == "money"]
        self._mark_at = mark_at
        (opening,) = [row for row in self.money if row["kind"] == "opening"]
        self.start, self.began_ms = D(opening["amount"]), opening["at_ms"]

    # --- sums over a stretch of time, its end not included ---------------------------

    def paid(self, kind: str, from_ms: int, to_ms: int) -> Decimal:
        """``funding`` or ``transfer``."""
        return _sum(
            D(row["amount"])
            for row in self.money
            if row["kind"] == kind and from_ms <= row["at_ms"] < to_ms
        )

    def fees(self, from_ms: int, to_ms: int) -> Decimal:
        return _sum(D(f["fee"]) for f in self.fills if from_ms <= f["at_ms"] < to_ms)

    def equity(self, at_ms: int, *, after: bool = False) -> Decimal:
        """Wallet after all entries before ``at_ms`` (``after``: at it too), positions at marks."""
        to_ms = at_ms + after
        wallet = _sum(D(row["amount"]) for row in self.money if row["at_ms"] < to_ms)
        open_ = defaultdict(lambda: [D(0), D(0), D(0)])  # symbol -> quantity, cost, contract size
        for fill in self.fills:
            if fill["at_ms"] >= to_ms:
                continue
            wallet -= D(fill["fee"])
            quantity, price, size = signed(fill), D(fill["price"]), D(fill["contract_size"])
            held = open_[fill["symbol"]]
            same = held[0] * quantity >= 0
            closed = D(0) if same else min(abs(held[0]), abs(quantity))
            if closed:
                average = held[1] / held[0]
                gain = (price - average) * closed * size * (1 if held[0] > 0 else -1)
                wallet += gain.quantize(LAST_DIGIT)
                held[1] -= held[1] * closed / abs(held[0])
            opened = quantity if same else quantity + (closed if held[0] > 0 else -closed)
            held[0] += quantity
            held[1] = (D(0) if held[0] == opened else held[1]) + opened * price
            held[2] = size
        marks = (
            (held[0] * self._mark_at(symbol, at_ms) - held[1]) * held[2]
            for symbol, held in open_.items()
            if held[0]
        )
        return wallet + _sum(marks)

    def growth(self, from_ms: int, to_ms: int) -> float:
        """Time-weighted return: between transfers equity after one to equity before the next."""
        total = 1.0
        start = self.start if from_ms <= self.began_ms else self.equity(from_ms)
        for row in (r for r in self.money if r["kind"] == "transfer"):
            at_ms = row["at_ms"]
            if from_ms <= at_ms < to_ms:
                total *= float(self.equity(at_ms) / start)
                start = self.equity(at_ms, after=True)
        return total * float(self.equity(to_ms) / start) - 1.0

    def trades(self, until_ms: int) -> list[Stretch]:
        """Positions that were closed before ``until_ms``, oldest first."""
        entries = [(f["at_ms"], 1, f) for f in self.fills]
        entries += [(m["at_ms"], 0, m) for m in self.money if m["kind"] == "funding"]
        open_: dict[str, _Open] = {}
        done: list[Stretch] = []
        for at_ms, is_fill, row in sorted(entries, key=lambda entry: entry[:2]):
            if at_ms >= until_ms:
                break
            if is_fill:
                done.extend(_filled(open_, row))
            else:
                open_[row["symbol"]].funding += D(row["amount"])
        return done


def signed(fill: dict[str, Any]) -> Decimal:
    return D(fill["quantity"]) * (1 if fill["side"] == "buy" else -1)


def _filled(open_: dict[str, _Open], fill: dict[str, Any]) -> Iterator[Stretch]:
    quantity, size = signed(fill), D(fill["contract_size"])
    held = open_.setdefault(fill["symbol"], _Open(fill["at_ms"]))
    assert abs(held.quantity + quantity) <= max(abs(held.quantity), abs(quantity)) or (
        held.quantity * quantity >= 0
    )
    if held.quantity * quantity >= 0:
        held.added += abs(quantity)
        if fill["client_id"] not in held.ids:
            held.ids.append(fill["client_id"])
    held.cash -= quantity * D(fill["price"]) * size
    held.fees += D(fill["fee"])
    held.quantity += quantity
    if held.quantity == 0:
        del open_[fill["symbol"]]
        yield Stretch(
            symbol=fill["symbol"],
            opened_ms=held.opened_ms,
            closed_ms=fill["at_ms"],
            entry_ids=tuple(held.ids),
            net=held.cash - held.fees + held.funding,
            fees=held.fees,
            funding=held.funding,
            added=held.added,
            contract_size=size,
        )


class Plans:
    """What only Kamou knows of an order: whose plan it carries out. From the raw events."""

    def __init__(self, journal: Path) -> None:
        connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)

        def bodies(kind: str) -> list[dict[str, Any]]:
            rows = connection.execute("SELECT body FROM event WHERE kind = ? ORDER BY seq", (kind,))
            return [json.loads(body) for (body,) in rows]

        plans = {row["permit_id"]: row["plan"] for row in bodies("permit_granted")}
        intents = (row["intent"] for row in bodies("intent_recorded"))
        self.of_order = {
            i["client_id"]: plans[i["permit_id"]] for i in intents if i["permit_id"] in plans
        }
        self.snapshot_ms = max(row["at_ms"] for row in bodies("equity_marked"))
        self._states = [row for row in bodies("state_changed") if row["at_ms"] <= self.snapshot_ms]
        self._closed_ms = [row["at_ms"] for row in bodies("cycle_closed")]
        connection.close()

    def r(self, trade: Stretch) -> float | None:
        """Net over |planned entry - planned stop| x contracts; None if a part was not planned."""
        plans = [self.of_order.get(client_id) for client_id in trade.entry_ids]
        if not plans or None in plans:
            return None
        plan = plans[0]
        distance = abs(D(plan["entry_price"]) - D(plan["stop_price"]))
        return float(trade.net / (distance * trade.added * trade.contract_size))

    def spans(self, states: Collection[str]) -> list[tuple[int, int | None, str]]:
        """When one of these states held: from, until (None: still), and why it began."""
        found: list[tuple[int, int | None, str]] = []
        for row in self._states:
            was, is_ = row["before"] in states, row["after"] in states
            if is_ and not was:
                found.append((row["at_ms"], None, row["reason"]))
            elif was and not is_:
                found[-1] = (found[-1][0], row["at_ms"], found[-1][2])
        return found

    def silence(self, longer_than_ms: int) -> list[tuple[int, int]]:
        """Where no cycle closed for longer than that: from the end of one to the next one's."""
        known = [at_ms for at_ms in self._closed_ms if at_ms <= self.snapshot_ms]
        return [(a, b) for a, b in pairwise(known) if b - a > longer_than_ms]

    @property
    def state(self) -> str:
        return self._states[-1]["after"] if self._states else "normal"

    def strategy(self, trade: Stretch) -> str:
        return self.of_order[trade.entry_ids[0]]["strategy"]


# --- the figures -----------------------------------------------------------------------------


HALTS = ("halt_new", "flatten", "killed")


def differences(
    document: dict[str, Any], ledger: Ledger, plans: Plans, *, period_ms: int
) -> list[str]:
    """What ``/results.json`` says otherwise than it should: ``where: shown, right``."""
    as_of_ms = document["as_of_ms"]
    found: list[str] = []

    def same(where: str, shown: Any, right: Any) -> None:
        if isinstance(right, Decimal):
            equal = shown is not None and D(shown) == right.quantize(LAST_DIGIT)
        elif isinstance(right, float):
            equal = shown is not None and math.isclose(shown, right, rel_tol=1e-9, abs_tol=1e-12)
        else:
            equal = shown == right
        if not equal:
            found.append(f"{where}: {shown}, right is {right}")

    trades = ledger.trades(as_of_ms)
    same("as of", as_of_ms, plans.snapshot_ms)
    same("since", document["since_ms"], ledger.began_ms)
    same("equity", document["equity"], ledger.equity(as_of_ms))
    same("equity_start", document["equity_start"], ledger.start)
    same("flows", document["flows"], ledger.paid("transfer", 0, as_of_ms))
    same("trades_total", document["trades_total"], len(trades))
    days = [_day(ledger, row["day"], row["last_day"], as_of_ms, trades) for row in document["days"]]
    for row, right in zip(document["days"], days, strict=True):
        for name, value in right.items():
            same(f"{row['day']} {name}", row[name], value)
    _of_months(document, days, same)
    complete = [day["return"] for day in days if day["complete"]]
    _of_days(document["performance"], complete, same)
    _of_trades("all", document["performance"], trades, plans, len(complete), same)
    for row in document["strategies"]:
        own = [trade for trade in trades if plans.strategy(trade) == row["name"]]
        _of_trades(row["name"], row["performance"], own, plans, len(complete), same)
        same(f"{row['name']} pnl_net", row["pnl_net"], _sum(t.net for t in own))
        same(f"{row['name']} fees", row["fees"], _sum(t.fees for t in own))
        same(f"{row['name']} funding", row["funding"], _sum(t.funding for t in own))
    _of_spans(document, ledger, plans, period_ms, same)
    total = _sum(D(day["pnl"]) for day in document["days"]) + D(document["flows"])
    same("sum of the days", str(total), ledger.equity(as_of_ms) - ledger.start)
    return found


Same = Callable[[str, Any, Any], None]


def _day(
    ledger: Ledger, first: str, last: str, as_of_ms: int, trades: list[Stretch]
) -> dict[str, Any]:
    from_ms, to_ms = day_ms(first), day_ms(last) + DAY_MS
    began = from_ms >= ledger.began_ms
    end_ms = min(to_ms, as_of_ms)
    start = ledger.equity(from_ms) if from_ms > ledger.began_ms else ledger.start
    end = ledger.equity(end_ms)
    flows = ledger.paid("transfer", from_ms, end_ms)
    return {
        "day": first,
        "equity_start": start,
        "equity_end": end,
        "flows": flows,
        "pnl": end - start - flows,
        "return": ledger.growth(max(from_ms, ledger.began_ms), end_ms),
        "fees": ledger.fees(from_ms, end_ms),
        "funding": ledger.paid("funding", from_ms, end_ms),
        "trades": sum(from_ms <= trade.closed_ms < end_ms for trade in trades),
        "complete": began and to_ms <= as_of_ms,
    }


def _of_spans(
    document: dict[str, Any], ledger: Ledger, plans: Plans, period_ms: int, same: Same
) -> None:
    same("state", document["state"], plans.state)
    for name, states in (("halts", HALTS), ("reduced", ("reduced",))):
        shown = [(row["from_ms"], row["until_ms"], row["reason"]) for row in document[name]]
        same(name, shown, plans.spans(states)[-NEWEST:])
        same(f"{name}_total", document[f"{name}_total"], len(plans.spans(states)))
    silence = plans.silence(2 * period_ms)
    gaps = [(row["from_ms"], row["until_ms"]) for row in document["downtime"]]
    same("downtime", gaps, silence[-NEWEST:])
    same("downtime_total", document["downtime_total"], len(silence))
    paid = [
        (row["at_ms"], D(row["amount"]))
        for row in ledger.money
        if row["kind"] == "transfer" and row["at_ms"] < document["as_of_ms"]
    ]
    shown = [(row["at_ms"], D(row["amount"])) for row in document["transfers"]]
    same("transfers", shown, paid[-NEWEST:])
    same("transfers_total", document["transfers_total"], len(paid))


def _of_months(document: dict[str, Any], days: list[dict[str, Any]], same: Same) -> None:
    for row in document["months"]:
        own = [day for day in days if day["day"].startswith(row["month"])]
        for name in ("pnl", "flows", "fees", "funding"):
            same(f"{row['month']} {name}", row[name], _sum(day[name] for day in own))
        same(f"{row['month']} equity_end", row["equity_end"], own[-1]["equity_end"])
        same(f"{row['month']} trades", row["trades"], sum(day["trades"] for day in own))
        complete = [day for day in own if day["complete"]]
        same(f"{row['month']} complete_days", row["complete_days"], len(complete))
        gaining = sum(day["return"] > 0 for day in complete)
        losing = sum(day["return"] < 0 for day in complete)
        same(f"{row['month']} gaining_days", row["gaining_days"], gaining)
        same(f"{row['month']} losing_days", row["losing_days"], losing)
        whole = math.prod(1.0 + day["return"] for day in own) - 1.0
        same(f"{row['month']} return", row["return"], whole)


def _of_days(shown: dict[str, Any], complete: list[float], same: Same) -> None:
    n = len(complete)
    for name in ("return_twr", "max_drawdown", "sharpe", "sortino"):
        same(f"{name} n", shown[name]["n"], n)
        if n < DAYS_MIN:
            same(name, shown[name]["value"], None)
    if n < DAYS_MIN:
        return
    index = [math.prod(1.0 + r for r in complete[:i]) for i in range(n + 1)]
    mean = math.fsum(complete) / n
    deviation = math.sqrt(math.fsum((r - mean) ** 2 for r in complete) / (n - 1))
    downside = math.sqrt(math.fsum(min(r, 0.0) ** 2 for r in complete) / n)
    falls = [index[i] / max(index[: i + 1]) - 1.0 for i in range(n + 1)]
    same("return_twr", shown["return_twr"]["value"], index[-1] - 1.0)
    same("max_drawdown", shown["max_drawdown"]["value"], min(falls))
    same("sharpe", shown["sharpe"]["value"], mean / deviation * math.sqrt(365))
    same("sortino", shown["sortino"]["value"], mean / downside * math.sqrt(365))


def _of_trades(
    who: str,
    shown: dict[str, Any],
    trades: list[Stretch],
    plans: Plans,
    complete_days: int,
    same: Same,
) -> None:
    same(f"{who} trades", shown["trades"]["value"], len(trades))
    with_r = [r for r in map(plans.r, trades) if r is not None]
    same(f"{who} win_rate n", shown["win_rate"]["n"], len(trades))
    same(f"{who} expectancy_r n", shown["expectancy_r"]["n"], len(with_r))
    if shown["win_rate"]["value"] is not None:
        wins = sum(trade.net > 0 for trade in trades)
        same(f"{who} win_rate", shown["win_rate"]["value"], wins / len(trades))
    if complete_days < DAYS_MIN:
        same(f"{who} expectancy_r", shown["expectancy_r"]["value"], None)
        same(f"{who} profit_factor", shown["profit_factor"]["value"], None)
        return
    if shown["expectancy_r"]["value"] is not None:
        same(f"{who} expectancy_r", shown["expectancy_r"]["value"], math.fsum(with_r) / len(with_r))
        won = _sum(t.net for t in trades if t.net > 0)
        lost = -_sum(t.net for t in trades if t.net < 0)
        same(f"{who} profit_factor", shown["profit_factor"]["value"], float(won / lost))


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, D(0))
