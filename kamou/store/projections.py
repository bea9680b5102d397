"""Registry of the projections, which write events into the tables.

The site and the commands read these tables. The projections of runs, cycles, states, commands
and decisions are here, the others in ``projected_*.py``.

A projection runs in the transaction of its event, in the order of the journal. It uses only the
event and the rows that earlier events wrote, so a replay of the journal gives the same tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, assert_never

import attrs

from kamou.core.book import events as e
from kamou.core.book.candidate_events import CandidatesRefined, CandidatesVetoed, EntriesDenied
from kamou.core.book.gate_events import GateChanged
from kamou.core.book.late_events import DayCorrected, ResultCorrected, TransferValued
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.shadow_events import ShadowTradesClosed, ShadowTradesOpened
from kamou.core.day import DAY_MS
from kamou.core.kinds import RefinerVerdict, Tier
from kamou.core.model import HALT_STATES, Denial
from kamou.store import projected_curve, projected_days, projected_downtime, shadow_rows
from kamou.store import projected_money as money
from kamou.store import projected_orders as orders
from kamou.store.gate_changes import GateChangeRow
from kamou.store.projected_totals import add_totals
from kamou.store.record_rows import MarkKind
from kamou.store.rows import (
    ConfigRow,
    CycleRow,
    PermitRow,
    RunRow,
    SignalRow,
    StateChangeRow,
    TierRefusal,
)
from kamou.store.state_history import LoneCommand, PeriodKind, begins_period
from kamou.store.table_rows import (
    insert,
    insert_many,
    insert_many_new,
    insert_new,
    make_row,
    select_one,
    upsert,
)

Projection = Callable[[sqlite3.Cursor, Any], None]
RefusalEvent = CandidatesVetoed | EntriesDenied | e.PermitDenied
NumberedProjection = Callable[[sqlite3.Cursor, int, Any], None]
"""A projection that also takes the event's sequence number."""

READ_KEPT_MS = 7 * DAY_MS
"""Age at which refusals, and signals without a permit, are deleted from the tables.

`kamou why` reads some hours of them. In a year they would be most of the rows. The journal keeps
all of their events.
"""


# --- the system ----------------------------------------------------------------


def _project_run_started(cursor: sqlite3.Cursor, event: e.RunStarted) -> None:
    before = cursor.execute(
        "SELECT config_digest FROM run WHERE run_number < ? ORDER BY run_number DESC LIMIT 1",
        (event.run_number,),
    ).fetchone()
    changed = before is None or before[0] != event.config_digest
    run = make_row(
        RunRow,
        event,
        started_at_ms=event.at_ms,
        period_ms=projected_downtime.read_period_ms(event.config_json),
        change_reason=event.change_reason if changed else None,
    )
    upsert(cursor, run)
    config = ConfigRow(
        digest=event.config_digest,
        first_ms=event.at_ms,
        body=event.config_json,
        reason=event.change_reason,
    )
    insert_new(cursor, config)
    if changed:
        add_totals(cursor, configs=1)
        if before is not None:  # the first configuration is no change
            projected_curve.mark_moment(cursor, MarkKind.CONFIG, event.at_ms)


def _project_run_stopped(cursor: sqlite3.Cursor, event: e.RunStopped) -> None:
    cursor.execute(
        "UPDATE run SET stopped_at_ms = ?, stop_reason = ? WHERE run_number = ?",
        (event.at_ms, event.reason, event.run_number),
    )


def _project_cycle_ranked(cursor: sqlite3.Cursor, event: e.CycleRanked) -> None:
    present = _find_cycle(cursor, event.cycle_at_ms)
    before = present or CycleRow(cycle_at_ms=event.cycle_at_ms)
    after = attrs.evolve(
        before,
        bar_closed_at_ms=event.bar_closed_at_ms,
        symbols=event.symbols,
        candidates=event.candidates,
        abstained=sum(int(figure.value) for figure in event.abstained),
        late_shards=event.late_shards,
    )
    upsert(cursor, after)
    add_totals(
        cursor,
        cycles=int(present is None),
        candidates=after.candidates - before.candidates,
        abstained=after.abstained - before.abstained,
    )


