"""``AsOf``, the time of the newest equity snapshot, and queries as of that time.

The figures of a page are as of this one instant, so that they agree. They exclude events with a
later time; ``counts_as_of`` names its exceptions. The tables hold totals over all events, so these
queries subtract the few events since the newest equity snapshot.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from kamou.core.book.candidate_events import CandidatesRefined, CandidatesVetoed, EntriesDenied
from kamou.core.book.events import CycleClosed, CycleRanked, EquityRecorded, PermitDenied
from kamou.core.kinds import IncomeKind, RefinerVerdict
from kamou.core.model import ZERO, TradingState
from kamou.messages.codec import kind_of
from kamou.store import queries
from kamou.store.day_rows import first_transfer_at_ms
from kamou.store.projected_totals import add_trade
from kamou.store.public_queries import Curve, count_transfers, strategy_sums
from kamou.store.public_queries import query_curve as whole_curve
from kamou.store.record_rows import SPAN_MARKS, CurveMark, MarkKind, StrategySums
from kamou.store.rows import Counts, Downtime, RunRow, TradeRow
from kamou.store.state_history import HaltPeriod, PeriodKind, begins_period
from kamou.store.table_rows import select, select_one

_EVENTS_MEANWHILE_MAX = 500
"""Events that may be committed between the read of an equity snapshot and its own event.

The snapshot has the time of its read, so events that precede it in the journal may have later
times: about a hundred in a cycle. Counts therefore look at this many events before the snapshot,
and never at the whole journal.
"""


@attrs.frozen(kw_only=True)
class AsOf:
    """The time of the newest equity snapshot and the sequence number of its event.

    After the clock was set back, the two may be of different snapshots: the time is the latest one,
    and the number is that of the newest event.
    """

    at_ms: int
    seq: int

    @property
    def look_from_seq(self) -> int:
        """Sequence number up to which events are taken to be no later than the snapshot."""
        return self.seq - _EVENTS_MEANWHILE_MAX


NOW = AsOf(at_ms=2**62, seq=2**62)
"""After all events: nothing is subtracted."""


def find_instant(reader: sqlite3.Connection) -> AsOf:
    """Return the instant of the newest equity snapshot; ``NOW`` before the first."""
    seq = reader.execute(
        "SELECT max(seq) FROM event WHERE kind = ? AND key IS NULL", (kind_of(EquityRecorded),)
    ).fetchone()[0]
    row = reader.execute("SELECT at_ms FROM equity ORDER BY at_ms DESC LIMIT 1").fetchone()
    return NOW if seq is None or row is None else AsOf(at_ms=int(row[0]), seq=int(seq))


_RANKED, _VETOED = kind_of(CycleRanked), kind_of(CandidatesVetoed)
_REFINED = kind_of(CandidatesRefined)
_DENIED, _ENTRIES_DENIED = kind_of(PermitDenied), kind_of(EntriesDenied)
_CYCLES = (_RANKED, kind_of(CycleClosed))
_COUNTED = frozenset({*_CYCLES, _VETOED, _REFINED, _DENIED, _ENTRIES_DENIED})


def counts_as_of(reader: sqlite3.Connection, as_of: AsOf) -> Counts:
    """Return the totals since the journal began, some of them only up to ``as_of``.

    ``cycles``, ``candidates``, ``vetoed``, ``refused`` and ``trades`` end at ``as_of``. The others
    include later events.
    """
    totals = queries.query_counts(reader)
    rows = reader.execute(
        "SELECT kind, body FROM event WHERE seq > ? AND at_ms > ?",
        (as_of.look_from_seq, as_of.at_ms),
    ).fetchall()
    later = [(kind, json.loads(body)) for kind, body in rows if kind in _COUNTED]
    ranked = [body for kind, body in later if kind == _RANKED]
    return attrs.evolve(
        totals,
        cycles=totals.cycles - _count_new_cycles(reader, as_of, later),
        candidates=totals.candidates - sum(body["candidates"] for body in ranked),
        vetoed=totals.vetoed - sum(_count_vetoed(kind, body) for kind, body in later),
        refused=totals.refused - sum(_count_refused(kind, body, as_of) for kind, body in later),
        # By time of closing, as on every page: the event of an earlier trade may have a later time.
        trades=totals.trades - _count_closed_later(reader, as_of),
    )


def _count_vetoed(kind: str, body: Mapping[str, Any]) -> int:
    return len(body["candidates"]) if kind == _VETOED else 0


def _count_refused(kind: str, body: Mapping[str, Any], as_of: AsOf) -> int:
    """Count the refusals and denials of an event with a time after ``as_of``.

    A denied entry has its own time.
    """
    if kind == _DENIED:
        return 1
    if kind == _ENTRIES_DENIED:
        return sum(entry["at_ms"] > as_of.at_ms for entry in body["entries"])
    if kind == _REFINED:
        return sum(each["verdict"] == RefinerVerdict.REFUSE for each in body["candidates"])
    return 0


def _count_closed_later(reader: sqlite3.Connection, as_of: AsOf) -> int:
    query = "SELECT count(*) FROM trade WHERE closed_at_ms > ?"
    return int(reader.execute(query, (as_of.at_ms,)).fetchone()[0])


def _count_new_cycles(
    reader: sqlite3.Connection, as_of: AsOf, later: Sequence[tuple[str, Any]]
) -> int:
    """Count the cycles that have later events and no earlier one."""
    cycles = {body["cycle_at_ms"] for kind, body in later if kind in _CYCLES}
    query = "SELECT 1 FROM event WHERE kind = ? AND key = ? AND (seq <= ? OR at_ms <= ?)"
    return sum(
        not any(
            reader.execute(query, (kind, str(cycle), as_of.look_from_seq, as_of.at_ms)).fetchone()
            for kind in _CYCLES
        )
        for cycle in cycles
    )


def sums_as_of(reader: sqlite3.Connection, as_of: AsOf) -> tuple[StrategySums, ...]:
    """Return the totals of each strategy over its trades that closed by ``as_of``.

    The totals are sorted by strategy name. A strategy without such a trade is left out.
    """
    found = {each.strategy: each for each in strategy_sums(reader)}
    for trade in select(reader, TradeRow, "WHERE closed_at_ms > ?", as_of.at_ms):
        found[trade.strategy] = add_trade(found[trade.strategy], trade, times=-1)
    return tuple(each for each in found.values() if each.trades)


def count_later_trades(
    reader: sqlite3.Connection,
    as_of: AsOf,
    wanted: queries.TradeFilter,
) -> int:
    """Count the trades of a filter that closed after ``as_of``."""
    return len(queries.query_later_trades(reader, as_of.at_ms, wanted))


def list_traded(reader: sqlite3.Connection, as_of: AsOf) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the strategies and the symbols with trades that closed by ``as_of``.

    Each of the two tuples is sorted.
    """
    found = Counter(
        {
            (strategy, symbol): trades
            for strategy, symbol, trades in reader.execute(
                "SELECT strategy, symbol, sum(trades) FROM trade_count GROUP BY strategy, symbol"
            )
        }
    )
    found.subtract((t.strategy, t.symbol) for t in queries.query_later_trades(reader, as_of.at_ms))
    left = [place for place, trades in found.items() if trades]
    return tuple(sorted({s for s, _ in left})), tuple(sorted({s for _, s in left}))


