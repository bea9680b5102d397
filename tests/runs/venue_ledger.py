"""The days of a record, computed from the exchange's file and market prices.

It reads the file with SQL and JSON and shares no code with the product.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs

DAY = 86_400_000


@attrs.frozen
class Day:
    """The figures of one calendar day, or of its part that is in the record."""

    equity_start: D
    equity_end: D
    change: D
    net_deposits: D
    fees: D
    funding: D
    trades: int  # positions that became flat


@attrs.define
class Ledger:
    """Fills and payments of the file in the order of their times."""

    entries: list[tuple[int, int, dict[str, Any]]]
    opening: D
    sizes: Mapping[str, D]  # units of the base currency in one contract

    @classmethod
    def read(cls, path: Path, sizes: Mapping[str, D], opening: D) -> Ledger:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            rows = [
                (json.loads(body), kind)
                for kind, table in enumerate(("fills", "income"))
                for (body,) in file.execute(f"SELECT body FROM {table} ORDER BY n")
            ]
        entries = [(row["at_ms"], kind, row) for row, kind in rows]
        return cls(sorted(entries, key=lambda each: each[0]), opening, sizes)

    def equity(self, before_ms: int, mark: Callable[[str, int], D]) -> D:
        """Return the equity at an instant: the balance, and the positions at their marks."""
        cash, held = self.opening, dict.fromkeys(self.sizes, D(0))
        for at_ms, kind, row in self.entries:
            if at_ms >= before_ms:
                continue
            if kind:
                cash += D(row["amount"])
                continue
            units = D(row["quantity"]) * self.sizes[row["symbol"]]
            units *= 1 if row["side"] == "buy" else -1
            held[row["symbol"]] += units
            cash -= units * D(row["price"]) + D(row["fee"])
        return cash + sum(units * mark(symbol, before_ms) for symbol, units in held.items())

    def day(self, from_ms: int, until_ms: int, mark: Callable[[str, int], D]) -> Day:
        """Return the figures of the part of a day from ``from_ms`` to ``until_ms``."""
        inside = [each for each in self.entries if from_ms <= each[0] < until_ms]
        paid = [row for _, kind, row in inside if kind]
        net_deposits = sum((D(row["amount"]) for row in paid if row["kind"] == "transfer"), D(0))
        start, end = self.equity(from_ms, mark), self.equity(until_ms, mark)
        return Day(
            equity_start=start,
            equity_end=end,
            change=end - start - net_deposits,
            net_deposits=net_deposits,
            fees=sum((D(row["fee"]) for _, kind, row in inside if not kind), D(0)),
            funding=sum((D(row["amount"]) for row in paid if row["kind"] == "funding"), D(0)),
            trades=sum(from_ms <= at_ms < until_ms for at_ms in self.closes()),
        )

    def closes(self) -> list[int]:
        """Return the times at which a position became flat."""
        held, found = dict.fromkeys(self.sizes, D(0)), []
        for at_ms, kind, row in self.entries:
            if not kind:
                sign = 1 if row["side"] == "buy" else -1
                held[row["symbol"]] += sign * D(row["quantity"])
                if not held[row["symbol"]]:
                    found.append(at_ms)
        return found


def day_name(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d")
