"""``/strategies`` and ``/strategies/{name}``: states at the gate, and evidence."""

from __future__ import annotations

import sqlite3

import attrs
import msgspec
from starlette.exceptions import HTTPException

from kamou.core.book.gate_states import TRADING_STATES
from kamou.core.day import day_start_ms
from kamou.core.kinds import GateReason, GateState
from kamou.core.plain import to_plain
from kamou.core.record.gate_explanation import GateExplanation, explain_record
from kamou.core.record.gate_transitions import GateRules
from kamou.core.record.performance import TRADES_MIN
from kamou.core.record.promotion import LIVE_FACTOR
from kamou.http.responses import HTML, JSON
from kamou.store import public_queries, queries
from kamou.store.gate_changes import query_gate_changes
from kamou.store.gate_records import (
    find_gate_strategies,
    newest_shadow_trades,
    query_gate_source,
    query_records_key,
)
from kamou.web.pages.base import PageRequest, RenderedPage

BLOCKS_SHOWN = 60  # the newest; 120 would be 40 KB
TRADES_SHOWN = 30
CHANGES_SHOWN = 50
DESCRIPTION = (
    "Every strategy's state at the promotion gate, the evidence of its shadow record, and what it"
    " lacks."
)
SIZE_WORDS = {
    GateState.SHADOW: "shadow: no real trades",
    GateState.CANARY: "canary: a quarter of the full size",
    GateState.LIVE: "live: full size",
    GateState.HALTED: "halted for good",
}
REASON_WORDS = {
    GateReason.CANARY_EARNED: "earned a quarter of the size",
    GateReason.LIVE_EARNED: "earned the full size",
    GateReason.ROLLING_MEAN: "the mean of the last trades crossed 0",
    GateReason.CUSUM: "results worse than the record that earned it",
    GateReason.DRAWDOWN: "a deeper fall than that record makes likely",
    GateReason.RUIN: "a loss that the evidence excludes",
}
FIGURE_WORDS = {
    "e_value_blocks": "e-value of blocks",
    "sharpe": "Sharpe ratio",
    "usd_per_100": "money per 100 trades",
    "canary_closes": "closed canary trades",
    "shortfall": "below their shadow trades, R",
    "rolling_mean": "mean R of the last trades",
    "cusum": "CUSUM, R",
    "drawdown": "drawdown, R",
    "ruin": "because",
}
WATCHED_WORDS = {
    "rolling_mean": ("Mean of the last trades, R", "half size below"),
    "cusum": ("CUSUM since the canary, R", "shadow above"),
    "drawdown": ("Drawdown since the canary, R", "shadow above"),
}


@attrs.frozen(kw_only=True)
class GateLine:
    """One strategy at the gate: its arithmetic and the open shadow trades."""

    explained: GateExplanation
    opened: int  # open shadow trades

    @property
    def state(self) -> str:
        """The state in words, with a halved size."""
        gate = self.explained.gate
        return SIZE_WORDS[gate.state] + (", halved" if gate.half_size else "")

    @property
    def e_value_min(self) -> int:
        """E-value of blocks that a canary needs, or from there on that of LIVE."""
        live = self.explained.look.live_e_value_min
        return live if self.explained.gate.state in TRADING_STATES else live // LIVE_FACTOR


def gather_lines(request: PageRequest, reader: sqlite3.Connection) -> tuple[GateLine, ...]:
    """Return every strategy at the gate, by name."""
    return tuple(_line(request, reader, name) for name in find_gate_strategies(reader))


def _line(request: PageRequest, reader: sqlite3.Connection, strategy: str) -> GateLine:
    """Return a strategy's line; it is made again once a record changes or a day ends."""
    rules = GateRules(equity=float(request.site.equity))
    as_of_ms = day_start_ms(queries.head_at_ms(reader))

    def make() -> GateLine:
        source = query_gate_source(reader, strategy)
        explained = explain_record(source.record, source.gate, as_of_ms, rules)
        return GateLine(explained=explained, opened=source.opened)

    key = (as_of_ms, rules, *query_records_key(reader))
    return request.memo.keep(f"gate {strategy}", key, make)


def render(request: PageRequest) -> RenderedPage:
    """Return all strategies as HTML, or as JSON if the request prefers it."""
    with public_queries.open_snapshot(request.reader) as reader:
        lines = gather_lines(request, reader)
    if request.json:
        document = {
            "mode": request.site.mode,
            "gate": "assumed" if request.site.assumed_live else "earned",
            "strategies": [_document(each) for each in lines],
        }
        return RenderedPage(body=msgspec.json.encode(document), media_type=JSON)
    body = request.templates.page(
        "strategies.html",
        title="Strategies",
        path="/strategies",
        description=DESCRIPTION,
        lines=lines,
    )
    return RenderedPage(body=body, media_type=HTML)


def render_one(request: PageRequest) -> RenderedPage:
    """Return one strategy as HTML, or as JSON if the request prefers it.

    Raises:
        HTTPException: 404 if no strategy of this name has a shadow trade or a change at the gate.
    """
    name = request.path["name"]
    with public_queries.open_snapshot(request.reader) as reader:
        if name not in find_gate_strategies(reader):
            raise HTTPException(404)
        line = _line(request, reader, name)
        changes = query_gate_changes(reader, name)
        trades = newest_shadow_trades(reader, name, limit=TRADES_SHOWN)
    if request.json:
        document = {
            **_document(line),
            "blocks": [to_plain(each) for each in line.explained.blocks],
            "watched": [to_plain(each) for each in line.explained.watched],
            "data_hash": line.explained.data_hash,
            "changes": [to_plain(each) for each in changes],
        }
        return RenderedPage(body=msgspec.json.encode(document), media_type=JSON)
    blocks = line.explained.blocks
    body = request.templates.page(
        "strategy.html",
        title=f"Strategy {name}",
        path=f"/strategies/{name}",
        description=f"The state of {name} at the promotion gate, and its evidence line by line.",
        line=line,
        blocks=tuple(reversed(blocks[-BLOCKS_SHOWN:])),
        blocks_total=len(blocks),
        changes=tuple(reversed(changes[-CHANGES_SHOWN:])),
        changes_total=len(changes),
        trades=trades,
        trades_min=TRADES_MIN,
        reasons=REASON_WORDS,
        figures=FIGURE_WORDS,
        watched=WATCHED_WORDS,
    )
    return RenderedPage(body=body, media_type=HTML)


def _document(line: GateLine) -> dict[str, object]:
    each, gate = line.explained, line.explained.gate
    return {
        "strategy": each.strategy,
        "state": gate.state,
        "half_size": gate.half_size,
        "attempt": gate.attempt,
        "as_of_ms": each.as_of_ms,
        "from_ms": gate.from_ms or None,
        "until_ms": each.until_ms,
        "open": line.opened,
        "held_back": each.held_back,
        "m0": each.m0,
        "e_value_min": line.e_value_min,
        "evaluation": to_plain(each.look.evaluation),
        "canary_closes": each.look.comparison.closes,
        "lacks": list(each.lacks),
    }
