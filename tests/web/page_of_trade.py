"""Every number of a trade's page, from the venue's file and raw ``event`` rows.

The numbers are in the order of the page; none is from a read model or from the trade's JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.web.ledger_by_definition import Ledger, Stretch
from tests.web.page_numerals import MINUS, NUMBER, exact, lasted, moment, money, number, price
from tests.web.raw_events import Plans, count_refusals

D = Decimal
Line = tuple[int, str]  # of the timeline: when, and its numbers


class TradePage:
    """The signal, permit, orders and fills of a trade, and the numbers of its page."""

    def __init__(self, trade: Stretch, ledger: Ledger, plans: Plans) -> None:
        self._trade, self._ledger, self._plans = trade, ledger, plans
        entry = plans.intents[trade.entry_ids[0]]
        (self._permit,) = [
            row
            for kind, row in plans.events
            if kind == "permit_granted" and row["permit_id"] == entry["permit_id"]
        ]
        (self._signal,) = [
            each["candidate"] | {key: each[key] for key in ("verdict", "size_multiplier")}
            for kind, row in plans.events
            if kind == "candidates_refined"
            for each in row["candidates"]
            if each["candidate"]["signal_id"] == self._permit["plan"]["signal_id"]
        ]
        self._fills = ledger.fills_of(trade)
        fill_ids = {fill["client_order_id"] for fill in self._fills}
        self._orders = sorted(
            (
                intent
                for intent in plans.intents.values()
                if intent["trade_id"] == entry["trade_id"] or intent["client_order_id"] in fill_ids
            ),
            key=lambda intent: intent["intended_at_ms"],
        )

    def numbers(self) -> list[str]:
        """Return the numbers of the page in its order."""
        shown = [*self._money(), *map(self._fill, self._fills), *map(self._order, self._orders)]
        shown += [*self._chain(), *self._timeline()]
        return NUMBER.findall(" | ".join(shown))

    def _money(self) -> Iterator[str]:
        t, r = self._trade, self._plans.r(self._trade)
        worst = self._plans.worst_case_r(t)
        yield f"{t.symbol} {lasted(t.closed_at_ms - t.opened_at_ms)} {money(t.net, signed=True)}"
        yield "" if r is None else number(r, signed=True, places=3)
        stop = price(self._plans.planned_stop(t))
        yield f"{price(t.entry_price)} {price(t.exit_price)} {stop} {stop}"
        yield f"{exact(t.added)} {exact(t.contract_size)}"
        gross = t.net + t.fees - t.funding
        yield f"{cents(gross, signed=True)} {cents(t.fees)} {cents(t.funding, signed=True)}"
        yield f"{cents(t.slippage)} {cents(t.net, signed=True)}"
        for ratio in (r, worst):
            yield "" if ratio is None else number(ratio, signed=True, places=3)

    def _fill(self, fill: dict[str, Any]) -> str:
        figures = f"{exact(D(fill['quantity']))} {price(D(fill['price']))} {cents(D(fill['fee']))}"
        return f"{to_ms(fill['at_ms'])} {figures} {cents(self._ledger.slippage(fill))}"

    def _order(self, order: dict[str, Any]) -> str:
        prices = (order["limit_price"], order["trigger_price"])
        asked = " ".join(price(D(each)) for each in prices if each is not None)
        return f"{exact(D(order['quantity']))} {exact(self._filled(order))} {asked}"

    def _filled(self, order: dict[str, Any]) -> Decimal:
        own = [f for f in self._ledger.fills if f["client_order_id"] == order["client_order_id"]]
        return sum((D(fill["quantity"]) for fill in own), D(0))

    def _chain(self) -> Iterator[str]:
        plan, signal = self._permit["plan"], self._signal
        yield f"{to_ms(self._permit['at_ms'])} {money(plan['risk'])} {money(plan['notional'])}"
        yield exact(D(plan["quantity"]))
        yield " ".join(price(D(plan[f"{name}_price"])) for name in ("entry", "stop", "target"))
        yield number(signal["score"], places=4)
        yield f"{six(signal['stop_distance'])} {six(signal['target_distance'])}"
        yield f"{exact(D(signal['size_multiplier']))} {signal['proxy']}"
        yield " | ".join(f"{name} {six(value)}" for name, value in signal["features"])
        cycle = self._cycle()
        yield moment(cycle["cycle_at_ms"])
        abstained = sum(int(each["value"]) for each in cycle["abstained"])
        vetoed, refused = self._refusals(cycle["cycle_at_ms"])
        counts = (cycle["symbols"], abstained, cycle["candidates"], vetoed, refused)
        yield " ".join(f"{n:,}" for n in counts)
        yield f"{moment(signal['bar_opened_at_ms'])} {moment(signal['bar_closed_at_ms'])}"
        yield six(signal["close"])

    def _cycle(self) -> dict[str, Any]:
        """Return the newest cycle that ranked the signal's bar."""
        ranked = [row for kind, row in self._plans.events if kind == "cycle_ranked"]
        of_bar = [r for r in ranked if r["bar_closed_at_ms"] == self._signal["bar_closed_at_ms"]]
        newest: dict[str, Any] = of_bar[-1]
        return newest

    def _refusals(self, cycle_at_ms: int) -> tuple[int, int]:
        """Return the counts of vetoed, and of denied or refused, candidates of a cycle."""
        newest, vetoed, refused = 0, 0, 0
        for kind, row in self._plans.events:
            newest = max(newest, row.get("cycle_at_ms", 0) if kind.startswith("cycle_") else 0)
            if newest == cycle_at_ms:
                more = count_refusals(kind, row)
                vetoed, refused = vetoed + more[0], refused + more[1]
        return vetoed, refused

    # --- the timeline ------------------------------------------------------------------------

    def _timeline(self) -> list[str]:
        lines = [*self._causes()]
        for order in self._orders:
            lines += self._life(order)
        for fill in self._fills:
            lines.append((fill["at_ms"], f"{exact(D(fill['quantity']))} {price(D(fill['price']))}"))
        lines.append((self._trade.closed_at_ms, ""))
        ordered = sorted(lines, key=lambda line: line[0])
        return [f"{to_ms(at_ms)} {text}" for at_ms, text in ordered]

    def _causes(self) -> Iterator[Line]:
        signal, plan = self._signal, self._permit["plan"]
        yield signal["bar_opened_at_ms"], signal["symbol"]
        yield signal["bar_closed_at_ms"], six(signal["close"])
        yield self._cycle()["cycle_at_ms"], number(signal["score"], places=3)
        yield self._permit["at_ms"], f"{exact(D(plan['quantity']))} {money(plan['risk'])}"
        for kind, row in self._plans.events:
            if kind == "permit_consumed" and row["permit_id"] == self._permit["permit_id"]:
                yield row["at_ms"], ""

    def _life(self, order: dict[str, Any]) -> Iterator[Line]:
        yield order["intended_at_ms"], exact(D(order["quantity"]))
        known = self._plans.by_order[order["client_order_id"]]
        seen = [row for kind, row in known if kind == "order_accepted"]
        if seen:
            yield seen[0]["at_ms"], seen[-1]["venue_order_id"]
        ended = [r["at_ms"] for kind, r in known if kind in ("order_closed", "order_rejected")]
        filled = self._filled(order)
        if not ended and filled >= D(order["quantity"]):
            own = [
                f for f in self._ledger.fills if f["client_order_id"] == order["client_order_id"]
            ]
            ended = [max(own[-1]["at_ms"], seen[0]["at_ms"] if seen else order["intended_at_ms"])]
        if ended:
            yield ended[-1], exact(filled)


def cents(value: Decimal, *, signed: bool = False) -> str:
    """Return money with four decimal places."""
    return money(value, signed=signed, places=4)


def six(value: float) -> str:
    """Return a value with six significant digits."""
    return f"{MINUS if value < 0 else ''}{abs(value):.6g}"


def to_ms(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03d}"