def _project_cycle_closed(cursor: sqlite3.Cursor, seq: int, event: e.CycleClosed) -> None:
    before = projected_downtime.newest_closed_cycle(cursor)
    if before is not None:
        found = projected_downtime.record_downtime(cursor, seq, event.at_ms, before)
        add_totals(cursor, downtimes=found)
    present = _find_cycle(cursor, event.cycle_at_ms)
    after = attrs.evolve(
        present or CycleRow(cycle_at_ms=event.cycle_at_ms),
        positions=event.positions,
        open_orders=event.open_orders,
        drift=event.drift,
        closed_at_ms=event.at_ms,
    )
    upsert(cursor, after)
    add_totals(cursor, cycles=int(present is None))


def _find_cycle(cursor: sqlite3.Cursor, cycle_at_ms: int) -> CycleRow | None:
    return select_one(cursor, CycleRow, "WHERE cycle_at_ms = ?", cycle_at_ms)


def _project_state_changed(cursor: sqlite3.Cursor, seq: int, event: e.StateChanged) -> None:
    last = select_one(cursor, StateChangeRow, "ORDER BY seq DESC LIMIT 1")
    if last is not None and last.after in HALT_STATES:
        projected_curve.mark_span(cursor, MarkKind.HALT, last.at_ms, event.at_ms)
    row = make_row(StateChangeRow, event, seq=seq)
    add_totals(
        cursor,
        halts=int(begins_period(PeriodKind.HALT, row.before, row.after)),
        reductions=int(begins_period(PeriodKind.REDUCED_SIZE, row.before, row.after)),
    )
    insert(cursor, row)


def _project_command(cursor: sqlite3.Cursor, seq: int, event: CommandRecorded) -> None:
    if not event.note:  # a denied resume without a note: there is nothing to show
        return
    insert(cursor, make_row(LoneCommand, event, seq=seq))


# --- decisions -----------------------------------------------------------------


def _make_refusals(seq: int, event: RefusalEvent) -> list[TierRefusal]:
    tier, at_ms = REFUSAL_TIERS[type(event)], event.at_ms
    match event:
        case CandidatesVetoed(candidates=vetoed):
            return [
                make_row(TierRefusal, each, seq=seq, number=number, at_ms=at_ms, tier=tier)
                for number, each in enumerate(vetoed)
            ]
        case EntriesDenied(entries=denied):  # each has its own time
            return [
                make_row(TierRefusal, each, seq=seq, number=number, tier=tier)
                for number, each in enumerate(denied)
            ]
        case e.PermitDenied():
            return [make_row(TierRefusal, event, seq=seq, number=0, tier=tier)]
        case _:
            assert_never(event)


def _insert_refusals(cursor: sqlite3.Cursor, refusals: Sequence[TierRefusal]) -> None:
    """Insert consecutive refusals; count them in the newest cycle and in the totals."""
    insert_many(cursor, refusals)
    vetoed = sum(1 for refusal in refusals if refusal.tier is Tier.VETO)
    for name, count in (("vetoed", vetoed), ("refused", len(refusals) - vetoed)):
        if count:
            # A refusal belongs to the cycle in which it happens: the newest one.
            cursor.execute(
                f"UPDATE cycle SET {name} = {name} + ?"
                " WHERE cycle_at_ms = (SELECT max(cycle_at_ms) FROM cycle)",
                (count,),
            )
            add_totals(cursor, **{name: count * cursor.rowcount})


def _project_candidates_refined(cursor: sqlite3.Cursor, seq: int, event: CandidatesRefined) -> None:
    bars_ms = {each.candidate.bar_closed_at_ms for each in event.candidates}
    cycles = {bar_ms: _find_cycle_of_bar(cursor, bar_ms) for bar_ms in bars_ms}
    signals = [
        make_row(
            SignalRow,
            each.candidate,
            cycle_at_ms=cycles[each.candidate.bar_closed_at_ms],
            verdict=each.verdict,
            size_multiplier=each.size_multiplier,
        )
        for each in event.candidates
    ]
    insert_many_new(cursor, signals)  # a bar that is ranked again has the same signals
    refused = [each for each in event.candidates if each.verdict is RefinerVerdict.REFUSE]
    refusals = [
        make_row(
            TierRefusal,
            each.candidate,
            seq=seq,
            number=number,
            at_ms=event.at_ms,
            tier=Tier.REFINER,
            denials=(Denial(code=each.reason_code),),
        )
        for number, each in enumerate(refused)
    ]
    _insert_refusals(cursor, refusals)


def _find_cycle_of_bar(cursor: sqlite3.Cursor, bar_closed_at_ms: int) -> int:
    """Return the time of the newest cycle with this bar; 0 without one."""
    found = cursor.execute(
        "SELECT coalesce(max(cycle_at_ms), 0) FROM cycle"
        " WHERE bar_closed_at_ms = ? AND bar_closed_at_ms > 0",
        (bar_closed_at_ms,),
    ).fetchone()
    return int(found[0])


