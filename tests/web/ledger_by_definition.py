"""Money and trades by definition, added up from the venue's file alone.

Nothing here calls code of ``kamou/core`` or reads a read model. A day is a UTC day, a fill or
payment belongs to the day of its own time, and equity at T is the wallet balance after all fills
and payments before T with the open positions at the marks of T.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

D = Decimal
DAY_MS = 86_400_000
LAST_DIGIT = D("0.00000001")
MarkAt = Callable[[str, int], Decimal]
"""A function of symbol and ``at_ms`` that returns the venue's mark price then."""


@attrs.frozen(kw_only=True)
class Stretch:
    """A position from flat to flat, which is a trade."""

    symbol: str
    opened_at_ms: int
    closed_at_ms: int
    entry_ids: tuple[str, ...]  # of the orders that filled in it, in order
    net: Decimal  # after fees and funding
    fees: Decimal
    funding: Decimal
    slippage: Decimal  # of all its fills, money
    added: Decimal  # contracts, by the orders that opened or enlarged it
    contract_size: Decimal
    side: str
    entry_price: Decimal  # averages of what opened or enlarged it, and of what reduced it
    exit_price: Decimal
    last_id: str  # of the order that closed it; empty: the venue did


@attrs.define
class _Open:
    opened_at_ms: int
    quantity: Decimal = D(0)  # signed
    cash: Decimal = D(0)  # bought is negative, sold positive: money
    fees: Decimal = D(0)
    funding: Decimal = D(0)
    slippage: Decimal = D(0)
    added: Decimal = D(0)
    paid_in: Decimal = D(0)  # contracts x price of what was added, and of what was taken off
    paid_out: Decimal = D(0)
    ids: list[str] = attrs.Factory(list)


