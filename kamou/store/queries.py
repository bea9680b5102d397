"""Typed read-only queries of projections and events, for site and commands.

Every function takes a connection of ``store.database.open_reader``, and raises
``UnreadableRecordError`` for a stored value that this version does not know. Each function fetches
all rows before it returns, so no read transaction outlives a call: an open one would keep SQLite
from checkpointing the write-ahead log.
"""

from __future__ import annotations

import hashlib
import sqlite3
from enum import StrEnum
from typing import Any

import attrs

from kamou.core.book.events import PermitGranted
from kamou.core.kinds import Tier
from kamou.core.model import ZERO, Side
from kamou.messages.codec import decode, kind_of
from kamou.store.record_rows import EquityPoint
from kamou.store.rows import (
    Counts,
    CycleRow,
    FillRow,
    Latest,
    OpenTradeRow,
    OrderRow,
    PermitRow,
    RunRow,
    SignalRow,
    StateChangeRow,
    StateSpan,
    TierRefusal,
    TradeCursor,
    TradeRow,
)
from kamou.store.table_rows import select, select_one
from kamou.store.trade_chains import trade_chain


def query_equity(
    reader: sqlite3.Connection,
    *,
    since_ms: int = 0,
    until_ms: int | None = None,
    points_max: int | None = None,
) -> tuple[EquityPoint, ...]:
    """Return the equity snapshots from ``since_ms`` to ``until_ms``, oldest first.

    ``since_ms`` and ``until_ms`` are included; without ``until_ms`` the newest snapshot is the last
    one. If ``points_max`` is given, the span is divided into at most that many buckets of equal
    width, and the last snapshot of each bucket is returned, thus also the newest one.
    """
    until = _newest_snapshot_ms(reader) if until_ms is None else until_ms
    where = "WHERE at_ms BETWEEN ? AND ?"
    if points_max is None:
        return select(reader, EquityPoint, f"{where} ORDER BY at_ms", since_ms, until)
    row = reader.execute(f"SELECT min(at_ms), max(at_ms) FROM equity {where}", (since_ms, until))
    first, last = row.fetchone()
    if first is None:
        return ()
    width = max(1, (last - first) // points_max + 1)
    tail = (
        f"{where} AND at_ms IN (SELECT max(at_ms) FROM equity {where}"
        " GROUP BY (? - at_ms) / ?) ORDER BY at_ms"
    )
    return select(reader, EquityPoint, tail, since_ms, until, since_ms, until, last, width)


class TradeOutcome(StrEnum):
    """The result of a closed trade."""

    WIN = "win"  # its net PnL is above 0
    LOSS = "loss"  # its net PnL is 0 or less


@attrs.frozen(kw_only=True)
class TradeFilter:
    """The trades to list or count; None: not filtered by this column."""

    strategy: str | None = None
    symbol: str | None = None
    outcome: TradeOutcome | None = None


ALL_TRADES = TradeFilter()


def query_trades(
    reader: sqlite3.Connection,
    wanted: TradeFilter = ALL_TRADES,
    *,
    limit: int | None = None,
    before: TradeCursor | None = None,
    after: TradeCursor | None = None,
    until_ms: int | None = None,
) -> tuple[TradeRow, ...]:
    """Return closed trades, newest first.

    Args:
        reader: a connection of ``store.database.open_reader``.
        wanted: only these trades.
        limit: maximum number of trades; None: all.
        before: only trades before this place in time, thus older ones.
        after: only trades after this place in time, thus newer ones.
        until_ms: latest time of closing, included.
    """
    where, parameters = _trade_filter(wanted)
    if until_ms is not None:
        where, parameters = where + " AND closed_at_ms <= ?", [*parameters, until_ms]
    if before is not None:
        where += " AND (closed_at_ms, rowid) < (?, ?)"
        parameters += [before.closed_at_ms, before.rowid]
    if after is not None:
        where += " AND (closed_at_ms, rowid) > (?, ?)"
        parameters += [after.closed_at_ms, after.rowid]
    order = "ASC" if after is not None else "DESC"
    tail = f"{where} ORDER BY closed_at_ms {order}, rowid {order} LIMIT ?"
    found = select(reader, TradeRow, tail, *parameters, _sql_limit(limit))
    return found[::-1] if after is not None else found


def query_later_trades(
    reader: sqlite3.Connection, at_ms: int, wanted: TradeFilter = ALL_TRADES
) -> tuple[TradeRow, ...]:
    """Return the trades of a filter that closed after ``at_ms``, newest first."""
    where, parameters = _trade_filter(wanted)
    tail = f"{where} AND closed_at_ms > ? ORDER BY closed_at_ms DESC, rowid DESC"
    return select(reader, TradeRow, tail, *parameters, at_ms)


def count_trades(reader: sqlite3.Connection, wanted: TradeFilter = ALL_TRADES) -> int:
    """Count the trades that ``query_trades`` returns with this filter, by the totals."""
    where, parameters = _trade_filter(wanted)
    query = f"SELECT coalesce(sum(trades), 0) FROM trade_count {where}"
    return int(reader.execute(query, parameters).fetchone()[0])


def query_open_trades(
    reader: sqlite3.Connection, *, as_of_ms: int | None = None
) -> tuple[OpenTradeRow, ...]:
    """Return the trades that their fills leave open, oldest first.

    A trade without a closing event is left out if its fills net to zero. A position for which
    Kamou has recorded no fill is left out as well. If ``as_of_ms`` is given, later fills do not
    count.
    """
    fills_of: dict[str, list[FillRow]] = {}
    until_ms = 2**62 if as_of_ms is None else as_of_ms
    tail = (
        "WHERE at_ms <= ? AND trade_id IN (SELECT trade_id FROM open_trade"
        " UNION ALL SELECT trade_id FROM trade WHERE closed_at_ms > ?) ORDER BY at_ms, rowid"
    )
    for fill in select(reader, FillRow, tail, until_ms, until_ms):
        fills_of.setdefault(fill.trade_id or "", []).append(fill)
    rows = (_open_trade(reader, trade_id, fills) for trade_id, fills in fills_of.items())
    return tuple(row for row in rows if row is not None)


def query_open_orders(reader: sqlite3.Connection) -> tuple[OrderRow, ...]:
    """Return the orders that are not terminal, oldest first."""
    return select(reader, OrderRow, "WHERE closed_at_ms IS NULL ORDER BY intended_at_ms, rowid")


def query_grants(reader: sqlite3.Connection, signal_id: str) -> tuple[PermitGranted, ...]:
    """Return the grants of one signal's permits, oldest first.

    Each grant has the governor's figures.
    """
    rows = reader.execute(
        "SELECT body FROM event WHERE kind = ? AND key > ? AND key < ? ORDER BY seq",
        # A permit id is SIGNAL.ATTEMPT; "/" is the character after ".".
        (kind_of(PermitGranted), f"{signal_id}.", f"{signal_id}/"),
    ).fetchall()
    return tuple(decode(PermitGranted, body) for (body,) in rows)


def query_permit(reader: sqlite3.Connection, permit_id: str) -> PermitRow | None:
    """Return the committed row of a permit; None if there is none."""
    return select_one(reader, PermitRow, "WHERE permit_id = ?", permit_id)


def query_state_spans(
    reader: sqlite3.Connection, *, limit: int | None = None
) -> tuple[StateSpan, ...]:
    """Return the newest ``limit`` trading states with their spans, oldest first.

    If ``limit`` is None, all states are returned.
    """
    changes = select(reader, StateChangeRow, "ORDER BY seq DESC LIMIT ?", _sql_limit(limit))[::-1]
    ends = [*(later.at_ms for later in changes[1:]), None]
    return tuple(
        StateSpan(
            seq=change.seq,
            from_ms=change.at_ms,
            until_ms=end,
            before=change.before,
            state=change.after,
            reason=change.reason,
            figures=change.figures,
        )
        for change, end in zip(changes, ends[: len(changes)], strict=True)
    )


def query_refusals(
    reader: sqlite3.Connection,
    *,
    symbol: str | None = None,
    tier: Tier | None = None,
    since_ms: int = 0,
    limit: int = 50,
) -> tuple[TierRefusal, ...]:
    """Return refusals, newest first, at most ``limit``.

    If ``symbol`` or ``tier`` is given, only refusals of that symbol or tier are returned. Refusals
    that were older than ``projections.READ_KEPT_MS`` when a day began have been deleted.
    """
    tail = (
        "WHERE at_ms >= ?1 AND (?2 IS NULL OR symbol = ?2) AND (?3 IS NULL OR tier = ?3)"
        " ORDER BY seq DESC, number DESC LIMIT ?4"
    )
    return select(reader, TierRefusal, tail, since_ms, symbol, tier, limit)


def query_signals(
    reader: sqlite3.Connection, *, symbol: str | None = None, limit: int = 50
) -> tuple[SignalRow, ...]:
    """Return the signals that passed the veto (T2), newest first, at most ``limit``.

    ``symbol`` selects one symbol; None: all symbols. Signals without a permit that were older than
    ``projections.READ_KEPT_MS`` when a day began have been deleted.
    """
    where, parameters = ("", ()) if symbol is None else ("WHERE symbol = ?", (symbol,))
    tail = f"{where} ORDER BY bar_closed_at_ms DESC, score DESC, signal_id LIMIT ?"
    return select(reader, SignalRow, tail, *parameters, limit)


def query_cycles(reader: sqlite3.Connection, *, limit: int = 12) -> tuple[CycleRow, ...]:
    """Return the newest ``limit`` cycles, newest first."""
    return select(reader, CycleRow, "ORDER BY cycle_at_ms DESC LIMIT ?", limit)


def query_scan_details(
    reader: sqlite3.Connection, *, limit: int = 12
) -> tuple[tuple[int, bytes], ...]:
    """Return ``(cycle_at_ms, body)`` of the newest ``limit`` cycles, newest first.

    ``body`` has the reason of every symbol; ``core.ranking.scan_detail`` decodes it.
    """
    return tuple(
        reader.execute(
            "SELECT cycle_at_ms, body FROM detail ORDER BY cycle_at_ms DESC LIMIT ?", (limit,)
        ).fetchall()
    )


def query_latest(reader: sqlite3.Connection) -> Latest:
    """Return the newest run, trading state, equity snapshot and cycle of the journal."""
    head = reader.execute("SELECT seq, at_ms FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    run = select_one(reader, RunRow, "ORDER BY run_number DESC LIMIT 1")
    spans = query_state_spans(reader, limit=1)
    return Latest(
        head_seq=head[0] if head else 0,
        at_ms=head[1] if head else None,
        mode=run.mode if run else None,
        run=run,
        state=spans[-1] if spans else None,
        equity=select_one(reader, EquityPoint, "ORDER BY at_ms DESC LIMIT 1"),
        cycle=select_one(reader, CycleRow, "ORDER BY cycle_at_ms DESC LIMIT 1"),
    )


def head_seq(reader: sqlite3.Connection) -> int:
    """Return the sequence number of the newest event; 0 if there is none."""
    return int(reader.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0])


def head_at_ms(reader: sqlite3.Connection) -> int:
    """Return the time of the event that was committed last, in ms UTC; 0 if none was."""
    row = reader.execute("SELECT at_ms FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    return int(row[0]) if row else 0


def query_totals(reader: sqlite3.Connection) -> dict[str, int]:
    """Return all totals of ``store/projected_totals.py`` by name."""
    return dict(reader.execute("SELECT name, value FROM total").fetchall())


def query_counts(reader: sqlite3.Connection) -> Counts:
    """Return the totals since the journal began."""
    known = query_totals(reader)
    names = [field.name for field in attrs.fields(Counts) if field.name != "events"]
    return Counts(events=head_seq(reader), **{name: known[name] for name in names})


def journal_digest(reader: sqlite3.Connection) -> str:
    """Return the SHA-256, in hex, over kind and body of every event in order.

    Run numbers, keys and sequence numbers are not hashed: two journals of equal events have equal
    digests. The length of each part precedes it, so no two histories give the same input.
    """
    digest = hashlib.sha256()
    for kind, body in reader.execute("SELECT kind, body FROM event ORDER BY seq"):
        digest.update(f"{len(kind)}:{kind}{len(body)}:".encode())
        digest.update(body)
    return digest.hexdigest()


def _open_trade(
    reader: sqlite3.Connection, trade_id: str, fills: list[FillRow]
) -> OpenTradeRow | None:
    net = sum((f.side.sign * f.quantity for f in fills), ZERO)
    if net == 0:
        return None
    side = Side.of(net)
    opening = [f for f in fills if f.side is side.opening]
    bought = sum((f.quantity for f in opening), ZERO)
    chain = trade_chain(reader, trade_id)
    plan = chain.permit if chain else None
    return OpenTradeRow(
        trade_id=trade_id,
        symbol=fills[0].symbol,
        strategy=chain.signal.strategy if chain and chain.signal else "",
        side=side,
        quantity=abs(net),
        entry_price=sum((f.quantity * f.price for f in opening), ZERO) / bought,
        stop_price=plan.stop_price if plan else None,
        target_price=plan.target_price if plan else None,
        opened_at_ms=opening[0].at_ms,
    )


def _sql_limit(limit: int | None) -> int:
    """Return ``limit`` for SQLite, in which -1 means no limit."""
    return -1 if limit is None else limit


def _newest_snapshot_ms(reader: sqlite3.Connection) -> int:
    return int(reader.execute("SELECT coalesce(max(at_ms), 0) FROM equity").fetchone()[0])


def _trade_filter(filtered: TradeFilter) -> tuple[str, list[Any]]:
    """Return the ``WHERE`` clause and its parameters.

    The clause compares whole columns only, so that the index of this combination of filters serves
    it.
    """
    outcome = filtered.outcome
    won = None if outcome is None else int(outcome is TradeOutcome.WIN)
    wanted = {"strategy": filtered.strategy, "symbol": filtered.symbol, "won": won}
    chosen = {column: value for column, value in wanted.items() if value is not None}
    return "WHERE " + " AND ".join(["1", *(f"{name} = ?" for name in chosen)]), [*chosen.values()]