def _project_day_opened(cursor: sqlite3.Cursor, event: e.DayOpened) -> None:
    projected_days.project_day_opened(cursor, event)
    old_ms = event.at_ms - READ_KEPT_MS
    cursor.execute("DELETE FROM refusal WHERE at_ms < ?", (old_ms,))
    cursor.execute(
        "DELETE FROM signal WHERE bar_closed_at_ms < ?"
        " AND signal_id NOT IN (SELECT signal_id FROM permit)",
        (old_ms,),
    )


def _project_permit_granted(cursor: sqlite3.Cursor, event: e.PermitGranted) -> None:
    permit = make_row(
        PermitRow,
        event.plan,
        permit_id=event.permit_id,
        granted_at_ms=event.at_ms,
        expires_at_ms=event.expires_at_ms,
    )
    insert(cursor, permit)
    add_totals(cursor, permits=1)


def _project_permit_consumed(cursor: sqlite3.Cursor, event: e.PermitConsumed) -> None:
    cursor.execute(
        "UPDATE permit SET consumed_at_ms = ?, client_order_id = ? WHERE permit_id = ?",
        (event.at_ms, event.client_order_id, event.permit_id),
    )


def _project_permit_released(cursor: sqlite3.Cursor, event: e.PermitReleased) -> None:
    cursor.execute(
        "UPDATE permit SET released_at_ms = ?, release_reason = ? WHERE permit_id = ?",
        (event.at_ms, event.reason, event.permit_id),
    )


def _project_gate_changed(cursor: sqlite3.Cursor, event: GateChanged) -> None:
    insert(cursor, make_row(GateChangeRow, event))


PROJECTIONS: Mapping[type[e.Event], Projection] = MappingProxyType(
    {
        e.RunStarted: _project_run_started,
        e.RunStopped: _project_run_stopped,
        e.CycleRanked: _project_cycle_ranked,
        e.PermitGranted: _project_permit_granted,
        e.PermitConsumed: _project_permit_consumed,
        e.PermitReleased: _project_permit_released,
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
        e.DayOpened: _project_day_opened,
        DayCorrected: projected_days.project_day_corrected,
        TransferValued: projected_days.project_transfer_valued,
        ShadowTradesOpened: shadow_rows.project_shadows_opened,
        ShadowTradesClosed: shadow_rows.project_shadows_closed,
        GateChanged: _project_gate_changed,
    }
)

NUMBERED_PROJECTIONS: Mapping[type[e.Event], NumberedProjection] = MappingProxyType(
    {
        e.CycleClosed: _project_cycle_closed,
        e.StateChanged: _project_state_changed,
        CommandRecorded: _project_command,
        CandidatesRefined: _project_candidates_refined,
    }
)

REFUSAL_TIERS: Mapping[type[e.Event], Tier] = MappingProxyType(
    {
        CandidatesVetoed: Tier.VETO,
        EntriesDenied: Tier.GOVERNOR,
        e.PermitDenied: Tier.GOVERNOR,
    }
)
"""Events that are refusals, with their tiers. Consecutive ones are written in one statement: most
candidates of a full portfolio are refused, up to ``cycle.candidates_max`` of each strategy."""

_KINDS = (PROJECTIONS.keys(), NUMBERED_PROJECTIONS.keys(), REFUSAL_TIERS.keys())
assert len(frozenset().union(*_KINDS)) == sum(map(len, _KINDS)), "an event has two projections"


def project_events(cursor: sqlite3.Cursor, first_seq: int, events: Iterable[e.Event]) -> None:
    """Write events into their tables, in their order.

    Events without a projection are skipped. ``first_seq`` is the first event's sequence number in
    the journal; those of the others follow it.
    """
    refusals: list[TierRefusal] = []
    for seq, event in enumerate(events, first_seq):
        kind = type(event)
        if kind in REFUSAL_TIERS:
            assert isinstance(event, RefusalEvent), event
            refusals += _make_refusals(seq, event)
            continue
        if refusals:
            _insert_refusals(cursor, refusals)
            refusals = []
        if (projection := PROJECTIONS.get(kind)) is not None:
            projection(cursor, event)
        elif (numbered := NUMBERED_PROJECTIONS.get(kind)) is not None:
            numbered(cursor, seq, event)
    if refusals:
        _insert_refusals(cursor, refusals)