class Ledger:
    """Fills and payments of the venue's file, oldest first, and sums of them."""

    def __init__(self, venue: Path, mark_at: MarkAt) -> None:
        connection = sqlite3.connect(f"file:{venue}?mode=ro", uri=True)
        rows = connection.execute("SELECT kind, body FROM audit_log ORDER BY n").fetchall()
        connection.close()
        read = [(kind, json.loads(body)) for kind, body in rows]
        self.fills = [row for kind, row in read if kind == "fill"]
        self.money = [row for kind, row in read if kind == "money"]
        self._mark_at = mark_at
        self._entries = sorted([*self.money, *self.fills], key=lambda row: row["at_ms"])
        self._reached_ms, self._next, self._wallet = 0, 0, D(0)
        self._open: dict[str, list[Decimal]] = {}
        (opening,) = [row for row in self.money if row["kind"] == "opening"]
        self.began_ms = opening["at_ms"]
        at_midnight = self.began_ms % DAY_MS == 0  # what is of 00:00 belongs to the day that begins
        self.first_ms = self.began_ms + (not at_midnight)
        self.start = total(D(row["amount"]) for row in self.money if row["at_ms"] < self.first_ms)
        if at_midnight:
            self.start = D(opening["amount"])

    # --- sums over a stretch of time, its end not included ---------------------------

    def funding(self, from_ms: int, to_ms: int) -> Decimal:
        return total(
            D(row["amount"])
            for row in self.money
            if row["kind"] == "funding" and from_ms <= row["at_ms"] < to_ms
        )

    def moved(self, from_ms: int, to_ms: int) -> Decimal:
        """Return deposits less withdrawals of the record in an interval."""
        return total(D(row["amount"]) for row in self.transfers(from_ms, to_ms))

    def fees(self, from_ms: int, to_ms: int) -> Decimal:
        return total(D(f["fee"]) for f in self.fills if from_ms <= f["at_ms"] < to_ms)

    def transfers(self, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
        """Return the transfers of an interval that the record's first equity excludes."""
        return [
            row
            for row in self.money
            if row["kind"] == "transfer" and max(from_ms, self.first_ms) <= row["at_ms"] < to_ms
        ]

    def equity(self, to_ms: int, *, marks_at_ms: int | None = None) -> Decimal:
        """Return wallet balance before ``to_ms`` plus positions at the marks then.

        The marks are those of ``marks_at_ms`` if it is given.
        """
        wallet, open_ = self._until(to_ms)
        marks = (
            (held[0] * self._mark_at(symbol, marks_at_ms or to_ms) - held[1]) * held[2]
            for symbol, held in open_.items()
            if held[0]
        )
        return wallet + total(marks)

    def growth(self, from_ms: int, to_ms: int) -> float:
        """Return the time-weighted return, compounded between the transfers."""
        growth = 1.0
        start = self.start if from_ms <= self.began_ms else self.equity(from_ms)
        for at_ms, amount in self.moved_by_time(from_ms, to_ms).items():
            before = self.just_before(at_ms)
            growth *= float(before / start)
            start = before + amount
        return growth * float(self.equity(to_ms) / start) - 1.0

    def _until(self, to_ms: int) -> tuple[Decimal, dict[str, list[Decimal]]]:
        """Return the wallet, and quantity, cost and contract size by symbol, at a time.

        A call for a later time goes on from the state of the last call.
        """
        if to_ms < self._reached_ms:
            self._next, self._wallet, self._open = 0, D(0), {}
        self._reached_ms = to_ms
        while self._next < len(self._entries) and self._entries[self._next]["at_ms"] < to_ms:
            row = self._entries[self._next]
            self._next += 1
            if "fee" in row:
                self._wallet += _take(self._open.setdefault(row["symbol"], [D(0)] * 3), row)
            else:
                self._wallet += D(row["amount"])
        return self._wallet, self._open

    def moved_by_time(self, from_ms: int, to_ms: int) -> dict[int, Decimal]:
        found: dict[int, Decimal] = defaultdict(D)
        for row in self.transfers(from_ms, to_ms):
            found[row["at_ms"]] += D(row["amount"])
        return found

    def just_before(self, transfer_at_ms: int) -> Decimal:
        """Return the equity just before a transfer and all others of its time."""
        return self.equity(transfer_at_ms)

    def slippage(self, fill: dict[str, Any]) -> Decimal:
        """Return the slippage of a fill: from a stop's trigger, else from the mid then.

        A fill that paid the maker's fee has none: it filled at its own limit. Nor has one by the
        venue itself.
        """
        contracts, price = D(fill["quantity"]) * D(fill["contract_size"]), D(fill["price"])
        taken = (contracts * price * D(fill["taker_fee"])).quantize(LAST_DIGIT)
        if D(fill["fee"]) != taken or not fill["client_order_id"]:
            return D(0)
        if fill["type"] == "stop_market":
            reference = D(fill["trigger_price"])
        else:
            reference = self._mark_at(fill["symbol"], fill["at_ms"])
        worse = (price - reference) * (1 if fill["side"] == "buy" else -1)
        return (worse * contracts).quantize(LAST_DIGIT)

    def fills_of(self, trade: Stretch) -> list[dict[str, Any]]:
        """Return the fills of a trade in the venue's order."""
        return [
            fill
            for fill in self.fills
            if fill["symbol"] == trade.symbol
            and trade.opened_at_ms <= fill["at_ms"] <= trade.closed_at_ms
        ]

    def trades(self, until_ms: int) -> list[Stretch]:
        """Return the positions that were closed before ``until_ms``, oldest first."""
        entries = [(f["at_ms"], 1, f) for f in self.fills]
        entries += [(m["at_ms"], 0, m) for m in self.money if m["kind"] == "funding"]
        open_: dict[str, _Open] = {}
        done: list[Stretch] = []
        for at_ms, is_fill, row in sorted(entries, key=lambda entry: entry[:2]):
            if at_ms >= until_ms:
                break
            if is_fill:
                done.extend(_filled(open_, row, self.slippage(row)))
            else:
                open_[row["symbol"]].funding += D(row["amount"])
        return done


def _take(held: list[Decimal], fill: dict[str, Any]) -> Decimal:
    """Apply a fill to a position; return the change of the wallet balance."""
    quantity, price, size = signed(fill), D(fill["price"]), D(fill["contract_size"])
    gain = D(0)
    same = held[0] * quantity >= 0
    closed = D(0) if same else min(abs(held[0]), abs(quantity))
    if closed:
        average = held[1] / held[0]
        gain = (price - average) * closed * size * (1 if held[0] > 0 else -1)
        held[1] -= held[1] * closed / abs(held[0])
    opened = quantity if same else quantity + (closed if held[0] > 0 else -closed)
    held[0] += quantity
    held[1] = (D(0) if held[0] == opened else held[1]) + opened * price
    held[2] = size
    return gain.quantize(LAST_DIGIT) - D(fill["fee"])


def signed(fill: dict[str, Any]) -> Decimal:
    return D(fill["quantity"]) * (1 if fill["side"] == "buy" else -1)


def _filled(open_: dict[str, _Open], fill: dict[str, Any], slippage: Decimal) -> Iterator[Stretch]:
    quantity, size = signed(fill), D(fill["contract_size"])
    held = open_.setdefault(fill["symbol"], _Open(fill["at_ms"]))
    assert abs(held.quantity + quantity) <= max(abs(held.quantity), abs(quantity)) or (
        held.quantity * quantity >= 0
    )
    if held.quantity * quantity >= 0:
        held.added += abs(quantity)
        held.paid_in += abs(quantity) * D(fill["price"])
        if fill["client_order_id"] not in held.ids:
            held.ids.append(fill["client_order_id"])
    else:
        held.paid_out += abs(quantity) * D(fill["price"])
    held.cash -= quantity * D(fill["price"]) * size
    held.fees += D(fill["fee"])
    held.slippage += slippage
    held.quantity += quantity
    if held.quantity == 0:
        del open_[fill["symbol"]]
        yield Stretch(
            symbol=fill["symbol"],
            opened_at_ms=held.opened_at_ms,
            closed_at_ms=fill["at_ms"],
            entry_ids=tuple(held.ids),
            net=held.cash - held.fees + held.funding,
            fees=held.fees,
            funding=held.funding,
            slippage=held.slippage,
            added=held.added,
            contract_size=size,
            side="long" if quantity < 0 else "short",
            entry_price=held.paid_in / held.added,
            exit_price=held.paid_out / held.added,
            last_id=fill["client_order_id"] or "",
        )


def total(values: Iterable[Decimal]) -> Decimal:
    return sum(values, D(0))
