"""The read model: what each event changes in the tables that the site and the commands read.

Run inside the event's own transaction, in order. A projection depends on nothing but the event
and the rows that earlier events wrote, so replaying the journal makes the same tables again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from kamou.core.book import events as e
from kamou.core.book.late_events import DayCorrected, ResultCorrected, TransferValued
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.day import DAY_MS
from kamou.core.model import HALT_STATES, Denial
from kamou.messages.codec import encode
from kamou.store import projected_curve, projected_days, projected_downtime
from kamou.store import projected_money as money
from kamou.store import projected_orders as orders
from kamou.store.projected_totals import add_totals
from kamou.store.state_history import begins_period

Projection = Callable[[sqlite3.Cursor, int, Any], None]

READ_KEPT_MS = 7 * DAY_MS
"""How long refusals, and signals that led to no permit, stay in the read model. `kamou why` asks
for hours, and they are most of what a year would fill; the journal keeps them all."""

REFUSED = "refuse"  # the refiner's verdict that makes a refusal of tier T3


# --- the system ----------------------------------------------------------------


def _run_started(cursor: sqlite3.Cursor, seq: int, event: e.RunStarted) -> None:
    before = cursor.execute(
        "SELECT config_digest FROM run WHERE run_number < ? ORDER BY run_number DESC LIMIT 1",
        (event.run_number,),
    ).fetchone()
    changed = before is None or before[0] != event.config_digest
    cursor.execute(
        "INSERT OR REPLACE INTO run"
        " (run_number, mode, version, config_digest, started_at_ms, period_ms, change_reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            event.run_number,
            event.mode,
            event.version,
            event.config_digest,
            event.at_ms,
            projected_downtime.read_period_ms(event.config_json),
            event.change_reason if changed else None,
        ),
    )
    cursor.execute(
        "INSERT OR IGNORE INTO config (digest, first_ms, body, reason) VALUES (?, ?, ?, ?)",
        (event.config_digest, event.at_ms, event.config_json, event.change_reason),
    )
    if changed:
        add_totals(cursor, configs=1)
        if before is not None:  # the first is what the record began with
            projected_curve.mark_moment(cursor, "config", event.at_ms)


def _run_stopped(cursor: sqlite3.Cursor, seq: int, event: e.RunStopped) -> None:
    cursor.execute(
        "UPDATE run SET stopped_at_ms = ?, stop_reason = ? WHERE run_number = ?",
        (event.at_ms, event.reason, event.run_number),
    )


def _cycle_ranked(cursor: sqlite3.Cursor, seq: int, event: e.CycleRanked) -> None:
    known = cursor.execute(
        "SELECT candidates, abstained FROM cycle WHERE cycle_at_ms = ?", (event.cycle_at_ms,)
    ).fetchone()
    before = known or (0, 0)
    abstained = sum(int(figure.value) for figure in event.abstained)
    cursor.execute(
        "INSERT INTO cycle (cycle_at_ms, bar_closed_at_ms, symbols, candidates, abstained,"
        " late_shards) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (cycle_at_ms) DO UPDATE SET"
        " bar_closed_at_ms = excluded.bar_closed_at_ms, symbols = excluded.symbols,"
        " candidates = excluded.candidates, abstained = excluded.abstained,"
        " late_shards = excluded.late_shards",
        (
            event.cycle_at_ms,
            event.bar_closed_at_ms,
            event.symbols,
            event.candidates,
            abstained,
            event.late_shards,
        ),
    )
    add_totals(
        cursor,
        cycles=int(known is None),
        candidates=event.candidates - before[0],
        abstained=abstained - before[1],
    )


def _cycle_closed(cursor: sqlite3.Cursor, seq: int, event: e.CycleClosed) -> None:
    before = projected_downtime.newest_closed_cycle(cursor)
    if before is not None:
        found = projected_downtime.record_downtime(cursor, seq, event.at_ms, before)
        add_totals(cursor, downtimes=found)
    known = cursor.execute(
        "SELECT 1 FROM cycle WHERE cycle_at_ms = ?", (event.cycle_at_ms,)
    ).fetchone()
    cursor.execute(
        "INSERT INTO cycle (cycle_at_ms, bar_closed_at_ms, symbols, candidates, abstained,"
        " late_shards, positions, open_orders, drift, closed_at_ms)"
        " VALUES (?, 0, 0, 0, 0, 0, ?, ?, ?, ?)"
        " ON CONFLICT (cycle_at_ms) DO UPDATE SET positions = excluded.positions,"
        " open_orders = excluded.open_orders, drift = excluded.drift,"
        " closed_at_ms = excluded.closed_at_ms",
        (event.cycle_at_ms, event.positions, event.open_orders, event.drift, event.at_ms),
    )
    add_totals(cursor, cycles=int(known is None))


def _state_changed(cursor: sqlite3.Cursor, seq: int, event: e.StateChanged) -> None:
    before = cursor.execute('SELECT at_ms, "after" FROM state ORDER BY seq DESC LIMIT 1').fetchone()
    if before is not None and before[1] in HALT_STATES:
        projected_curve.mark_span(cursor, "halt", before[0], event.at_ms)
    moved = (event.before.value, event.after.value)
    add_totals(
        cursor,
        halts=int(begins_period("halt", *moved)),
        reductions=int(begins_period("reduced_size", *moved)),
    )
    cursor.execute(
        "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)",
        (
            seq,
            event.at_ms,
            event.before.value,
            event.after.value,
            event.reason,
            _json(event.figures),
        ),
    )


def _command_noted(cursor: sqlite3.Cursor, seq: int, event: CommandRecorded) -> None:
    if not event.note:  # a refused resume without words: there is nothing to publish
        return
    row = (seq, event.at_ms, event.reason, event.note)
    cursor.execute("INSERT INTO command VALUES (?, ?, ?, ?)", row)


# --- decisions -----------------------------------------------------------------


def _refuse(
    cursor: sqlite3.Cursor,
    seq: int,
    tier: str,
    event: e.CandidateVetoed | e.PermitDenied | e.CandidateRefined,
    where: tuple[str, str],
    denials: tuple[Denial, ...],
) -> None:
    cursor.execute(
        "INSERT INTO refusal VALUES (?, ?, ?, ?, ?, ?, ?)",
        (seq, event.at_ms, tier, event.signal_id, *where, _json(denials)),
    )
    # Refusals belong to the cycle in whose course they happen, which is the newest one.
    name = "vetoed" if tier == "T2" else "refused"
    cursor.execute(
        f"UPDATE cycle SET {name} = {name} + 1"
        " WHERE cycle_at_ms = (SELECT max(cycle_at_ms) FROM cycle)"
    )
    add_totals(cursor, **{name: cursor.rowcount})


def _candidate_vetoed(cursor: sqlite3.Cursor, seq: int, event: e.CandidateVetoed) -> None:
    _refuse(cursor, seq, "T2", event, (event.strategy, event.symbol), event.denials)


def _permit_denied(cursor: sqlite3.Cursor, seq: int, event: e.PermitDenied) -> None:
    _refuse(cursor, seq, "governor", event, (event.strategy, event.symbol), event.denials)


def _candidate_refined(cursor: sqlite3.Cursor, seq: int, event: e.CandidateRefined) -> None:
    seen = event.candidate
    cursor.execute(
        "INSERT INTO signal VALUES (?, coalesce((SELECT max(cycle_at_ms) FROM cycle"
        " WHERE bar_closed_at_ms = ? AND bar_closed_at_ms > 0), 0),"
        " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.signal_id,
            seen.bar_closed_at_ms,
            seen.strategy,
            seen.symbol,
            seen.side.value,
            seen.score,
            seen.bar_opened_at_ms,
            seen.bar_closed_at_ms,
            seen.stop_distance,
            seen.target_distance,
            seen.close,
            _json(seen.features),
            seen.proxy,
            event.verdict,
            str(event.size_multiplier),
        ),
    )
    if event.verdict == REFUSED:
        refused = (Denial(code=event.reason_code),)
        _refuse(cursor, seq, "T3", event, (seen.strategy, seen.symbol), refused)


def _day_opened(cursor: sqlite3.Cursor, seq: int, event: e.DayOpened) -> None:
    projected_days.project_day_opened(cursor, event)
    old_ms = event.at_ms - READ_KEPT_MS
    cursor.execute("DELETE FROM refusal WHERE at_ms < ?", (old_ms,))
    cursor.execute(
        "DELETE FROM signal WHERE bar_closed_at_ms < ?"
        " AND signal_id NOT IN (SELECT signal_id FROM permit)",
        (old_ms,),
    )


def _permit_granted(cursor: sqlite3.Cursor, seq: int, event: e.PermitGranted) -> None:
    plan = event.plan
    cursor.execute(
        "INSERT INTO permit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, NULL)",
        (
            event.permit_id,
            plan.signal_id,
            plan.symbol,
            plan.side.value,
            str(plan.quantity),
            str(plan.entry_price),
            str(plan.stop_price),
            str(plan.target_price),
            str(plan.risk),
            str(plan.notional),
            plan.bound_by,
            event.at_ms,
            event.expires_at_ms,
        ),
    )
    add_totals(cursor, permits=1)


def _permit_consumed(cursor: sqlite3.Cursor, seq: int, event: e.PermitConsumed) -> None:
    cursor.execute(
        "UPDATE permit SET consumed_at_ms = ?, client_order_id = ? WHERE permit_id = ?",
        (event.at_ms, event.client_order_id, event.permit_id),
    )


def _permit_released(cursor: sqlite3.Cursor, seq: int, event: e.PermitReleased) -> None:
    cursor.execute(
        "UPDATE permit SET released_at_ms = ?, release_reason = ? WHERE permit_id = ?",
        (event.at_ms, event.reason, event.permit_id),
    )


def _json(value: object) -> str:
    """As the event has it: figures are ``[{name, value}]``, denials ``[{code, figures}]``."""
    return encode(value).decode()


PROJECTIONS: Mapping[type[e.Event], Projection] = MappingProxyType(
    {
        e.RunStarted: _run_started,
        e.RunStopped: _run_stopped,
        e.CycleRanked: _cycle_ranked,
        e.CycleClosed: _cycle_closed,
        e.StateChanged: _state_changed,
        CommandRecorded: _command_noted,
        e.CandidateVetoed: _candidate_vetoed,
        e.CandidateRefined: _candidate_refined,
        e.PermitGranted: _permit_granted,
        e.PermitDenied: _permit_denied,
        e.PermitConsumed: _permit_consumed,
        e.PermitReleased: _permit_released,
        e.IntentRecorded: orders.project_intent_recorded,
        e.OrderAccepted: orders.project_order_accepted,
        e.OrderUnknown: orders.project_order_unknown,
        e.OrderRejected: orders.project_order_rejected,
        e.CancelRequested: orders.project_cancel_requested,
        e.OrderClosed: orders.project_order_closed,
        e.FillRecorded: orders.project_fill_recorded,
        e.IncomeRecorded: money.project_income_recorded,
        e.TradeClosed: money.project_trade_closed,
        ResultCorrected: money.project_result_corrected,
        e.EquityRecorded: money.project_equity_recorded,
        e.DayOpened: _day_opened,
        DayCorrected: projected_days.project_day_corrected,
        TransferValued: projected_days.project_transfer_valued,
    }
)