def curve_as_of(
    reader: sqlite3.Connection,
    as_of: AsOf,
    halts: Iterable[HaltPeriod],
    down: Sequence[Downtime],
) -> Curve:
    """Return the equity curve with the marks that were known by ``as_of``.

    ``halts`` has the newest halts. ``down`` has the newest downtimes that had ended by ``as_of``,
    oldest first.
    """
    whole = _remove_later_downtime(whole_curve(reader), later_downtime(reader, as_of), down)
    if not whole.points:
        return whole
    start_ms = as_of.at_ms - as_of.at_ms % whole.width_ms
    last = [CurveMark(kind=kind, start_ms=start_ms, amount=ZERO) for kind in SPAN_MARKS]
    ended = (
        any(halt.until_ms is not None and halt.until_ms > start_ms for halt in halts),
        any(gap.until_ms > start_ms for gap in down),
    )
    kept = [mark for mark in whole.marks if mark.start_ms < start_ms]
    kept += [mark for mark, is_there in zip(last, ended, strict=True) if is_there]
    for kind, query in ((MarkKind.TRANSFER, _TRANSFERS), (MarkKind.CONFIG, _CONFIGS)):
        from_ms = (
            max(start_ms, first_transfer_at_ms(reader)) if kind is MarkKind.TRANSFER else start_ms
        )
        found = reader.execute(query, (from_ms, as_of.at_ms)).fetchall()
        if found:
            amount = sum((Decimal(row[0]) for row in found), ZERO)
            kept.append(CurveMark(kind=kind, start_ms=start_ms, amount=amount))
    return attrs.evolve(whole, marks=tuple(sorted(kept, key=lambda m: (m.kind, m.start_ms))))


