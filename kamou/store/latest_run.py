"""The newest run of a journal, and defaults for settings that a journal lacks."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal

import attrs

from kamou.core.book.events import Event, RunStarted
from kamou.core.book.run_events import ReplayEnded, ReplayStarted
from kamou.core.kinds import MarketEdges, RunMode
from kamou.core.risk.limits import RiskLimits
from kamou.messages.codec import decode, kind_of

ASSUMED_GATE = "assumed"  # label of the gate that grants every strategy its size


@attrs.frozen(kw_only=True)
class LatestRun:
    """The newest run of a data directory.

    All runs of a data directory have one mode.
    """

    run_number: int
    mode: RunMode
    currency: str
    gate: str  # label of the gate; "assumed": every strategy trades at full size
    daily_loss_max: Decimal  # its daily loss limit, as a fraction of the day's opening equity
    equity: Decimal  # setting of the equity at the start, from which the gate's returns compound
    enabled: tuple[str, ...] = ()  # enabled strategies
    recorded: bool = False  # the data directory has a replay of recorded data
    ended: bool = False  # the replay has reached its end
    planted: bool = False  # the generated market may have planted edges


def latest_run(reader: sqlite3.Connection) -> LatestRun | None:
    """Return the newest run; None before the first.

    Raises:
        ValueError: this version cannot decode the event or its configuration.
    """
    row = reader.execute(
        "SELECT body FROM event WHERE kind = 'run_started' AND key IS NULL"
        " ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    run = decode(RunStarted, row[0])
    settings = json.loads(run.config_json)
    return LatestRun(
        run_number=run.run_number,
        mode=run.mode,
        currency=str(settings.get("currency", DEFAULT_CURRENCY)),
        gate=run.gate,
        daily_loss_max=Decimal(str(settings.get("risk.daily_loss_max", DAILY_LOSS_MAX))),
        equity=Decimal(str(settings.get("equity", EQUITY))),
        enabled=tuple(map(str, settings.get("strategies.enabled", ()))),
        recorded=_has_event(reader, ReplayStarted),
        planted=settings.get("demo.edges") == MarketEdges.BY_SEED,
        ended=_has_event(reader, ReplayEnded),
    )


def _has_event(reader: sqlite3.Connection, kind: type[Event]) -> bool:
    row = reader.execute(
        "SELECT 1 FROM event WHERE kind = ? AND key IS NULL LIMIT 1", (kind_of(kind),)
    ).fetchone()
    return row is not None


DEFAULT_CURRENCY = "USDT"  # if a journal's configuration has no currency
EQUITY = 10_000  # if a journal's configuration has none
DAILY_LOSS_MAX = RiskLimits().daily_loss_max  # if a journal's configuration has no limit
