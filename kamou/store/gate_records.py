"""Queries: each strategy's state and record at the gate, from the tables.

The gate itself folds the journal (``core/record/gate_record.py``); pages only read tables, and
``tests/store/test_gate_records.py`` compares the two.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal

import attrs

from kamou.core.book.gate_events import GateChanged
from kamou.core.book.gate_states import GateStates, StrategyGate
from kamou.core.book.shadow_events import ShadowTradesClosed, ShadowTradesOpened
from kamou.core.kinds import GateState
from kamou.core.record.canary import Pair
from kamou.core.record.e_values import ResultOfTrade
from kamou.core.record.gate_transitions import GateRecord
from kamou.messages.codec import decode, kind_of
from kamou.store.latest_run import ASSUMED_GATE, latest_run
from kamou.store.shadow_rows import ShadowTradeRow
from kamou.store.table_rows import select

SHADOW_EVENTS = (ShadowTradesOpened, ShadowTradesClosed)


@attrs.frozen(kw_only=True)
class GateSource:
    """A strategy's state at the gate, and the record that it is judged by."""

    gate: StrategyGate
    record: GateRecord
    opened: int  # open shadow trades


def find_gate_strategies(reader: sqlite3.Connection) -> tuple[str, ...]:
    """Return the strategies at the gate, by name.

    They are the enabled ones of the newest run if its gate has states, and those with a shadow
    trade or a change at the gate.

    Raises:
        ValueError: this version cannot decode the newest run's event.
    """
    run = latest_run(reader)
    found = set(run.enabled if run is not None and run.gate != ASSUMED_GATE else ())
    for table in ("shadow_trade", "gate_change"):
        # Each step finds the next name in the index, so it does not read all rows.
        rows = reader.execute(
            f"WITH RECURSIVE named(name) AS (SELECT min(strategy) FROM {table} UNION ALL"
            f" SELECT (SELECT min(strategy) FROM {table} WHERE strategy > name) FROM named"
            " WHERE name IS NOT NULL) SELECT name FROM named WHERE name IS NOT NULL"
        )
        found.update(name for (name,) in rows)
    return tuple(sorted(found))


def query_records_key(reader: sqlite3.Connection) -> tuple[object, ...]:
    """Return a value that differs once any strategy's state or record does."""
    newest = "SELECT max(seq) FROM event WHERE kind = ? AND key IS NULL"
    shadows = [reader.execute(newest, (kind_of(each),)).fetchone() for each in SHADOW_EVENTS]
    # Changes at the gate; results, corrections of them and open trades.
    others = reader.execute(
        "SELECT (SELECT count(*) FROM gate_change), (SELECT max(rowid) FROM trade),"
        " (SELECT count(*) FROM open_trade), (SELECT value FROM total WHERE name = 'day_revision')"
    ).fetchone()
    return (*shadows, others)


def query_gate_source(reader: sqlite3.Connection, strategy: str) -> GateSource:
    """Return a strategy's state and record; SHADOW and empty if it is unknown.

    Raises:
        ValueError: this version cannot decode an event of the gate.
    """
    gate = _fold_gate(reader, strategy)
    opened, open_since_ms = reader.execute(
        "SELECT count(*), min(opened_at_ms) FROM shadow_trade"
        " WHERE strategy = ? AND closed_at_ms IS NULL",
        (strategy,),
    ).fetchone()
    record = GateRecord(
        strategy=strategy,
        closed=tuple(_results(reader, strategy)),
        open_since_ms=open_since_ms,
        pairs=tuple(_pairs(reader, strategy, gate)),
        real_open_since_ms=_real_open_since_ms(reader, strategy, gate),
    )
    return GateSource(gate=gate, record=record, opened=opened)