def _remove_later_downtime(
    curve: Curve, later: Sequence[Downtime], known: Sequence[Downtime]
) -> Curve:
    """Remove the marks of later downtimes from intervals without a known downtime.

    A downtime that ended after the snapshot may have begun long before it.
    """
    if not later:
        return curve
    earlier_ms = known[-1].until_ms if known else 0
    free_ms = min(gap.from_ms for gap in later) - curve.width_ms
    kept = (
        mark
        for mark in curve.marks
        if mark.kind is not MarkKind.DOWN or mark.start_ms < earlier_ms or mark.start_ms <= free_ms
    )
    return attrs.evolve(curve, marks=tuple(kept))


_TRANSFERS = (
    f"SELECT amount FROM income WHERE at_ms BETWEEN ? AND ? AND kind = '{IncomeKind.TRANSFER}'"
)
_CONFIGS = (  # the configuration of the first run is no change
    "SELECT '0' FROM run WHERE change_reason IS NOT NULL AND started_at_ms BETWEEN ? AND ?"
    " AND run_number > (SELECT min(run_number) FROM run)"
)


def state_as_of(reader: sqlite3.Connection, as_of: AsOf) -> TradingState:
    """Return the trading state at the time of ``as_of``; ACTIVE before any change."""
    row = reader.execute(
        'SELECT "after" FROM state WHERE at_ms <= ? ORDER BY seq DESC LIMIT 1', (as_of.at_ms,)
    ).fetchone()
    return TradingState.ACTIVE if row is None else TradingState(row[0])


def count_later_spans(reader: sqlite3.Connection, as_of: AsOf) -> dict[str, int]:
    """Count the halts, downtimes and other changes of some totals after ``as_of``.

    The keys are names of totals: halts, reductions (periods of reduced size), downtimes, configs
    and transfers.
    """
    given = (as_of.look_from_seq, as_of.at_ms)
    moved = reader.execute(
        'SELECT "before", "after" FROM state WHERE seq > ? AND at_ms > ?', given
    ).fetchall()
    changes = [(TradingState(before), TradingState(after)) for before, after in moved]
    configs = reader.execute(
        "SELECT count(*) FROM run WHERE change_reason IS NOT NULL AND started_at_ms > ?",
        (as_of.at_ms,),
    ).fetchone()[0]
    return {
        "halts": sum(begins_period(PeriodKind.HALT, *each) for each in changes),
        "reductions": sum(begins_period(PeriodKind.REDUCED_SIZE, *each) for each in changes),
        "downtimes": len(later_downtime(reader, as_of)),
        "configs": int(configs),
        "transfers": count_transfers(reader, from_ms=as_of.at_ms + 1),
    }


def downtime_as_of(reader: sqlite3.Connection, as_of: AsOf, *, limit: int) -> tuple[Downtime, ...]:
    """Return the newest ``limit`` downtimes that had ended by ``as_of``, oldest first."""
    tail = "WHERE until_ms <= ? ORDER BY seq DESC, number DESC LIMIT ?"
    return select(reader, Downtime, tail, as_of.at_ms, limit)[::-1]


def later_downtime(reader: sqlite3.Connection, as_of: AsOf) -> tuple[Downtime, ...]:
    """Return the downtimes that ended after ``as_of``, oldest first."""
    tail = "WHERE seq > ? AND until_ms > ? ORDER BY seq, number"
    return select(reader, Downtime, tail, as_of.look_from_seq, as_of.at_ms)


def config_changes(reader: sqlite3.Connection, as_of: AsOf, *, limit: int) -> tuple[RunRow, ...]:
    """Return the newest runs that started by ``as_of`` with a changed configuration.

    At most ``limit`` runs are returned, sorted by start, oldest first. The first run of the journal
    counts as changed.
    """
    tail = (
        "WHERE change_reason IS NOT NULL AND started_at_ms <= ?"
        " ORDER BY started_at_ms DESC, run_number DESC LIMIT ?"
    )
    return select(reader, RunRow, tail, as_of.at_ms, limit)[::-1]


def run_as_of(reader: sqlite3.Connection, as_of: AsOf) -> RunRow | None:
    """Return the newest run that had started by ``as_of``; None if there is none."""
    tail = "WHERE started_at_ms <= ? ORDER BY run_number DESC LIMIT 1"
    return select_one(reader, RunRow, tail, as_of.at_ms)
