"""What the database last said of the account: for `status`, whether or not anything runs."""

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
    """A read-only connection.

    Raises:
        NotRunningError: nothing ever ran here.
        StoreError: the database cannot be read, is damaged, or is of a newer version.
    """
    from kamou.store.database import open_reader

    if not folder.database.exists():
        raise NotRunningError(
            f"nothing has run on the data directory {folder.path} yet: `kamou run` starts it"
        )
    _look_once(folder.database)
    return open_reader(folder.database)


@cache
def _look_once(path: Path) -> None:
    """Look at every page at the first opening; `status --watch` opens again and again."""
    from kamou.store.database import open_whole

    open_whole(path).close()


def describe_account(
    reader: sqlite3.Connection,
    recorded: RecordedBook | None = None,
    system: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """State, equity, the day's loss budget, positions, stops and pending entries, as plain data.

    Args:
        reader: of the database.
        recorded: a fold to follow the journal with; None: a new one.
        system: what the running system says; its positions have newer marks.
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

    All are fractions of the equity that the day opened with: at 00:00, where that can be known.
    ``loss`` is what the governor counts against the limit: it has the exit costs of everything open
    in it. It is None, and with it ``exit_costs``, when it cannot be known; ``loss_unknown`` says
    why, and the result stands in then. The limit is that of the newest run, whatever the settings
    of this command are.
    """
    from kamou.store import queries
    from kamou.store.latest_run import DAILY_LOSS_MAX, latest_run

    latest = queries.latest(reader)
    if latest.day is None or latest.equity is None or latest.day.equity_start <= 0:
        return None
    day, start, read = latest.day, latest.day.equity_start, latest.equity
    result = Decimal(0)
    if utc_day(read.at_ms) >= day.day:  # else the day opened without a mark: nothing is known of it
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
    """Return the day's loss and the exit costs in it, as fractions; or why they are not known."""
    from kamou.store.latest_events import latest_mark

    mark = latest_mark(reader)
    marked = "" if mark is None else utc_day(mark.at_ms)
    if marked > day.day:
        return f"{marked} has not opened yet: that takes two reads of the account that agree"
    if mark is None or marked < day.day or mark.exit_costs is None:
        return "what closing everything would cost was not read since 00:00"
    if mark.day_equity and mark.day_lost is not None:
        return mark.day_lost / mark.day_equity, mark.exit_costs / mark.day_equity
    # Taken before the day opened. Its opening is of 00:00 all the same, so the mark tells what was
    # lost in between: after a late start that may be most of the budget.
    lost = _unchanged(reader, day, mark.at_ms) - mark.equity + mark.exit_costs
    return max(Decimal(0), lost) / day.equity_start, mark.exit_costs / day.equity_start


def _unchanged(reader: sqlite3.Connection, day: OpenDay, at_ms: int) -> Decimal:
    """Return what the equity would be at a time if the day had neither gained nor lost."""
    from kamou.store.latest_events import transferred_after

    return day.equity_start + day.net_deposits - transferred_after(reader, at_ms)


def loss_words(day: dict[str, Any] | None) -> str:
    """Return the day's loss in words, as admission counts it, or why it is not known."""
    if day is None:
        return "not known: no day has opened yet"
    if day["loss"] is None:
        return f"not known: {day['loss_unknown']}"
    return (
        f"{day['loss']:.2%} of {day['loss_limit']:.2%},"
        f" exit costs of {day['exit_costs']:.2%} included"
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