def newest_shadow_trades(
    reader: sqlite3.Connection, strategy: str, *, limit: int
) -> tuple[ShadowTradeRow, ...]:
    """Return a strategy's closed shadow trades, the newest close first."""
    tail = "WHERE strategy = ? AND closed_at_ms IS NOT NULL ORDER BY closed_at_ms DESC, shadow_id"
    return select(reader, ShadowTradeRow, f"{tail} LIMIT ?", strategy, limit)


def _fold_gate(reader: sqlite3.Connection, strategy: str) -> StrategyGate:
    states = GateStates()
    rows = reader.execute(
        "SELECT body FROM event WHERE kind = ? AND key IN"
        " (SELECT strategy || '.' || number FROM gate_change WHERE strategy = ?) ORDER BY seq",
        (kind_of(GateChanged), strategy),
    )
    for (body,) in rows:
        states.change(decode(GateChanged, body))
    return states.find(strategy)


def _results(reader: sqlite3.Connection, strategy: str) -> Iterator[ResultOfTrade]:
    rows = reader.execute(
        "SELECT symbol, opened_at_ms, closed_at_ms, r, pnl FROM shadow_trade"
        " WHERE strategy = ? AND closed_at_ms IS NOT NULL ORDER BY closed_at_ms",
        (strategy,),
    )
    for symbol, opened_at_ms, closed_at_ms, r, pnl in rows:
        yield ResultOfTrade(
            strategy=strategy,
            symbol=symbol,
            opened_at_ms=opened_at_ms,
            closed_at_ms=closed_at_ms,
            r=Decimal(r),
            pnl=Decimal(pnl),
        )


def _pairs(reader: sqlite3.Connection, strategy: str, gate: StrategyGate) -> Iterator[Pair]:
    """Yield the closes of a canary whose shadow trades have closed; none in SHADOW."""
    if not gate.canary_at_ms:
        return
    # A LIVE strategy keeps the pairs that it earned as a canary; later changes of its size do not
    # matter.
    (until_ms,) = reader.execute(
        "SELECT max(at_ms) FROM gate_change WHERE strategy = ? AND from_state = ?"
        " AND to_state = ? AND at_ms >= ?",
        (strategy, GateState.CANARY, GateState.LIVE, gate.canary_at_ms),
    ).fetchone()
    rows = reader.execute(
        "SELECT s.opened_at_ms, t.r_multiple, s.r FROM trade AS t"
        " JOIN shadow_trade AS s ON s.shadow_id = t.trade_id"
        " WHERE t.strategy = ? AND t.opened_at_ms >= ? AND t.r_multiple IS NOT NULL"
        " AND s.closed_at_ms IS NOT NULL AND (? IS NULL OR t.closed_at_ms <= ?)"
        " ORDER BY t.closed_at_ms",
        (strategy, gate.canary_at_ms, until_ms, until_ms),
    )
    for opened_at_ms, real_r, shadow_r in rows:
        yield Pair(
            opened_at_ms=opened_at_ms, real_r=Decimal(repr(real_r)), shadow_r=Decimal(shadow_r)
        )


def _real_open_since_ms(
    reader: sqlite3.Connection, strategy: str, gate: StrategyGate
) -> int | None:
    """Return the opening of the canary's oldest open trade; None without one.

    It is that of its shadow trade, or the trade's first fill if it has none.
    """
    if not gate.canary_at_ms:
        return None
    found = reader.execute(
        "SELECT min(f.at_ms), h.opened_at_ms FROM open_trade AS o"
        " JOIN signal AS s ON s.signal_id = o.trade_id JOIN fill AS f ON f.trade_id = o.trade_id"
        " LEFT JOIN shadow_trade AS h ON h.shadow_id = o.trade_id"
        " WHERE s.strategy = ? GROUP BY o.trade_id",
        (strategy,),
    ).fetchall()
    opened = (
        at_ms if shadow_ms is None else shadow_ms
        for at_ms, shadow_ms in found
        if at_ms >= gate.canary_at_ms
    )
    return min(opened, default=None)
