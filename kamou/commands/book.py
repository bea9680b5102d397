"""The account's newest state in the database, for `status`, with or without a run."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kamou.core.day import utc_day
from kamou.core.model import note_of
from kamou.data_directory.folder import DataDirectory
from kamou.errors import NotRunningError
from kamou.runs.recorded_book import RecordedBook

if TYPE_CHECKING:
    from kamou.store.rows import OpenDay


def open_database(folder: DataDirectory) -> sqlite3.Connection:
    """Return a read-only connection.

    Raises:
        NotRunningError: no run has used this data directory.
        StoreError: the database cannot be read, is damaged, or is of a newer version.
    """
    from kamou.store.database import open_reader

    if not folder.database.exists():
        raise NotRunningError(
            f"no run has used the data directory {folder.path} yet; `kamou run` starts one"
        )
    _look_once(folder.database)
    return open_reader(folder.database)


@cache
def _look_once(path: Path) -> None:
    """Check every page at the first opening only; `status --watch` opens the file each second."""
    from kamou.store.database import open_whole

    open_whole(path).close()


def describe_account(
    reader: sqlite3.Connection,
    recorded: RecordedBook | None = None,
    system: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return state, equity, daily budget, positions and pending entries as plain data.

    Args:
        reader: of the database.
        recorded: the fold that follows the journal; None: a new one.
        system: the status of the run; its positions have newer mark prices.
    """
    from kamou.store import queries
    from kamou.store.latest_events import disabled_strategies, latest_mark
    from kamou.store.latest_run import DEFAULT_CURRENCY, latest_run

    latest, run = queries.latest(reader), latest_run(reader)
    resting = queries.open_orders(reader)
    equity, span = latest.equity, latest.state
    if system is not None and "positions" in system:
        held, pending, at_ms = (system[k] for k in ("positions", "pending_entries", "at_ms"))
    else:
        held, pending = (recorded or RecordedBook()).rows(reader, latest_mark(reader))
        at_ms = latest.at_ms
    return {
        "as_of_ms": at_ms,
        "mode": latest.mode,
        "currency": run.currency if run else DEFAULT_CURRENCY,
        "state": span.state if span else "active",
        "state_reason": span.reason if span else None,
        "state_note": (note_of(span.figures) or None) if span else None,
        "state_since_ms": span.from_ms if span else None,
        "disabled_strategies": list(disabled_strategies(reader)),
        "equity": _text(equity.equity if equity else None),
        "wallet_balance": _text(equity.wallet_balance if equity else None),
        "unrealized_pnl": _text(equity.unrealized_pnl if equity else None),
        "equity_at_ms": equity.at_ms if equity else None,
        "cycle_at_ms": latest.cycle.cycle_at_ms if latest.cycle else None,
        "day": query_day_budget(reader),
        "positions": held,
        "pending_entries": pending,
        "resting_orders": len(resting),
    }


def query_day_budget(reader: sqlite3.Connection) -> dict[str, Any] | None:
    """Return the day's result and its loss against the limit, as of the newest read of the equity.

    All are fractions of the equity at the day's opening: at 00:00, where that is known.
    ``loss`` is what the governor counts against the limit, with the exit costs of all open
    positions. If it is unknown, ``loss`` and ``exit_costs`` are None, ``loss_unknown`` says why,
    and the result takes its place. The limit is that of the newest run, not of this command's
    settings.
    """
    from kamou.store import queries
    from kamou.store.latest_run import DAILY_LOSS_MAX, latest_run

    latest = queries.latest(reader)
    if latest.day is None or latest.equity is None or latest.day.equity_start <= 0:
        return None
    day, start, read = latest.day, latest.day.equity_start, latest.equity
    result = Decimal(0)
    if utc_day(read.at_ms) >= day.day:  # else the day opened without an equity read
        result = (read.equity - _unchanged(reader, day, read.at_ms)) / start
    run = latest_run(reader)
    limit = DAILY_LOSS_MAX if run is None else run.daily_loss_max
    found = _loss(reader, day)
    loss, costs = (None, None) if isinstance(found, str) else found
    lost = max(Decimal(0), -result) if loss is None else loss
    return {
        "day": day.day,
        "result": round(float(result), 6),
        "loss": None if loss is None else round(float(loss), 6),
        "exit_costs": None if costs is None else round(float(costs), 6),
        "loss_unknown": found if isinstance(found, str) else None,
        "loss_limit": float(limit),
        "loss_budget_left": round(float(max(Decimal(0), limit - lost)), 6),
    }


def _loss(reader: sqlite3.Connection, day: OpenDay) -> tuple[Decimal, Decimal] | str:
    """Return the day's loss and its exit costs as fractions, or why they are unknown."""
    from kamou.store.latest_events import latest_mark

    mark = latest_mark(reader)
    marked = "" if mark is None else utc_day(mark.at_ms)
    if marked > day.day:
        return f"{marked} has not opened yet; that needs two account reads that agree"
    if mark is None or marked < day.day or mark.exit_costs is None:
        return "the exit costs of the open positions were not read since 00:00"
    if mark.day_equity and mark.day_lost is not None:
        return mark.day_lost / mark.day_equity, mark.exit_costs / mark.day_equity
    # The mark was read before the day opened. The day's opening equity is that of 00:00, so the
    # mark shows the loss since then, which after a late start can be most of the daily budget.
    lost = _unchanged(reader, day, mark.at_ms) - mark.equity + mark.exit_costs
    return max(Decimal(0), lost) / day.equity_start, mark.exit_costs / day.equity_start


def _unchanged(reader: sqlite3.Connection, day: OpenDay, at_ms: int) -> Decimal:
    """Return the equity that a day without profit or loss would have at ``at_ms``."""
    from kamou.store.latest_events import transferred_after

    return day.equity_start + day.net_deposits - transferred_after(reader, at_ms)


def loss_words(day: dict[str, Any] | None) -> str:
    """Return the day's loss in words, as the governor counts it, or why it is unknown."""
    if day is None:
        return "unknown: no day has opened yet"
    if day["loss"] is None:
        return f"unknown: {day['loss_unknown']}"
    return (
        f"{day['loss']:.2%} of {day['loss_limit']:.2%},"
        f" exit costs of {day['exit_costs']:.2%} included"
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
