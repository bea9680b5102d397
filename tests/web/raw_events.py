"""Plans, states and cycles from the raw ``event`` rows, without a read model."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.web.ledger_by_definition import Stretch

D = Decimal
REFUSALS = ("candidates_vetoed", "candidates_refined", "entries_denied", "permit_denied")
COUNTED = ("cycle_ranked", "cycle_closed", *REFUSALS)


class Plans:
    """Plans, trading states, cycles and configurations of the raw events."""

    def __init__(self, journal: Path) -> None:
        connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)

        def bodies(kind: str) -> list[dict[str, Any]]:
            rows = connection.execute("SELECT body FROM event WHERE kind = ? ORDER BY seq", (kind,))
            return [json.loads(body) for (body,) in rows]

        rows = connection.execute("SELECT kind, body FROM event ORDER BY seq")
        self.events = [(kind, json.loads(body)) for kind, body in rows]
        plans = {row["permit_id"]: row["plan"] for row in bodies("permit_granted")}
        intents = [row["intent"] for row in bodies("intent_recorded")]
        self.intents = {intent["client_order_id"]: intent for intent in intents}
        self.of_order = {
            i["client_order_id"]: plans[i["permit_id"]] for i in intents if i["permit_id"] in plans
        }
        self.snapshot_ms = max(row["at_ms"] for row in bodies("equity_recorded"))
        self._states = [row for row in bodies("state_changed") if row["at_ms"] <= self.snapshot_ms]
        self.snapshots_ms = sorted({row["at_ms"] for row in bodies("equity_recorded")})
        self._said = [row for row in bodies("command_recorded") if row["at_ms"] <= self.snapshot_ms]
        self._lives = [
            (row["at_ms"], kind, row.get("reason", ""))
            for kind in ("run_started", "run_stopped")
            for row in bodies(kind)
        ]
        self._any_ms = [at_ms for (at_ms,) in connection.execute("SELECT at_ms FROM event")]
        known = {
            kind: [row for row in bodies(kind) if row["at_ms"] <= self.snapshot_ms]
            for kind in COUNTED
        }
        ranked = known["cycle_ranked"]
        self.cycles = len(
            {row["cycle_at_ms"] for row in ranked}
            | {row["cycle_at_ms"] for row in known["cycle_closed"]}
        )
        self.candidates = sum(row["candidates"] for row in ranked)
        self.refusals = sum(sum(count_refusals(k, row)) for k in REFUSALS for row in known[k])
        self.newest_seq = connection.execute("SELECT max(seq) FROM event").fetchone()[0]
        self._closed_at_ms = [row["at_ms"] for row in bodies("cycle_closed")]
        connection.close()

    def r(self, trade: Stretch) -> float | None:
        """Return net over planned risk; None if a part of the trade was not planned."""
        plans = [self.of_order.get(client_order_id) for client_order_id in trade.entry_ids]
        plan = plans[0] if plans and None not in plans else None
        if plan is None:
            return None
        distance = abs(D(plan["entry_price"]) - D(plan["stop_price"]))
        return float(trade.net / (distance * trade.added * trade.contract_size))

    def spans(self, states: Collection[str]) -> list[tuple[int, int | None, str]]:
        """Return start, end (None: still) and reason of each period in these states."""
        found: list[tuple[int, int | None, str]] = []
        for row in self._states:
            was, is_ = row["before"] in states, row["after"] in states
            if is_ and not was:
                found.append((row["at_ms"], None, row["reason"]))
            elif was and not is_:
                found[-1] = (found[-1][0], row["at_ms"], found[-1][2])
        return found

    def silence(self, longer_than_ms: int) -> list[tuple[int, int]]:
        """Return the times between two closed cycles that are longer than a limit."""
        known = [at_ms for at_ms in self._closed_at_ms if at_ms <= self.snapshot_ms]
        return [(a, b) for a, b in pairwise(known) if b - a > longer_than_ms]

    def steps(self, from_ms: int, until_ms: int | None) -> list[tuple[int, str]]:
        """Return the steps of a halt, with times and the operator's notes."""
        end_ms = 2**62 if until_ms is None else until_ms
        rows = [row for row in self._states if from_ms <= row["at_ms"] < end_ms]
        made = [(row["at_ms"], _note(row)) for row in rows]
        return sorted(
            made
            + [
                (row["at_ms"], row["note"])
                for row in self._said
                if from_ms <= row["at_ms"] < end_ms
            ]
        )

    def ending(self, until_ms: int) -> tuple[str, str]:
        """Return the reason for the end of a halt, and the operator's note."""
        (row,) = [row for row in self._states if row["at_ms"] == until_ms]
        return row["reason"], _note(row)

    def cause(self, from_ms: int, until_ms: int, longer_than_ms: int) -> str:
        """Return the cause of a downtime, from the events before it."""
        for at_ms, kind, reason in sorted(self._lives):
            if from_ms <= at_ms <= until_ms:
                return "stop" if kind == "run_stopped" and reason != "crashed" else "crash"
        inside = sorted(at for at in self._any_ms if from_ms <= at <= until_ms)
        received = [from_ms, *inside, until_ms]
        silent = max(later - earlier for earlier, later in pairwise(received))
        return "sleep" if silent > longer_than_ms else "unknown"

    @property
    def state(self) -> str:
        return self._states[-1]["after"] if self._states else "active"

    def planned_stop(self, trade: Stretch) -> Decimal:
        return D(self.of_order[trade.entry_ids[0]]["stop_price"])

    def worst_case_r(self, trade: Stretch) -> float | None:
        """Return net over the permit's worst case, for the filled part of its plan."""
        if self.r(trade) is None:
            return None
        plan = self.of_order[trade.entry_ids[0]]
        planned = D(plan["quantity"]) * D(plan["contract_size"])
        share = trade.added * trade.contract_size / planned
        return float(trade.net / (D(plan["risk"]) * share))

    def ended_by(self, trade: Stretch) -> str:
        """Return the exit reason, which is the role of the order that closed the trade."""
        intent = self.intents[trade.last_id]
        hold_ms = self.of_order[trade.entry_ids[0]]["hold_ms"]
        held_ms = intent["intended_at_ms"] - trade.opened_at_ms
        late = intent["role"] == "exit" and 0 < hold_ms <= held_ms
        return "time_limit" if late else str(intent["role"])

    def flattened_for(self, trade: Stretch) -> str | None:
        """Return the cause of the flatten whose order closed this trade."""
        states = [row for row in self._states if row["at_ms"] <= trade.closed_at_ms]
        if self.ended_by(trade) != "exit" or not states or states[-1]["after"] != "flattening":
            return None
        return str(states[-1]["reason"])

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events of some kinds up to the newest snapshot, oldest first."""
        return [
            row for kind, row in self.events if kind in kinds and row["at_ms"] <= self.snapshot_ms
        ]

    @cached_property
    def by_order(self) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """The events that name an order, oldest first, by its client order id."""
        found: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        for kind, row in self.events:
            if "client_order_id" in row:
                found[row["client_order_id"]].append((kind, row))
        return found

    @property
    def configurations(self) -> list[dict[str, Any]]:
        """The configuration of every run."""
        return [
            {"at_ms": r["at_ms"], "digest": r["config_digest"], "reason": r["change_reason"]}
            for r in self.of_kind("run_started")
        ]

    @property
    def changed_configurations(self) -> list[dict[str, Any]]:
        """The configurations of the runs that had another one than the run before."""
        found: list[dict[str, Any]] = []
        for row in self.configurations:
            if not found or found[-1]["digest"] != row["digest"]:
                found.append(row)
        return found

    @property
    def disabled_strategies(self) -> list[dict[str, Any]]:
        """The periods of disabled strategies with start, end (None: still) and reason."""
        found: list[dict[str, Any]] = []
        for row in self.of_kind("strategy_disabled", "strategy_resumed"):
            if "code" in row:
                span = {"strategy": row["strategy"], "from_ms": row["at_ms"], "until_ms": None}
                found.append({**span, "reason": row["code"]})
                continue
            for span in found:
                if span["strategy"] == row["strategy"] and span["until_ms"] is None:
                    span["until_ms"] = row["at_ms"]
        return found

    @property
    def commands(self) -> list[dict[str, Any]]:
        """The recorded commands of the operator that changed no trading state."""
        names = ("at_ms", "reason", "note")
        return [{name: row[name] for name in names} for row in self.of_kind("command_recorded")]

    def strategy(self, trade: Stretch) -> str:
        strategy: str = self.of_order[trade.entry_ids[0]]["strategy"]
        return strategy


def count_refusals(kind: str, row: dict[str, Any]) -> tuple[int, int]:
    """Return how many candidates an event says are vetoed, and denied or refused."""
    match kind:
        case "candidates_vetoed":
            return len(row["candidates"]), 0
        case "candidates_refined":
            return 0, sum(each["verdict"] == "refuse" for each in row["candidates"])
        case "entries_denied":
            return 0, len(row["entries"])
        case _:
            return 0, int(kind == "permit_denied")


def _note(row: dict[str, Any]) -> str:
    return next((figure["value"] for figure in row["figures"] if figure["name"] == "note"), "")
