"""What only Kamou knows, from the raw ``event`` rows: plans, states, cycles. No read model."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from venue_ledger import Stretch

D = Decimal


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
